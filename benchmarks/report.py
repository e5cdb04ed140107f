"""How every benchmark prints its table and writes its figures."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

Figure = float | int | str | bool | None


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the option all benchmarks share: `--json FILE`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, flat")
    return parser


def table(title: str, rows: Sequence[Mapping[str, Figure]]) -> None:
    """Print rows of equal keys as a table."""
    shown = Table(title=title)
    for column in rows[0]:
        shown.add_column(column, justify="right" if column != next(iter(rows[0])) else "left")
    for row in rows:
        shown.add_row(*(f"{v:,.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=140).print(shown)


def write(figures: Mapping[str, Figure], path: Path | None) -> None:
    """Print the figures as one JSON object and write them to `path` when given."""
    text = json.dumps(dict(figures), indent=2)
    print(text)
    if path:
        path.write_text(text + "\n")
