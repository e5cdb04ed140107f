"""Reports for a web server that shares no disk with Dagster."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from bento.settings import get_settings
from churn_assets.defs.monitoring.pages import NEWEST
from churn_assets.defs.monitoring.pipeline_state import look
from churn_assets.defs.monitoring.publishing import publish, url_of
from churn_assets.reports_mirror import Mirror
from churn_assets_tests.conftest import NOWHERE

DOCUMENT = {
    "_id": "one",
    "kind": "drift",
    "window": ["2026-11-20T12:00:00+00:00", "2026-11-20T15:00:00+00:00"],
    "alarm": True,
    "html": "one.html",
}


@pytest.fixture
def bucket(emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of its own; Dagster has published one report there."""
    name = f"reports-{time.monotonic_ns()}"
    boto3.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    monkeypatch.setenv("CHURN_BUCKET", name)
    monkeypatch.setenv("DAGSTER_URL", NOWHERE)
    get_settings.cache_clear()
    publish(boto3.client("s3"), {"one.html": "<h1>One"}, [DOCUMENT])
    return name


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_becomes_what_dagster_published_and_follows_it(
    bucket: str, tmp_path: Path
) -> None:
    s3, folder = boto3.client("s3"), tmp_path / "web"
    published = get_settings().churn_home / "reports"
    mirror = Mirror(s3, bucket, folder)
    assert b"0 reports" in (folder / "index.html").read_bytes(), "a page before the first report"
    assert mirror.step() == 3
    assert contents(folder) == contents(published)
    assert mirror.step() == 0

    publish(s3, {"two.html": "<h1>Two"}, [DOCUMENT, DOCUMENT | {"_id": "two", "html": "two.html"}])
    s3.delete_object(Bucket=bucket, Key="reports/one.html")
    assert mirror.step() == 3, "two.html and the list are new, one.html is gone"
    assert set(contents(folder)) == {"two.html", "index.html", NEWEST}
    assert b"2 reports" in (folder / "index.html").read_bytes()

    (folder / "old.html").write_text("left behind while it was down")
    assert Mirror(s3, bucket, folder).step() == 1, "a restart downloads nothing again"
    assert set(contents(folder)) == {"two.html", "index.html", NEWEST}


def test_the_exporter_reads_the_newest_reports_from_the_bucket(bucket: str) -> None:
    found = look(get_settings(), boto3.client("s3"), None).reports
    assert found == {"drift": {"window": DOCUMENT["window"], "alarm": True}}
    assert look(get_settings(), boto3.client("s3", endpoint_url=NOWHERE), None).reports == {}


def test_an_outage_leaves_the_folder_as_it_was(bucket: str, tmp_path: Path) -> None:
    mirror = Mirror(boto3.client("s3"), "no-such-bucket", tmp_path / "web")
    before = contents(tmp_path / "web")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        mirror.step()
    assert contents(tmp_path / "web") == before


def test_it_runs_until_sigterm(bucket: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "churn_assets.reports_mirror"]
    env = {"CHURN_HOME": str(tmp_path)}
    process = subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "reports" / "one.html").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        process.kill()


def test_links_lead_where_browsers_reach_the_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    get_settings.cache_clear()
    assert url_of("one.html") == "http://127.0.0.1:8888/one.html"
    monkeypatch.setenv("REPORTS_URL", "https://churn.example/reports/")
    get_settings.cache_clear()
    assert url_of("one.html") == "https://churn.example/reports/one.html"
