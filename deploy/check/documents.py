"""Checks that the documents say what there is: links, targets, variables, tests."""

import re
from collections.abc import Iterator
from pathlib import Path

from deploy.check.framework import Check, CheckError, Fault, tracked

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?\n(.*?)^```|`([^`\n]+)`", re.M | re.S)
MAKE = re.compile(r"(?:^|[;&|]\s*|\$ )make((?: +[a-z][a-z_-]*(?![a-z_=-]))+)", re.M)
VARIABLE = re.compile(r"(?<![\w$-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")


def documents(root: Path) -> list[Path]:
    """All Markdown."""
    return [path for path in tracked(root) if path.suffix == ".md"]


def links(root: Path) -> int:
    """Every relative link leads to a file, and to a heading where it names one."""
    looked_at, dead = 0, []
    for path in documents(root):
        for target in LINK.findall(path.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            looked_at += 1
            name, _, heading = target.partition("#")
            file = path.parent / name if name else path
            if not file.exists() or (heading and heading not in headings(file)):
                dead.append(f"{path.relative_to(root)}: {target}")
    if dead:
        raise CheckError("links to nowhere:\n" + "\n".join(dead))
    return looked_at


def headings(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?) *$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def code(path: Path) -> Iterator[str]:
    """What a document sets as code, inline or in blocks."""
    for block, span in CODE.findall(path.read_text()):
        yield block or span


def make_targets(root: Path) -> int:
    """Every target of make that a document names is in the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z_-]*):", (root / "Makefile").read_text(), re.M))
    named = {
        (target, str(path.relative_to(root)))
        for path in documents(root)
        for text in code(path)
        for several in MAKE.findall(text)
        for target in several.split()
    }
    unknown = sorted(f"{path}: make {target}" for target, path in named if target not in targets)
    if unknown:
        raise CheckError("no such target:\n" + "\n".join(unknown))
    return len(named)


def variables(root: Path) -> int:
    """Every environment variable that a document names stands in a file that is no document."""
    used: set[str] = set()
    for path in tracked(root):
        if path.suffix not in {".md", ".lock", ".png"} and path.name != Path(__file__).name:
            used |= set(VARIABLE.findall(path.read_text(errors="ignore")))
    named = {
        (name, str(path.relative_to(root)))
        for path in documents(root)
        for text in code(path)
        for name in VARIABLE.findall(text)
    }
    unknown = sorted(f"{path}: {name}" for name, path in named if name not in used)
    if unknown:
        raise CheckError("nothing reads or sets:\n" + "\n".join(unknown))
    return len(named)


def tests(root: Path) -> int:
    """Every test that a document names is there: what is said to be shown is shown."""
    there = {
        name
        for path in tracked(root)
        if path.name.startswith("test_")
        for name in [path.name, *re.findall(r"^def (test_\w+)", path.read_text(), re.M)]
    }
    named = {
        (name, str(path.relative_to(root)))
        for path in documents(root)
        for text in code(path)
        for name in re.findall(r"\btest_\w+(?:\.py)?", text)
    }
    gone = sorted(f"{path}: {name}" for name, path in named if name not in there)
    if gone:
        raise CheckError("no such test:\n" + "\n".join(gone))
    return len(named)


CHECKS = (
    Check(
        "links",
        links,
        (
            Fault("README.md", "(docs/operations.md)", "(docs/operation.md)"),
            Fault("README.md", "(docs/operations.md)", "(docs/operations.md#no-such-part)"),
        ),
    ),
    Check("make-targets", make_targets, (Fault("README.md", "`make logs`", "`make log`"),)),
    Check(
        "variables",
        variables,
        (Fault("docs/operations.md", "`OUTBOX_MAX_BYTES`", "`OUTBOX_LIMIT_BYTES`"),),
    ),
    Check(
        "named-tests",
        tests,
        (Fault("docs/security.md", "`test_log_holds_no_values", "`test_log_holds_few_values"),),
    ),
)
