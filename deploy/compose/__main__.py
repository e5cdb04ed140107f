"""`make compose-up` and its kin: `python3 -m deploy.compose up|train|report`, a line a stage."""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.compose.platform import CUSTOMER, ROOT, Platform, PlatformError


def up(platform: Platform) -> None:
    """From nothing to an answered prediction; trains unless a champion answers already."""
    began = time.monotonic()
    platform.say("servers")
    platform.run("up", "--detach", "--wait")
    platform.say(f"  healthy after {time.monotonic() - began:.0f} s")
    try:
        answer = platform.predict()
    except OSError:
        platform.say("training")
        run_id = platform.train()
        platform.say(f"release of run {run_id}")
        platform.promote(run_id)
        answer = platform.served(run_id)
    platform.say(
        f"answered {time.monotonic() - began:.0f} s after the start:\n\n"
        f"curl -X POST -H 'Content-Type: application/json' {platform.http}/predict "
        f"-d '{json.dumps(CUSTOMER)}'\n\n{json.dumps(answer)}"
    )


def as_composed(command: Sequence[str], services: Mapping[str, Any]) -> Platform:
    """The stack as Compose's own `config` tells it, wherever its settings come from.

    What the chosen profiles leave out has its usual place.
    """
    usual = Platform(command)

    def url(service: str, otherwise: str) -> str:
        ports = services.get(service, {}).get("ports")
        return f"http://127.0.0.1:{ports[0]['published']}" if ports else otherwise

    def setting(service: str, name: str, otherwise: object) -> str:
        return str(services.get(service, {}).get("environment", {}).get(name) or otherwise)

    return usual._replace(
        http=url("http", usual.http),
        mlflow=url("mlflow", usual.mlflow),
        dagster=url("dagster-web", usual.dagster),
        key=setting("http", "CHURN_API_KEYS", "").partition(",")[0].strip(),
        experiment=setting("dagster-code", "MLFLOW_EXPERIMENT", usual.experiment),
        report_minutes=int(
            setting("dagster-code", "REPORT_TIME_WINDOW_MINUTES", usual.report_minutes)
        ),
    )


def configured(command: Sequence[str]) -> Mapping[str, Any]:
    """The services as Compose reads them; raises `PlatformError` with what it says."""
    asked = [*command, "config", "--format", "json"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - Compose's own
    if done.returncode:
        raise PlatformError(done.stderr.strip())
    services: Mapping[str, Any] = json.loads(done.stdout)["services"]
    return services


def main() -> None:
    """Do what the command line says; exits 1 with one message when a stage fails."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.compose", description=__doc__)
    parser.add_argument("command", choices=["up", "train", "report"])
    asked = parser.parse_args().command
    command = os.environ.get("COMPOSE", "docker compose").split()
    try:
        platform = as_composed(command, configured(command))
        match asked:
            case "up":
                up(platform)
            case "train":
                platform.promote(platform.train())
            case _:
                platform.report()
    except (PlatformError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
