"""What the emulated cloud must hold before the servers are of use: bucket, streams, customers.

`python -m churn_assets.contents` provides them, and an empty list of reports; what is there stays.
"""

import sys
from collections.abc import Callable

import boto3
from botocore.exceptions import ClientError

from bento.settings import Settings, get_settings


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


def provide_list(settings: Settings) -> None:
    """A list of no reports, until the first one is made."""
    from churn_assets.defs.monitoring import pages

    folder = settings.churn_home.absolute() / "reports"
    if not (folder / "index.html").exists():
        pages.publish(folder, {}, [])


def provide(settings: Settings, say: Callable[[str, str], None]) -> None:
    """Bucket, streams and customers; `say` is told the kind and the names of what was created.

    Raises `SourceError` where CHURN_RAW_DATA names nothing of use.
    """
    from churn_assets.defs.ingest.seeding import seed_feature_store

    if provide_bucket(settings):
        say("bucket", f"s3://{settings.churn_bucket}")
    if created := provide_streams(settings):
        say("streams", ", ".join(created))
    seed_feature_store(settings)


def main() -> int:
    """Provide everything; the exit status is 1 where CHURN_RAW_DATA names nothing of use."""
    from churn_assets.defs.ingest.seeding import SourceError

    settings = get_settings()
    try:
        provide(settings, lambda kind, names: print(f"{kind}: {names} created"))
    except SourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    provide_list(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
