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
    live_folder,
    make_live,
    packaged,
    read_live,
)
from bento.depot import HISTORY, Depot
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
    return [msgspec.json.decode(line, type=Release) for line in _lines(pointer).splitlines()]


def model_tag(folder: Path) -> str:
    """The champion's tag in the BentoML model store, whose names are stricter than MLflow's."""
    return f"churn:{folder.name}"


def pointer_to(folder: Path, model_run_id: str) -> LivePointer:
    """The pointer to a packaged champion; the same on every host."""
    return LivePointer(folder.name, model_tag(folder), model_run_id)


def release(
    pointer: Path, folder: Path, by: Literal["registry", "hand"], depot: Depot | None = None
) -> LivePointer:
    """Make a packaged champion live; servers follow within their polling interval.

    With a depot, whose state the caller has taken over, first there and then here.
    Raises `ChampionError`, before anything is changed, when the folder cannot be served
    or somebody else has released meanwhile.
    """
    live = pointer_to(folder, ChurnRunner(folder).champion.model_run_id)
    before = read_live(pointer)
    past = history(pointer)
    # The registry naming what a person chose is news too: it ends the holding back.
    known = bool(past) and live == before and (past[-1].live, past[-1].by) == (live, by)
    if not known or (depot and depot.is_empty):
        taken_off = before.model_run_id if before and by == "hand" else None
        entry = Release(datetime.now(UTC).isoformat(timespec="seconds"), by, live, taken_off)
        line = msgspec.json.encode(entry) + b"\n"
        if depot:
            depot.add(folder, live)
            depot.release(live, _lines(pointer) + line)
        make_live(pointer, live)
        with _history_path(pointer).open("ab") as file:
            file.write(line)
    return live


def held(pointer: Path, model_run_id: str) -> Release | None:
    """The release by hand that took this run's champion off, while it is the latest release."""
    past = history(pointer)
    if past and past[-1].by == "hand" and past[-1].instead_of == model_run_id:
        return past[-1]
    return None


def roll_back(pointer: Path, depot: Depot | None = None) -> LivePointer:
    """Go back, by hand, to the latest champion that was live before and never taken off.

    Raises `ChampionError` when there is none.
    """
    current = read_live(pointer)
    past = history(pointer)
    taken_off = {entry.instead_of for entry in past} | {current and current.model_run_id}
    for entry in reversed(past):
        folder = live_folder(pointer, entry.live)
        if entry.live.model_run_id not in taken_off and folder.is_dir():
            return release(pointer, folder, "hand", depot)
    raise ChampionError("no earlier champion to go back to; `make releases` lists what there is")


def go_to(pointer: Path, tag: str, depot: Depot | None = None) -> LivePointer:
    """Make the champion with this tag live, by hand; raises `ChampionError`."""
    folders = {model_tag(folder): folder for folder in packaged(pointer.parent)}
    if tag not in folders:
        known = ", ".join(folders) or "none"
        raise ChampionError(f"no champion is packaged as {tag!r}; there are: {known}")
    return release(pointer, folders[tag], "hand", depot)


def _history_path(pointer: Path) -> Path:
    return pointer.with_name(HISTORY)


def _lines(pointer: Path) -> bytes:
    path = _history_path(pointer)
    return path.read_bytes() if path.exists() else b""
