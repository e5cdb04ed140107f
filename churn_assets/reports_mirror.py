"""The reports in the bucket as a folder, for a web server beside: `python -m ...reports_mirror`.

Keeps `$CHURN_HOME/reports` equal to `s3://$CHURN_BUCKET/reports/` until SIGTERM. Where
the report server shares a disk with Dagster it is not needed.
"""

import hashlib
import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from bento.champion import replace_file
from bento.logs import log_json
from bento.settings import get_settings
from churn_assets.defs.monitoring import pages
from churn_assets.defs.monitoring.publishing import REPORTS_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EVERY_S = 10.0
INDEX = "index.html"

log = logging.getLogger(__name__)


class Mirror:
    """One folder and what is in it, by name and the ETag of its object."""

    def __init__(self, s3: "S3Client", bucket: str, folder: Path) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._folder = folder
        # The ETag of a small object is its MD5, so that a restart downloads nothing again.
        self._known = {
            path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            for path in folder.glob("*")
            if path.is_file()
        }
        if INDEX not in self._known:
            pages.publish(folder, {}, [])

    def step(self) -> int:
        """Download what is new, delete what is gone; how many files that were.

        Raises boto3's errors; the next step goes on from there.
        """
        there = self._listed()
        changed = {name: etag for name, etag in there.items() if self._known.get(name) != etag}
        # The list is replaced last: it names only pages that are here.
        for name in sorted(changed, key=lambda name: name == INDEX):
            found = self._s3.get_object(Bucket=self._bucket, Key=REPORTS_PREFIX + name)
            replace_file(self._folder / name, found["Body"].read())
            self._known[name] = found["ETag"].strip('"')
        gone = self._known.keys() - there.keys() - {INDEX}
        for name in gone:
            (self._folder / name).unlink(missing_ok=True)
            del self._known[name]
        return len(changed) + len(gone)

    def _listed(self) -> dict[str, str]:
        pages_of_s3 = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=REPORTS_PREFIX
        )
        found = {
            item["Key"].removeprefix(REPORTS_PREFIX): item["ETag"].strip('"')
            for page in pages_of_s3
            for item in page.get("Contents", ())
        }
        return {name: etag for name, etag in found.items() if name and "/" not in name}


def main() -> None:
    """Mirror until told to stop; an outage of the bucket leaves the folder as it is."""
    log_json()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    settings = get_settings()
    mirror = Mirror(boto3.client("s3"), settings.churn_bucket, settings.churn_home / "reports")
    while not stopped.is_set():
        try:
            if number_of_files := mirror.step():
                log.info("%s files changed", number_of_files)
        except (BotoCoreError, ClientError) as error:
            log.warning("reports not read: %s", error)
        stopped.wait(EVERY_S)


if __name__ == "__main__":
    main()
