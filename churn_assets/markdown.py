"""Tables and pictures for the metadata that the Dagster UI shows."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg


def table(rows: Sequence[Mapping[str, Any]], empty: str = "none") -> dg.MarkdownMetadataValue:
    """Rows of equal keys as a Markdown table; numbers right-aligned, floats to 4 digits."""
    if not rows:
        return dg.MetadataValue.md(empty)
    lines = [rows[0], ["---:" if _number(value) else "---" for value in rows[0].values()]]
    body = [list(map(_shown, row.values())) for row in rows]
    return dg.MetadataValue.md("\n".join(map(_line, [*lines, *body])))


def pictures(figures: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    """Matplotlib figures as pictures inside the page, each below its name."""
    parts = []
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=80, bbox_inches="tight")
        data = base64.b64encode(buffer.getvalue()).decode()
        parts.append(f"**{name}**\n\n![{name}](data:image/png;base64,{data})")
    return dg.MetadataValue.md("\n\n".join(parts))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
