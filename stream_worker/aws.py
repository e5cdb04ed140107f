"""The worker's boto3 clients; endpoint, region and credentials come from the environment."""

from typing import TYPE_CHECKING, cast

import boto3
import botocore.session
from botocore.config import Config

from stream_worker.records import code_by_msgspec

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

SHARDS_A_WORKER = 64
"""Connections kept open, so that as many shards can be read at the same time."""


class Clients:
    """Thread-safe clients of the three services that the worker uses.

    Kinesis timestamps arrive as seconds since 1970 instead of `datetime`, and requests
    are not validated on this side.
    """

    def __init__(self) -> None:
        core = botocore.session.get_session()
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=float)
        config = Config(
            connect_timeout=3,
            read_timeout=20,
            max_pool_connections=SHARDS_A_WORKER,
            parameter_validation=False,
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        self.kinesis: KinesisClient = boto3.Session(botocore_session=core).client(
            "kinesis", config=config
        )
        code_by_msgspec(self.kinesis)
        self.dynamodb: DynamoDBClient = boto3.client("dynamodb", config=config)
        self.s3: S3Client = boto3.client("s3", config=config)


def seconds(timestamp: object) -> float:
    """A timestamp of one of these clients; the type stubs promise a `datetime`."""
    return cast(float, timestamp)
