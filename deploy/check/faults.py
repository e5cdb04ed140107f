"""Showing that checks find faults: each mistake planted in a copy of the tree fails its check."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.check.framework import Check, CheckError, Fault, SkipError, tracked
from deploy.check.runner import attempt


def show(checks: Sequence[Check], root: Path, no_engine: str | None) -> int:
    """Plant every fault of the checks, print what became of each; returns the exit status.

    A check must pass on the unspoilt copy first: else its failure would prove nothing.
    """
    planted = 0
    missed: list[str] = []
    skipped: list[str] = []
    for check in checks:
        try:
            with copy(root) as unspoilt:
                attempt(check, unspoilt, no_engine)
        except SkipError as reason:
            print(f"SKIP      {check.name:24} {reason}", flush=True)
            skipped.append(f"{check.name} ({reason})")
            continue
        except CheckError as error:
            print(f"FAILS     {check.name:24} without a fault: {error}", flush=True)
            missed.append(check.name)
            continue
        if not check.faults:
            print(f"NO FAULT  {check.name:24} is declared", flush=True)
            missed.append(check.name)
        for fault in check.faults:
            planted += 1
            with copy(root) as spoilt:
                plant(fault, spoilt)
                found = verdict(check, spoilt, no_engine)
            seen = found.strip().splitlines()[-1][:100] if found is not None else ""
            word = "finds it" if found is not None else "MISSES it"
            print(f"{word:9} {check.name:24} {describe(fault)}  {seen}", flush=True)
            if found is None:
                missed.append(check.name)
    rest = f"; skipped {len(skipped)}" + (f": {'; '.join(skipped)}" if skipped else "")
    tried = len(checks) - len(skipped)
    print(f"planted {planted} faults in {tried} checks, {len(missed)} missed{rest}")
    return 1 if missed else 0


def verdict(check: Check, root: Path, no_engine: str | None) -> str | None:
    """What a check says against the tree; None when it finds nothing wrong."""
    try:
        attempt(check, root, no_engine)
    except CheckError as error:
        return str(error) or "fails"
    return None


def describe(fault: Fault) -> str:
    """A fault in a line."""
    old, new = (" ".join(text.split()) for text in (fault.old, fault.new))
    return f"{fault.path}: {old[:40]!r} -> {new[:40]!r}"


def plant(fault: Fault, root: Path) -> None:
    """Spoil a file of the tree; raises `ValueError` when there is nothing to spoil.

    Every `old` becomes `new`; with an empty `old`, `new` goes to the end of the file, which
    is made where there is none.
    """
    path = root / fault.path
    text = path.read_text() if path.exists() else ""
    if fault.old not in text:
        raise ValueError(f"{fault.path} does not hold {fault.old!r}: the fault is out of date")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace(fault.old, fault.new) if fault.old else text + fault.new)


@contextmanager
def copy(root: Path) -> Iterator[Path]:
    """A copy of what git knows of the tree, or would add, with its environments linked.

    It goes in the end.
    """
    with tempfile.TemporaryDirectory(prefix="churn-check-") as folder:
        for path in tracked(root):
            target = Path(folder) / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        for environment in root.glob(".venv*"):
            (Path(folder) / environment.name).symlink_to(environment)
        yield Path(folder)
