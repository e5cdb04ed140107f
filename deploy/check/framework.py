"""What a check of a deployment is: a tool's verdict on files, and a fault that it must find."""

import os
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv-check" / "bin"


class CheckError(Exception):
    """A fault in what is checked; the message is the tool's own."""


class SkipError(Exception):
    """The check cannot run here; the message says what is missing."""


class Fault(NamedTuple):
    """A mistake to plant in a copy of the tree: in the file `path`, `old` becomes `new`.

    With an empty `old`, `new` goes to the end of the file, which is made where there is none.
    """

    path: str
    old: str
    new: str


class Check(NamedTuple):
    """One check of a tree.

    `run` takes the tree's root and returns how many things it looked at; it raises
    `CheckError` for a fault and `SkipError` where it cannot run. Every one of `faults`
    must make it raise `CheckError`: `python -m deploy.check --faults` shows it.
    """

    name: str
    run: Callable[[Path], int]
    faults: Sequence[Fault]
    needs_engine: bool = False
    """Whether it needs a container engine."""


def tool(name: str) -> str:
    """The path of a program: our own environment's, then the machine's; raises `SkipError`."""
    own = TOOLS / name
    found = str(own) if own.exists() else shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise SkipError(f"{name} is not installed")
    return found


def run(
    command: Sequence[str | Path],
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> str:
    """Run a program; returns what it printed, raises `CheckError` with it when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands are the checks' own
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{command[0]}: no end after {timeout:.0f} s") from error
    output = (done.stdout + done.stderr).strip()
    if done.returncode:
        shown = textwrap.shorten(" ".join(map(str, command)), 160, placeholder=" ...")
        raise CheckError(f"{shown}: exit {done.returncode}\n{output}")
    return output


def tracked(root: Path) -> list[Path]:
    """The files that git knows or would add, sorted; in a copy without git, all files."""
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = run(command, root).split("\0")
        paths = {root / name for name in names if name}
    else:
        paths = set(root.rglob("*"))
    return sorted(path for path in paths if path.is_file())


def files(root: Path, *patterns: str) -> list[Path]:
    """The files that match, sorted; raises `CheckError` when a pattern matches none."""
    found: list[Path] = []
    for pattern in patterns:
        matches = sorted(path for path in root.glob(pattern) if path.is_file())
        if not matches:
            raise CheckError(f"no file matches {pattern}")
        found += matches
    return found
