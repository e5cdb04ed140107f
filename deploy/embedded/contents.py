"""What the emulated cloud must hold before the servers are of use: the bucket and the streams."""

import boto3
from botocore.exceptions import ClientError

from bento.settings import Settings


def provide_bucket(settings: Settings) -> bool:
    """Create the bucket when it is missing; True when it was."""
    s3 = boto3.client("s3")
    try:
        s3.head_bucket(Bucket=settings.churn_bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
    else:
        return False
    s3.create_bucket(
        Bucket=settings.churn_bucket,
        CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name},  # type: ignore[typeddict-item]
    )
    return True


def provide_streams(settings: Settings) -> list[str]:
    """Create the streams that are missing, one shard each; returns their names."""
    kinesis = boto3.client("kinesis")
    present = set(kinesis.list_streams()["StreamNames"])
    wanted = (settings.stream_in, settings.stream_out)
    missing = [name for name in wanted if name not in present]
    for name in missing:
        kinesis.create_stream(StreamName=name, ShardCount=1)
    for name in missing:
        kinesis.get_waiter("stream_exists").wait(
            StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
    return missing
