"""A bucket of one's own in the emulator, and the platform's resources on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import boto3
import dagster as dg
import pytest

from bento.settings import get_settings
from churn_assets.defs.resources import mlflow, s3


@contextmanager
def own_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Point CHURN_BUCKET at a new bucket, so that no other test's files are the newest."""
    bucket = f"test-{uuid4().hex}"
    boto3.client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    monkeypatch.setenv("CHURN_BUCKET", bucket)
    get_settings.cache_clear()
    yield bucket
    get_settings.cache_clear()


def resources() -> dict[str, Any]:
    """The resources that the code location gives its assets."""
    found = dg.Definitions.merge(s3.defs(), mlflow.defs()).resources or {}
    return dict(found)
