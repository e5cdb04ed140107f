"""Champions in an object store: how releasers and servers that share no disk see the same one.

    <CHAMPION_URI>/<folder>/{model.onnx,model.ubj,champion.json}
    <CHAMPION_URI>/runs/<run id>.json    which folder holds a run's champion
    <CHAMPION_URI>/history.jsonl         all releases (`churn_assets.defs.release.live`)
    <CHAMPION_URI>/live.json             which one is live

What is downloaded looks on disk as if it had been released there, so that everything
else only knows the folder `CHURN_HOME/champion` and its pointer.
"""

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bento.champion import (
    FILES,
    MANIFEST_FILE,
    ChampionError,
    LivePointer,
    make_live,
    read_live,
    replace_file,
    verify,
)
from bento.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LIVE = "live.json"
HISTORY = "history.jsonl"
FOLDER = re.compile(r"[\w-][\w.-]*")
NOT_MODIFIED = 304
CONFLICTS = (409, 412)
"""S3's answers when a conditional write came too late."""

log = logging.getLogger(__name__)


class ConflictError(ChampionError):
    """Somebody else has released since the state was taken over."""


class MissingError(ChampionError):
    """The depot has no such object."""


class _UnchangedError(Exception):
    """The object is as it was."""


class Stored(NamedTuple):
    """An object as it was read."""

    content: bytes
    etag: str


class Depot:
    """One `CHAMPION_URI` and the folder of champions on this disk.

    Every method raises `ChampionError`; what was on disk before then stays as it was.
    """

    def __init__(self, uri: str, pointer: Path) -> None:
        import boto3  # servers without a depot need not load it
        from botocore.config import Config

        self._uri = uri.rstrip("/")
        self._bucket, _, prefix = self._uri.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._pointer = pointer
        self._etags: dict[str, str] = {}
        retries: Any = {"mode": "standard", "total_max_attempts": 2}
        self._s3: S3Client = boto3.client(
            "s3", config=Config(connect_timeout=2, read_timeout=5, retries=retries)
        )

    def fetch(self, run_id: str | None = None) -> None:
        """Download the live champion and point to it, or with `run_id` only download that run's.

        When nothing has changed since the last look it costs one request without a body.
        """
        name = f"runs/{run_id}.json" if run_id else LIVE
        try:
            found = self._get(name, self._etags.get(name))
        except _UnchangedError:
            return
        live = _pointer(found.content)
        self._download(live.path)
        if not run_id:
            self._point(live)
        self._etags[name] = found.etag

    def take_over(self, everything: bool = False) -> None:
        """Make this disk know what every releaser has done: history, pointer and live champion.

        With `everything` all champions are downloaded. Damaged ones are left out, also
        the live one: the next release is what mends that.
        """
        self._etags.clear()
        with suppress(MissingError), self._as_champion_errors(HISTORY):
            history = self._get(HISTORY)
            replace_file(self._pointer.with_name(HISTORY), history.content)
            self._etags[HISTORY] = history.etag
        folders = set(self._folders()) if everything else set()
        with suppress(MissingError):
            found = self._get(LIVE)
            live = _pointer(found.content)
            self._point(live)
            self._etags[LIVE] = found.etag
            folders.add(live.path)
        for folder in folders:
            try:
                self._download(folder)
            except ChampionError as error:
                log.warning("left out: %s", error)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was live here when the state was taken over."""
        return LIVE not in self._etags

    def add(self, folder: Path, live: LivePointer) -> None:
        """Upload a champion folder and note it under its run id; again is the same."""
        for name in FILES:
            self._put(f"{folder.name}/{name}", (folder / name).read_bytes())
        self._put(f"runs/{live.model_run_id}.json", msgspec.json.encode(live))

    def release(self, live: LivePointer, history: bytes) -> None:
        """Make an added champion live for everyone; `history` is the whole of it.

        Both objects must be as `take_over` found them: of two releasers at once one is
        refused. The history comes first: it is what a repeated command continues from.
        """
        self._put(HISTORY, history, **self._unchanged(HISTORY))
        self._put(LIVE, msgspec.json.encode(live), **self._unchanged(LIVE))

    def _point(self, live: LivePointer) -> None:
        with self._as_champion_errors(LIVE):
            make_live(self._pointer, live)

    def _download(self, name: str) -> None:
        """Bring a champion folder to this disk, in one step and only whole and unaltered."""
        target = self._pointer.parent / name
        if target.is_dir():
            return
        with self._as_champion_errors(name):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as folder:
                new = Path(folder) / name
                for file in FILES:
                    replace_file(new / file, self._get(f"{name}/{file}").content)
                verify(new)
                try:
                    new.rename(target)
                except OSError:
                    if not target.is_dir():  # else another process of this disk was faster
                        raise

    def _folders(self) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        with self._as_champion_errors(""):
            for item in (item for page in pages for item in page.get("Contents", ())):
                folder, _, name = item["Key"].removeprefix(self._prefix).partition("/")
                if name == MANIFEST_FILE and FOLDER.fullmatch(folder):
                    yield folder

    def _get(self, name: str, known: str | None = None) -> Stored:
        """An object; raises `MissingError`, and `_UnchangedError` while its ETag is `known`."""
        condition: Any = {"IfNoneMatch": known} if known else {}
        with self._as_champion_errors(name):
            try:
                found = self._s3.get_object(
                    Bucket=self._bucket, Key=self._prefix + name, **condition
                )
            except self._s3.exceptions.NoSuchKey as error:
                raise MissingError(f"{self._uri}/{name} is missing") from error
            except self._s3.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == NOT_MODIFIED:
                    raise _UnchangedError from error
                raise
            return Stored(found["Body"].read(), found["ETag"])

    def _put(self, name: str, content: bytes, **condition: Any) -> None:
        with self._as_champion_errors(name):
            self._s3.put_object(
                Bucket=self._bucket, Key=self._prefix + name, Body=content, **condition
            )

    def _unchanged(self, name: str) -> dict[str, str]:
        etag = self._etags.get(name)
        return {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}

    @contextmanager
    def _as_champion_errors(self, name: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in CONFLICTS:
                raise ConflictError(
                    f"{self._uri}/{name}: another release came between; look and try again"
                ) from error
            raise ChampionError(f"{self._uri}/{name}: {error}") from error
        except (BotoCoreError, OSError) as error:  # OSError: of this disk
            raise ChampionError(f"{self._uri}/{name}: {error}") from error


def _pointer(content: bytes) -> LivePointer:
    """What a pointer object says; its folder may not lead out of the folder of champions."""
    try:
        live = msgspec.json.decode(content, type=LivePointer)
    except msgspec.DecodeError as error:
        raise ChampionError(f"not a pointer to a champion: {error}") from error
    if not FOLDER.fullmatch(live.path):
        raise ChampionError(f"{live.path!r} is no name of a champion folder")
    return live


def open_depot(settings: Settings) -> Depot | None:
    """The depot that `CHAMPION_URI` names, if any."""
    if settings.champion_uri is None:
        return None
    return Depot(settings.champion_uri, settings.live_pointer)


def look_up_live(settings: Settings) -> LivePointer | None:
    """What is live, also where another host has released it; raises `ChampionError`."""
    if depot := open_depot(settings):
        depot.take_over()
    return read_live(settings.live_pointer)
