"""`python -m deploy.check`: check everything under deploy/, or show that the checks find faults."""

import argparse
from collections.abc import Sequence

from deploy.check import (
    compose,
    documents,
    engine,
    faults,
    files,
    images,
    kubernetes,
    monitoring,
    runner,
    security,
    terraform,
    workflows,
)
from deploy.check.framework import ROOT, Check

AREAS = (
    files,
    documents,
    monitoring,
    security,
    workflows,
    compose,
    kubernetes,
    terraform,
    images,
)


def collect() -> list[Check]:
    """Every area's checks: those that need no container engine first."""
    found = [check for area in AREAS for check in area.CHECKS]
    return sorted(found, key=lambda check: check.needs_engine)


def choose(checks: Sequence[Check], names: Sequence[str]) -> list[Check]:
    """The checks of these names or areas (`k8s` is that of `k8s-objects`); all for none.

    Raises ValueError for a name that is nobody's.
    """
    chosen = []
    for name in names:
        matches = [check for check in checks if check.name == name]
        matches = matches or [check for check in checks if check.name.startswith(f"{name}-")]
        if not matches:
            raise ValueError(f"no check is called {name}: {', '.join(c.name for c in checks)}")
        chosen += matches
    return [check for check in checks if check in chosen] if names else list(checks)


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the checks and their faults")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="only these checks")
    parser.add_argument("--no-engine", action="store_true", help="skip what needs containers")
    parser.add_argument("--faults", nargs="*", metavar="NAME", help="plant the checks' faults")
    options = parser.parse_args()
    try:
        checks = choose(collect(), [*options.only, *(options.faults or [])])
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        for check in checks:
            print(f"{check.name:24}{len(check.faults)} faults", "engine" * check.needs_engine)
        return 0
    wanted = not options.no_engine and any(check.needs_engine for check in checks)
    with engine.engine(ROOT, wanted) as no_engine:
        show = runner.verify if options.faults is None else faults.show
        return show(checks, ROOT, no_engine)


if __name__ == "__main__":
    raise SystemExit(main())
