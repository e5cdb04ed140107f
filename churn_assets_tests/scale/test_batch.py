"""Batch scoring: the bits that HTTP answers, here and on Dask, and every row accounted for."""

import time
from pathlib import Path
from typing import Any

import boto3
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster, Status, Worker

from bento.customer import Customer
from bento.decoding import decode
from bento.predictor import score as answer
from bento.runner import ChurnRunner
from bento.settings import get_settings
from churn_assets import batch, cluster
from churn_assets import score as command
from churn_assets.batch import Tally
from churn_assets.cluster import ClusterError
from churn_assets.defs.features.cleaning import clean, to_customers
from churn_assets.defs.ingest.pieces import pieces
from churn_assets.defs.ingest.reading import FormatError
from churn_assets.synthetic import customers

ROWS = 9_000
BEHAVIOUR = ["Total_Trans_Ct", "Avg_Open_To_Buy"]


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    frame = customers(ROWS, seed=6)
    frame.loc[::3, BEHAVIOUR] = np.nan
    return frame


@pytest.fixture(scope="module")
def data(raw: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two Parquet files in several row groups."""
    folder = tmp_path_factory.mktemp("customers")
    for name, part in (("a", raw[:6_000]), ("b", raw[6_000:])):
        table = pa.Table.from_pandas(part, preserve_index=False)
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=2_000)
    return folder


@pytest.fixture
def live(champion_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAMPION_FOLDER", str(champion_folder))
    get_settings.cache_clear()


def over_http(runner: ChurnRunner, one: Customer) -> Any:
    """The answer of the HTTP service, from JSON to JSON."""
    asked = decode(msgspec.json.encode(one))
    assert isinstance(asked, Customer)
    [given], _ = answer(runner, [asked], False)
    return msgspec.json.decode(msgspec.json.encode(given))


def sorted_bytes(folder: Path) -> bytes:
    frame = pq.read_table(folder).to_pandas().sort_values("customer_id")
    return bytes(frame["churn chance"].to_numpy().tobytes())


def test_the_scores_are_those_that_http_answers(
    raw: pd.DataFrame, data: Path, runner: ChurnRunner, live: None, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    assert command.main([str(data), str(out)]) == 0
    found = pq.read_table(out).to_pandas()
    asked = [over_http(runner, one) for one in to_customers(clean(raw).customers)]
    expected = pd.DataFrame(asked).drop(columns="prediction_id")
    assert found.columns.tolist() == [
        *("customer_id", "churn chance", "churn", "tier", "model_run_id", "model_version")
    ]
    found = found.sort_values("customer_id", ignore_index=True)
    assert found["churn chance"].astype(float).tolist() == expected["churn chance"].tolist()
    for column in ("customer_id", "churn", "tier", "model_run_id", "model_version"):
        assert found[column].tolist() == expected[column].tolist()
    assert found["tier"].value_counts().to_dict() == {"full": 6_000, "core": 3_000}
    assert not (tmp_path / "scores.quarantine").exists()


def test_the_cluster_gives_the_same_bits(
    data: Path,
    live: None,
    scheduler: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main([str(data), str(tmp_path / "here")]) == 0
    monkeypatch.setenv("DASK_SCHEDULER", scheduler)
    get_settings.cache_clear()
    assert command.main([str(data), str(tmp_path / "there")]) == 0
    assert sorted_bytes(tmp_path / "here") == sorted_bytes(tmp_path / "there")
    assert capsys.readouterr().err.count("9,000 of 9,000 rows scored") == 2


def test_pieces_are_shared_between_the_workers(
    data: Path, runner: ChurnRunner, scheduler: str, tmp_path: Path
) -> None:
    jobs = [
        job._replace(piece=piece, part=part)
        for job in batch.plan(str(data), str(tmp_path / "out"))[:1]
        for part, piece in enumerate(pieces(str(data), 2_000))
    ]
    with Client(scheduler) as client:
        assert batch.score_on(client, runner.folder, jobs, lambda _: None) == Tally(ROWS, ROWS, 0)
    assert len(list((tmp_path / "out").iterdir())) == len(jobs) == 5
    assert pq.read_table(tmp_path / "out").num_rows == ROWS


def pause(dask_worker: Worker) -> None:
    """As the worker itself does when its memory is full."""
    dask_worker.status = Status.paused


def slowly(*_: object) -> Tally:
    time.sleep(0.5)
    return Tally(1, 1, 0)


def test_workers_that_are_all_paused_are_not_waited_for(
    data: Path, runner: ChurnRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "LOOK_S", 0.2)
    monkeypatch.setattr(batch, "PATIENCE_S", 1)
    monkeypatch.setattr(batch, "_score_there", slowly)
    jobs = batch.plan(str(data), str(tmp_path / "out")) * 3
    done = []
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            memory_limit=None,
            dashboard_address=None,
        ) as dask,
        Client(dask) as client,
    ):

        def progress(rows: int) -> None:
            done.append(rows)
            client.run(pause)

        for before in (1, 0):  # in the middle, and from the start
            done.clear()
            with pytest.raises(ClusterError, match="paused for want of memory"):
                batch.score_on(client, runner.folder, jobs, progress)
            assert before <= len(done) < len(jobs)


def test_rows_that_are_no_customers_are_kept_beside_with_the_reason(
    raw: pd.DataFrame, live: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = raw.head(20).drop(columns=["Attrition_Flag", *BEHAVIOUR]).astype(object)
    damaged.loc[3, "Customer_Age"] = 300
    damaged.loc[5, "Gender"] = "X"
    damaged.loc[7, :] = ""
    lines = damaged.to_csv(index=False).splitlines()
    (tmp_path / "new.csv").write_text("\n".join([*lines, "Total,20"]) + "\n")
    out = tmp_path / "scores"
    assert command.main([str(tmp_path / "new.csv"), str(out)]) == 0
    refused = pq.read_table(tmp_path / "scores.quarantine").to_pandas()
    assert refused["row"].tolist() == [5, 7, 22]
    assert refused["reason"].tolist() == [
        "customer_age: '300' is not allowed (allowed: whole number 18 to 120)",
        "gender: 'X' is not allowed (allowed: one of m, f)",
        "not a customer row (no gender or card)",
    ]
    assert set(refused["file"]) == {"new.csv"}
    scored = pq.read_table(out).to_pandas()
    assert len(scored) == 17
    assert set(scored["tier"]) == {"core"}
    assert scored["customer_id"].iloc[0] == str(raw["CLIENTNUM"][0])
    assert "3 rows are no customers" in capsys.readouterr().err


def test_what_is_there_already_is_not_mixed_with_new_scores(
    data: Path, live: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-00007.parquet").touch()
    assert command.main([str(data), str(tmp_path / "out")]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_part_is_whole_or_not_there(
    data: Path, raw: pd.DataFrame, runner: ChurnRunner, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.csv"
    text = raw.to_csv(index=False).encode()
    last = text.splitlines()[-1]
    broken.write_bytes(text + b"\xff" + last[1:] + b"\n")
    jobs = batch.plan(str(broken), str(tmp_path / "out"))
    with pytest.raises(FormatError, match=r"broken\.csv"):
        batch.score_here(runner, jobs, lambda _: None)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CHAMPION_FOLDER": ""}, "no champion is live"),
        ({"DASK_SCHEDULER": "tcp://127.0.0.1:1"}, "DASK_SCHEDULER=tcp://127.0.0.1:1: "),
    ],
)
def test_what_is_missing_is_named(
    data: Path,
    live: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
) -> None:
    monkeypatch.setattr("churn_assets.cluster.PATIENCE_S", 1)
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    assert command.main([str(data), str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_what_its_name_says_is_named(
    live: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.parquet").write_text("no")
    assert command.main([str(tmp_path / "a.parquet"), str(tmp_path / "out")]) == 1
    assert "a.parquet: not a readable parquet file" in capsys.readouterr().err


def test_a_missing_column_is_named(
    raw: pd.DataFrame, live: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw.head(5).rename(columns={"Gender": "Sex"}).to_parquet(tmp_path / "a.parquet")
    assert command.main([str(tmp_path / "a.parquet"), str(tmp_path / "out")]) == 1
    assert "column gender is missing" in capsys.readouterr().err


def test_from_s3_to_s3(
    data: Path, live: None, emulator: str, runner: ChurnRunner, tmp_path: Path
) -> None:
    client, bucket = boto3.client("s3"), get_settings().churn_bucket
    client.upload_file(str(data / "b.parquet"), bucket, "batch/b.parquet")
    assert command.main([f"s3://{bucket}/batch/b.parquet", f"s3://{bucket}/scores/"]) == 0
    keys = [o["Key"] for o in client.list_objects_v2(Bucket=bucket, Prefix="scores/")["Contents"]]
    assert "scores/part-00000.parquet" in keys
    assert not [key for key in keys if "/_" in key]
    client.download_file(bucket, "scores/part-00000.parquet", str(tmp_path / "there.parquet"))
    (tmp_path / "here").mkdir()
    [job] = batch.plan(str(data / "b.parquet"), str(tmp_path / "here"))
    assert batch.score(runner, job) == Tally(3_000, 3_000, 0)
    assert sorted_bytes(tmp_path / "there.parquet") == sorted_bytes(tmp_path / "here")
