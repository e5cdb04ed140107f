"""The compose stack alive: from an empty engine to an answered prediction, a crash, and away.

Third-party images that cannot be pulled are stand-ins from Debian's packages (base.sh); those
that have none (Grafana, Loki, Alloy, cAdvisor) are left out.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from deploy.check import compose_looks as looks
from deploy.check.compose_project import Project
from deploy.check.framework import CheckError, SkipError, run
from deploy.compose.platform import PlatformError

LEFT_OUT = {"grafana", "loki", "alloy", "cadvisor"}
SMALL_SEARCH = {"ops": {"tuned_models": {"config": {"trials": 4, "folds": 2, "top": 1}}}}


def stack(root: Path) -> int:
    """Start, train, release, ask, crash, remove; returns how many things were seen to work."""
    require_compose()
    started = time.monotonic()
    provide_images(root)
    shown = [f"images made in {time.monotonic() - started:.0f} s"]
    with running(root) as found:
        began = time.monotonic()
        services = sorted(set(_services(root)) - LEFT_OUT)
        found.run("up", "--detach", "--wait", *services, timeout=420)
        shown.append(f"then healthy after {time.monotonic() - began:.0f} s")
        try:
            run_id = found.platform.train(SMALL_SEARCH)
            found.platform.promote(run_id)
            answer = found.platform.served(run_id)
        except PlatformError as error:
            raise CheckError(str(error)) from error
        shown.append(f"first answer after {time.monotonic() - began:.0f} s")
        if not 0 < answer["churn chance"] < 1:
            raise CheckError(f"no chance: {answer}")
        seen = [
            looks.streamed(found, run_id),
            looks.logged(found, [answer["prediction_id"]]),
            looks.eventually(lambda: looks.targets(found)),
            looks.reports(found),
            looks.eventually(lambda: looks.shipped(found, answer["prediction_id"])),
            looks.crash(found),
        ]
    print(f"      compose-stack            {', '.join(shown)}; {'; '.join(seen)}", flush=True)
    return len(services) + len(seen)


@contextmanager
def running(root: Path) -> Iterator[Project]:
    """A stack that leaves nothing behind; with a fault, the last lines of its logs are shown."""
    found = Project(root)
    os.environ.update(found.environment())
    found.receive_logs()
    try:
        yield found
    except CheckError as error:
        states = found.run("ps", "--all", "--format", "{{.Service}}: {{.Status}}")
        raise CheckError(f"{error}\n{states}\n{found.run('logs', '--tail', '8')}") from error
    finally:
        found.run("down", "--volumes", "--remove-orphans", "--timeout", "20")


def require_compose() -> None:
    """Raise `SkipError` where Docker Compose is not installed."""
    if not shutil.which("docker"):
        raise SkipError("docker is not installed")
    answer = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)  # noqa: S607 - of the PATH, as everywhere
    if answer.returncode:
        raise SkipError("Docker Compose is not installed")


def _services(root: Path) -> list[str]:
    return list(yaml.safe_load((root / "docker-compose.yaml").read_text())["services"])


def provide_images(root: Path) -> None:
    """Third-party images or their stand-ins, and ours."""
    document = yaml.safe_load((root / "docker-compose.yaml").read_text())["services"]
    images = {service["image"] for name, service in document.items() if name not in LEFT_OUT}
    run(["deploy/check/base.sh"], root, timeout=1200)  # first: others and ours start from it
    run(["deploy/check/base.sh", *sorted(i for i in images if "$" not in i)], root, timeout=1200)
    ours = {image.split("churn-")[1].split(":")[0] for image in images if "$" in image}
    run(["deploy/images.sh", *sorted(ours)], root, timeout=1800)
