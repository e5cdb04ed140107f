"""The container engine of the checks: one that runs is used and left alone, else one is started."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CANNOT = 3
"""The script's exit status on machines that cannot have an engine."""


@contextmanager
def engine(root: Path, wanted: bool) -> Iterator[str | None]:
    """Provide an engine through the environment (DOCKER_HOST); yields why there is none, or None.

    An engine that was started here is stopped in the end. Raises `RuntimeError` when the engine's
    script fails in another way than saying that this machine cannot have one.
    """
    if not wanted:
        yield "no container engine asked for"
        return
    script = root / "deploy" / "check" / "engine.sh"
    runs_already = is_ours(script)
    started = subprocess.run([script, "start"], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own script
    if started.returncode == CANNOT:
        yield "no container engine can be had here"
        return
    if started.returncode:
        raise RuntimeError(f"{script} start: exit {started.returncode}")
    os.environ.update(re.findall(r"^export (\w+)=(.*)$", started.stdout, re.M))
    try:
        yield None
    finally:
        if is_ours(script) and not runs_already:
            subprocess.run([script, "stop"], check=True)  # noqa: S603 - our own script


def is_ours(script: Path) -> bool:
    """Whether the engine that runs was started by the script."""
    status = subprocess.run([script, "status"], capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    return status.stdout.startswith("ours")
