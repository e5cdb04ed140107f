"""What a champion is on disk: its folder, its manifest, and the pointer to the live one."""

import hashlib
import os
from pathlib import Path
from uuid import uuid4

import msgspec

ONNX_FILE = "model.onnx"
XGBOOST_FILE = "model.ubj"
MANIFEST_FILE = "champion.json"
FILES = (ONNX_FILE, XGBOOST_FILE, MANIFEST_FILE)
"""A champion folder, in the order of copying: a manifest is there when what it describes is."""


class ChampionError(RuntimeError):
    """A champion cannot be served: it is missing, incomplete, altered or of another schema."""


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest `champion.json` of a champion folder."""

    model_name: str
    model_version: str
    model_run_id: str
    threshold: float
    """The customer is called a churner when P(leave) is at least this."""
    tiers: dict[str, dict[str, float]]
    """Measured quality by tier (`full`, `core`) and metric name."""
    schema_hash: str
    sha256: str
    """SHA-256 of `model.ubj`."""
    onnx_sha256: str
    data_sha256: str
    """SHA-256 of the raw data the model was trained on."""
    created_at: str
    synthetic: bool
    """True when the model was trained on made-up customers."""


class LivePointer(msgspec.Struct, frozen=True):
    """The file `settings.live_pointer`: which champion folder is live."""

    path: str
    """Beside the pointer, or a whole path. Take `live_folder` to resolve it."""
    tag: str
    """Tag of the model in the BentoML model store."""
    model_run_id: str


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_champion(folder: Path) -> Champion:
    """The manifest of a champion folder; raises `ChampionError`."""
    path = folder / MANIFEST_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Champion)
    except (OSError, msgspec.DecodeError) as error:
        raise ChampionError(f"{path}: {error}") from error


def read_verified(path: Path, expected: str) -> bytes:
    """A file's content; raises `ChampionError` unless its SHA-256 is `expected`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ChampionError(f"{path}: {error}") from error
    if (found := sha256(content)) != expected:
        raise ChampionError(f"{path}: SHA-256 is {found[:12]}, the manifest says {expected[:12]}")
    return content


def verify(folder: Path) -> Champion:
    """The manifest of a whole and unaltered champion folder; raises `ChampionError`."""
    champion = read_champion(folder)
    read_verified(folder / XGBOOST_FILE, champion.sha256)
    read_verified(folder / ONNX_FILE, champion.onnx_sha256)
    return champion


def packaged(home: Path) -> dict[Path, Champion]:
    """The champion folders under `home`, oldest first; unreadable ones are left out."""
    found = {}
    for manifest in home.glob(f"*/{MANIFEST_FILE}"):
        try:
            found[manifest.parent] = read_champion(manifest.parent)
        except ChampionError:
            continue
    return dict(sorted(found.items(), key=lambda item: item[1].created_at))


def read_live(pointer: Path) -> LivePointer | None:
    """What is live, None when nothing has ever been; raises `ChampionError`."""
    try:
        return msgspec.json.decode(pointer.read_bytes(), type=LivePointer)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ChampionError(f"{pointer}: {error}") from error


def live_folder(pointer: Path, live: LivePointer) -> Path:
    """The champion folder that a pointer means."""
    return pointer.parent / live.path


def make_live(pointer: Path, live: LivePointer) -> None:
    """Replace the pointer in one step: a reader sees the old one or the new one, whole."""
    replace_file(pointer, msgspec.json.encode(live))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step that also survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by process id: in containers that share a volume, processes have the same one.
    temporary = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
