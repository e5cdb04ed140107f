"""Running checks: one after another, a line each, up to the first fault."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.check.framework import Check, CheckError, SkipError


def attempt(check: Check, root: Path, no_engine: str | None) -> int:
    """Run a check; returns how many things it looked at, at least one.

    `no_engine` says why there is no container engine. Raises `CheckError` and `SkipError` as
    the check does, and `CheckError` for a check that looked at nothing. What a check does to
    the environment ends with it.
    """
    if check.needs_engine and no_engine:
        raise SkipError(no_engine)
    environment = dict(os.environ)
    try:
        things = check.run(root)
    finally:
        os.environ.clear()
        os.environ.update(environment)
    if things < 1:
        raise CheckError("it looked at nothing")
    return things


def verify(checks: Sequence[Check], root: Path, no_engine: str | None) -> int:
    """Run the checks up to the first fault, print the count last; returns the exit status."""
    things = passed = 0
    skipped: list[str] = []
    for check in checks:
        started = time.monotonic()
        try:
            count = attempt(check, root, no_engine)
        except SkipError as reason:
            print(f"SKIP  {check.name:24} {reason}", flush=True)
            skipped.append(f"{check.name} ({reason})")
        except CheckError as fault:
            print(f"FAIL  {check.name:24} {fault}", flush=True)
            print(f"{check.name} failed; before it {counted(things, passed, skipped)}")
            return 1
        else:
            seconds = time.monotonic() - started
            print(f"PASS  {check.name:24} {count:4} things, {seconds:.1f} s", flush=True)
            things += count
            passed += 1
    print(counted(things, passed, skipped))
    return 0


def counted(things: int, passed: int, skipped: Sequence[str]) -> str:
    """The last line: what was looked at, and what was not."""
    rest = f"skipped {len(skipped)}" + (f": {'; '.join(skipped)}" if skipped else "")
    return f"checked {things} things in {passed} checks; {rest}"
