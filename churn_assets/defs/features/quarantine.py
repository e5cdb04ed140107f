"""The quarantine: rows that became no customer, one S3 object a raw file.

`python -m churn_assets.defs.features.quarantine [SHA256]` lists it.
"""

import argparse
import io
from typing import Any

import boto3
import pandas as pd
from rich.console import Console

from bento.settings import get_settings
from churn_assets.defs.ingest.feature_store import objects

PREFIX = "quarantine/"


def key_of(sha256: str) -> str:
    """Where the quarantined rows of a raw file are."""
    return f"{PREFIX}{sha256}.parquet"


def save(client: Any, bucket: str, sha256: str, rows: pd.DataFrame) -> str:
    """Keep the rows that cleaning a raw file refused, also when there are none; the key."""
    key = key_of(sha256)
    client.put_object(Bucket=bucket, Key=key, Body=rows.to_parquet(index=False))
    return key


def load(client: Any, bucket: str, key: str) -> pd.DataFrame:
    """One raw file's quarantined rows: `row`, `customer_id`, `reason`, `original` (JSON)."""
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return pd.read_parquet(io.BytesIO(body))


def main() -> None:
    """Print every quarantined row, or those of one raw file."""
    parser = argparse.ArgumentParser(description="List rows that became no customer, and why.")
    parser.add_argument(
        "sha256", nargs="?", default="", help="raw file (its hash or the start of it)"
    )
    prefix = PREFIX + parser.parse_args().sha256
    client, bucket, console = boto3.client("s3"), get_settings().churn_bucket, Console()
    for item in objects(client, bucket, prefix):
        if "/" in item["Key"].removeprefix(PREFIX):
            continue  # another stage's quarantine, with columns of its own
        rows = load(client, bucket, item["Key"])
        console.print(
            f"s3://{bucket}/{item['Key']}: {len(rows)} rows", style="bold", soft_wrap=True
        )
        for row in rows.itertuples():
            console.print(f"  row {row.row}: {row.reason}", markup=False, soft_wrap=True)
            console.print(f"    {row.original}", style="dim", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
