"""The list of reports: a static page, newest first, that says what each report found."""

import html
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MOST_LISTED = 1_000

STYLE = """<style>
main{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
main h1{font-size:1.5rem;line-height:1.3}main h2{font-size:1.1rem;margin-top:2rem}
main table{border-collapse:collapse;width:100%}main th{text-align:left;border-bottom:2px solid #888}
main td,main th{padding:.3rem .6rem;vertical-align:top}main td{border-bottom:1px solid #ddd}
main td.n{text-align:right;font-variant-numeric:tabular-nums}main tr.alarm td{background:#fff1ef}
main .badge{font-size:.8rem;padding:.15rem .6rem;border-radius:1rem;color:#fff;white-space:nowrap}
main .badge.alarm{background:#b3261e}main .badge.quiet{background:#2e7d32}
</style>"""


def badge(alarm: bool) -> str:
    """A coloured word for the verdict."""
    name = "alarm" if alarm else "quiet"
    return f"<span class='badge {name}'>{name}</span>"


def index(documents: Iterable[Mapping[str, Any]]) -> str:
    """The page that lists reports (documents of the prediction store), newest window first."""
    newest = sorted(documents, key=lambda d: (str(d.get("window")), str(d["_id"])), reverse=True)
    rows = "".join(map(_row, newest[:MOST_LISTED]))
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>Reports</title>"
        f"{STYLE}<main><h1>Reports</h1><p>{len(newest):,} reports, newest first; as of {now}. "
        "Times are UTC.</p><table><tr><th>window<th>report<th>predictions<th><th>finding</tr>"
        f"{rows}</table></main></html>\n"
    )


def publish(folder: Path, added: Mapping[str, str], documents: Iterable[Mapping[str, Any]]) -> None:
    """Write pages by name and the list of all reports into the folder of the report server."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in (*added.items(), ("index.html", index(documents))):
        _replace(folder / name, page)


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
        f"<tr class={'alarm' if alarm else 'quiet'}><td>{start} to {end[11:]}<td>{link}"
        f"<td class=n>{int(document.get('rows', 0)):,}<td>{badge(alarm) if page else ''}"
        f"<td>{html.escape(str(document.get('finding', '')))}</tr>"
    )
