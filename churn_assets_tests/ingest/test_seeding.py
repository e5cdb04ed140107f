"""Seeding: what CHURN_RAW_DATA names lands once, and made-up customers say that they are."""

import os
from pathlib import Path

import boto3
import pandas as pd
import pytest

from bento.settings import Settings
from churn_assets.defs.ingest.feature_store import customer_files, metadata
from churn_assets.defs.ingest.seeding import SourceError, seed_feature_store

AUGUST = 1_659_866_400  # 2022-08-07 10:00 UTC


def landed(bucket: str) -> list[str]:
    return [file.key for file in customer_files(boto3.client("s3"), bucket, "ID1/")]


def write(path: Path, content: str, modified: int = AUGUST) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (modified, modified))
    return path


def test_without_raw_data_synthetic_customers_land_once_and_loudly(
    bucket: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = seed_feature_store(Settings())
    assert key == "ID1/synthetic_customers.parquet"
    assert "SYNTHETIC" in capsys.readouterr().out
    client = boto3.client("s3")
    assert (metadata(client, bucket, key) or {})["synthetic"] == "true"
    client.download_file(bucket, key, str(tmp_path / "made.parquet"))
    assert len(pd.read_parquet(tmp_path / "made.parquet")) == 10_127
    first = customer_files(client, bucket, "ID1/")
    assert seed_feature_store(Settings()) == key
    assert customer_files(client, bucket, "ID1/") == first


def test_synthetic_customers_never_follow_real_ones(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_RAW_DATA", str(write(tmp_path / "bank.csv", "a\n1\n")))
    seed_feature_store(Settings())
    monkeypatch.delenv("CHURN_RAW_DATA")
    assert seed_feature_store(Settings()) == "ID1/bank_2022-08-07.csv"
    assert landed(bucket) == ["ID1/bank_2022-08-07.csv"]


def test_a_file_lands_under_its_day_and_a_changed_one_beside_it(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "credit_card_churn.csv", "a\n1\n")
    monkeypatch.setenv("CHURN_RAW_DATA", str(path))
    key = seed_feature_store(Settings())
    assert key == "ID1/credit_card_churn_2022-08-07.csv"
    assert (metadata(boto3.client("s3"), bucket, key) or {})["synthetic"] == "false"
    assert seed_feature_store(Settings()) == key
    write(path, "a\n2\n")
    changed = seed_feature_store(Settings())
    assert changed.startswith("ID1/credit_card_churn_2022-08-07-")
    assert sorted(landed(bucket)) == sorted([key, changed])
    body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    assert body == b"a\n1\n"


def test_a_folder_lands_whole_with_its_newest_file_last(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in" / "a.csv", "a\n2\n", AUGUST + 86_400)
    write(tmp_path / "in" / "z_2022-01-01.csv", "a\n1\n")
    write(tmp_path / "in" / "notes.txt", "not customers")
    monkeypatch.setenv("CHURN_RAW_DATA", str(tmp_path / "in"))
    assert seed_feature_store(Settings()) == "ID1/a_2022-08-08.csv"
    assert sorted(landed(bucket)) == ["ID1/a_2022-08-08.csv", "ID1/z_2022-01-01.csv"]


def test_an_s3_uri_lands_too(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key="elsewhere/bank_2021-02-03.csv", Body=b"a\n1\n")
    monkeypatch.setenv("CHURN_RAW_DATA", f"s3://{bucket}/elsewhere/")
    assert seed_feature_store(Settings()) == "ID1/bank_2021-02-03.csv"


def test_a_source_without_customers_is_named(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in (str(tmp_path), str(tmp_path / "nowhere.csv"), f"s3://{bucket}/nothing/"):
        monkeypatch.setenv("CHURN_RAW_DATA", where)
        with pytest.raises(SourceError, match="CHURN_RAW_DATA: no CSV or Parquet file in"):
            seed_feature_store(Settings())
