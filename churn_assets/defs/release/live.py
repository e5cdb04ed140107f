"""Which champion is live, which ones were, and how one goes back; it needs no MLflow.

The registry's alias says which champion is wanted, the pointer which one serves. They
part when somebody repoints by hand, as while MLflow is down. That must not be undone
by the next training run or sensor tick: the champion that was taken off is held back
until the alias names another one.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from bento.champion import (
    ChampionError,
    LivePointer,
    make_live,
    packaged,
    read_live,
)
from bento.runner import ChurnRunner


class Release(msgspec.Struct, frozen=True):
    """One line of `history.jsonl`: a champion that went live."""

    at: str
    by: Literal["registry", "hand"]
    live: LivePointer
    instead_of: str | None = None
    """Run id of the champion that a person took off."""


def history(pointer: Path) -> list[Release]:
    """All releases, oldest first."""
    path = _history_path(pointer)
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Release) for line in lines]


def model_tag(folder: Path) -> str:
    """The champion's tag in the BentoML model store, whose names are stricter than MLflow's."""
    return f"churn:{folder.name}"


def release(pointer: Path, folder: Path, by: Literal["registry", "hand"]) -> LivePointer:
    """Make a packaged champion live; servers follow within their polling interval.

    Raises `ChampionError`, before anything is changed, when the folder cannot be served.
    """
    champion = ChurnRunner(folder).champion
    live = LivePointer(str(folder.absolute()), model_tag(folder), champion.model_run_id)
    before = read_live(pointer)
    past = history(pointer)
    # The registry naming what a person chose is news too: it ends the holding back.
    if live != before or not past or (past[-1].live, past[-1].by) != (live, by):
        make_live(pointer, live)
        taken_off = before.model_run_id if before and by == "hand" else None
        entry = Release(datetime.now(UTC).isoformat(timespec="seconds"), by, live, taken_off)
        with _history_path(pointer).open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")
    return live


def held(pointer: Path, model_run_id: str) -> Release | None:
    """The release by hand that took this run's champion off, while it is the latest release."""
    past = history(pointer)
    if past and past[-1].by == "hand" and past[-1].instead_of == model_run_id:
        return past[-1]
    return None


def roll_back(pointer: Path) -> LivePointer:
    """Go back, by hand, to the latest champion that was live before and never taken off.

    Raises `ChampionError` when there is none.
    """
    current = read_live(pointer)
    past = history(pointer)
    taken_off = {entry.instead_of for entry in past} | {current and current.model_run_id}
    for entry in reversed(past):
        if entry.live.model_run_id not in taken_off and Path(entry.live.path).is_dir():
            return release(pointer, Path(entry.live.path), "hand")
    raise ChampionError("no earlier champion to go back to; `make releases` lists what there is")


def go_to(pointer: Path, tag: str) -> LivePointer:
    """Make the champion with this tag live, by hand; raises `ChampionError`."""
    folders = {model_tag(folder): folder for folder in packaged(pointer.parent)}
    if tag not in folders:
        known = ", ".join(folders) or "none"
        raise ChampionError(f"no champion is packaged as {tag!r}; there are: {known}")
    return release(pointer, folders[tag], "hand")


def _history_path(pointer: Path) -> Path:
    return pointer.with_name("history.jsonl")
