"""The emulated cloud of the Terraform checks."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from deploy.check.framework import ROOT, CheckError, SkipError

STATE_BUCKET = "churn-state"
PATIENCE_S = 60
REGION = "eu-west-1"


@contextmanager
def emulator() -> Iterator[dict[str, str]]:
    """The environment of an empty emulated cloud that holds a bucket for the state."""
    from churn_assets_tests.streaming import ministack

    if not (ROOT / ".venv-emulator" / "bin" / "ministack").exists():
        raise SkipError("the AWS emulator is not installed: run `make install`")
    with (
        tempfile.TemporaryDirectory(prefix="churn-cloud-") as folder,
        ministack(Path(folder)) as server,
    ):
        cloud = {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "check",
            "AWS_SECRET_ACCESS_KEY": "check",
            "AWS_DEFAULT_REGION": REGION,
        }
        client(cloud, "s3").create_bucket(
            Bucket=STATE_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield cloud


def client(cloud: Mapping[str, str], service: str) -> Any:
    """A boto3 client of an emulated cloud."""
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=cloud["AWS_ENDPOINT_URL"],
        region_name=REGION,
        aws_access_key_id=cloud["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=cloud["AWS_SECRET_ACCESS_KEY"],
    )


def tag_streams(cloud: Mapping[str, str], **tags: str) -> None:
    """Give streams the tags they were created with: AWS keeps those, the emulator drops them."""
    kinesis = client(cloud, "kinesis")
    for name in kinesis.list_streams()["StreamNames"]:
        kinesis.add_tags_to_stream(StreamName=name, Tags=tags)


def wait_for(happened: Callable[[], bool], what: str) -> None:
    """Wait until it has happened; raises `CheckError` when it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > deadline:
            raise CheckError(f"no {what} within {PATIENCE_S} s")
        time.sleep(0.2)
