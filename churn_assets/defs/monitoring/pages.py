"""The list of reports: a static page, newest first, that says what each report found."""

import html
import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MOST_LISTED = 1_000
NEWEST = "newest.json"
"""The newest report of each kind: window and alarm, for whoever wants no more than that."""

STYLE = """<style>
main{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
main h1{font-size:1.5rem;line-height:1.3}main h2{font-size:1.1rem;margin-top:2rem}
main table{border-collapse:collapse;width:100%}main th{text-align:left;border-bottom:2px solid #888}
main td,main th{padding:.3rem .6rem;vertical-align:top}main td{border-bottom:1px solid #ddd}
main td.n,main th.n{text-align:right;font-variant-numeric:tabular-nums}
main td.w{white-space:nowrap}main tr.alarm td{background:#fff1ef}
main .badge{font-size:.8rem;padding:.15rem .6rem;border-radius:1rem;color:#fff;white-space:nowrap}
main .badge.alarm{background:#b3261e}main .badge.quiet{background:#2e7d32}
</style>"""


def badge(alarm: bool) -> str:
    """A coloured word for the verdict."""
    name = "alarm" if alarm else "quiet"
    return f"<span class='badge {name}'>{name}</span>"


def index(documents: Iterable[Mapping[str, Any]]) -> str:
    """The page that lists reports (documents of the prediction store), last to end first."""
    ordered = sorted(documents, key=_recency, reverse=True)
    rows = "".join(map(_row, ordered[:MOST_LISTED]))
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>Reports</title>"
        f"{STYLE}<main><h1>Reports</h1><p>{len(ordered):,} reports, newest first; as of {now}. "
        "Times are UTC.</p><table><tr><th>window<th>report<th class=n>predictions<th><th>finding"
        f"</tr>{rows}</table></main></html>\n"
    )


def newest(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Window and alarm of the newest report of each kind."""
    return {
        str(d["kind"]): {"window": d["window"], "alarm": bool(d.get("alarm"))}
        for d in sorted(documents, key=_recency)
        if "kind" in d and "window" in d
    }


def publish(
    folder: Path, added: Mapping[str, str], documents: Collection[Mapping[str, Any]]
) -> None:
    """Write pages by name, the list of all reports and `NEWEST` into the report server's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {**added, "index.html": index(documents), NEWEST: json.dumps(newest(documents))}
    for name, text in files.items():
        _replace(folder / name, text)


def _recency(document: Mapping[str, Any]) -> tuple[str, str, str]:
    start, end = document.get("window", ("", ""))
    return str(end), str(start), str(document["_id"])


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _row(document: Mapping[str, Any]) -> str:
    start, end = (str(moment).replace("T", " ")[:16] for moment in document.get("window", "  "))
    name = html.escape(str(document["_id"]))
    page = document.get("html")
    link = f"<a href='{html.escape(str(page))}'>{name}</a>" if page else name
    alarm = bool(document.get("alarm"))
    return (
        f"<tr class={'alarm' if alarm else 'quiet'}>"
        f"<td class=w>{start} to {end[11:]}<td class=w>{link}"
        f"<td class=n>{int(document.get('rows', 0)):,}<td>{badge(alarm) if page else ''}"
        f"<td>{html.escape(str(document.get('finding', '')))}</tr>"
    )
