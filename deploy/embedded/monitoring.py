"""Prometheus and the report server, where their programs are installed: run by supervisord.

`python -m deploy.embedded.monitoring prometheus|reports` becomes the server. Without
Prometheus there is none; without nginx a small server of Python's shows the reports.
"""

import argparse
import functools
import getpass
import os
import shutil
import string
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from bento.settings import Settings, get_settings
from churn_assets.contents import provide_list

DEPLOY = Path(__file__).resolve().parents[1]
SBIN = "/usr/sbin:/usr/local/sbin"
"""Where distributions put nginx, which is not on every user's PATH."""


def prometheus_config(settings: Settings) -> Path:
    """Write Prometheus' configuration with the ports that are set; returns its path."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    ports = {
        "http": settings.http_port,
        "stream": settings.stream_metrics_port,
        "exporter": settings.exporter_port,
        "prometheus": settings.prometheus_port,
    }
    for job in config["scrape_configs"]:
        address = f"{settings.host}:{ports[job['job_name']]}"
        job["static_configs"] = [{"targets": [address]}]
    config["rule_files"] = [str(DEPLOY / "prometheus" / "rules.yml")]
    del config["alerting"]  # no Alertmanager here: alerts show on Prometheus' own page
    folder = settings.churn_home.absolute() / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    if settings.churn_api_keys is not None:  # /metrics asks for one as /predict does
        key = folder / "scrape-key"
        key.touch(mode=0o600)
        key.write_text(settings.churn_api_keys.get_secret_value().split(",")[0].strip())
        for job in config["scrape_configs"]:
            if job["job_name"] == "http":
                job["authorization"] = {"credentials_file": str(key)}
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def nginx_config(settings: Settings) -> Path:
    """Write nginx' configuration for the reports; returns its path."""
    home = settings.churn_home.absolute()
    for name in ("nginx", "reports"):
        (home / name).mkdir(parents=True, exist_ok=True)
    template = string.Template((DEPLOY / "nginx" / "reports.conf").read_text())
    path = home / "nginx" / "nginx.conf"
    values = {"home": home, "host": settings.host, "port": settings.reports_port}
    path.write_text(template.substitute(values, user=getpass.getuser()))
    return path


def prometheus() -> None:
    """Become Prometheus; end at once where it is not installed."""
    settings = get_settings()
    program = shutil.which("prometheus")
    if program is None:
        print("prometheus is not installed: no dashboards and no live alerts")
        return
    config = prometheus_config(settings)
    arguments = [
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        "--storage.tsdb.retention.time=15d",
        "--storage.tsdb.retention.size=1GB",
        f"--web.listen-address={settings.host}:{settings.prometheus_port}",
    ]
    os.execv(program, [program, *arguments])  # noqa: S606


def reports() -> None:
    """Become nginx, or serve the folder of reports from here."""
    settings = get_settings()
    provide_list(settings)
    if program := nginx():
        config = nginx_config(settings)
        arguments = ["-e", "stderr", "-p", str(config.parent), "-c", str(config)]
        os.execv(program, [program, *arguments])  # noqa: S606
    print("nginx is not installed: serving the reports from Python")
    serve(settings)


def nginx() -> str | None:
    """Where nginx is, if anywhere."""
    return shutil.which("nginx") or shutil.which("nginx", path=SBIN)


def serve(settings: Settings) -> None:
    """Serve the folder of reports from this process."""
    folder = settings.churn_home.absolute() / "reports"
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer((settings.host, settings.reports_port), handler) as server:
        server.serve_forever()


def main() -> None:
    """Become the server that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=["prometheus", "reports"])
    {"prometheus": prometheus, "reports": reports}[parser.parse_args().server]()


if __name__ == "__main__":
    main()
