from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from bento.ids import stream_id
from churn_assets.defs.ingest.reading import FormatError
from churn_assets.defs.monitoring.labels import LabelFile, read_labels, resolve, truth_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LANDED = NOON + timedelta(days=40)
HORIZON = timedelta(days=30)


def prediction(moment: datetime, number: int = 0) -> str:
    return stream_id("test", "0", str(number), int(moment.timestamp() * 1000))


def read(folder: Path, *lines: str, landed: datetime = LANDED) -> LabelFile:
    path = folder / "labels.csv"
    path.write_text("\n".join(["prediction_id,customer_id,churned,observed_at", *lines]))
    return read_labels(path, landed)


def test_rows_that_are_no_labels_are_kept_with_the_reason(tmp_path: Path) -> None:
    made = prediction(NOON)
    file = read(
        tmp_path,
        f"{made},,1,2026-03-10T00:00:00Z",
        ",,1,2026-03-10",
        "7,,1,2026-03-10",
        ",7,maybe,2026-03-10",
        ",7,1,yesterday",
        ",7,1,2026-06-01",
        f"{made},,1,2026-03-02T11:59:59Z",
        "only one field",
    )
    assert file.labels["prediction_id"].tolist() == [made]
    assert file.rejected.index.tolist() == [3, 4, 5, 6, 7, 8, 9]
    starts = [reason.split(":")[0] for reason in file.rejected["reason"]]
    assert starts == [
        "prediction_id, customer_id",
        "prediction_id",
        "churned",
        "observed_at",
        "observed_at",
        "observed_at",
        "prediction_id",
    ]
    assert "later than the file landed" in file.rejected["reason"].loc[7]
    assert "before the prediction" in file.rejected["reason"].loc[8]


@pytest.mark.parametrize(("shown", "churned"), [("1", 1), ("0", 0), ("TRUE", 1), (" false ", 0)])
def test_churned_as_number_or_word(tmp_path: Path, shown: str, churned: int) -> None:
    file = read(tmp_path, f",7,{shown},2026-03-10")
    assert file.labels["churned"].tolist() == [churned]


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    file = read(tmp_path, ",7,1,2026-03-10T10:00:00", ",8,1,2026-03-10T12:00:00+02:00")
    assert file.labels["observed_at"].nunique() == 1


def test_late_rows_are_counted(tmp_path: Path) -> None:
    landed = datetime(2026, 3, 11, 12, tzinfo=UTC)
    file = read(tmp_path, ",7,1,2026-03-11", ",8,1,2026-03-10", landed=landed)
    assert file.late == 1


def test_parquet_with_its_own_types_reads_as_csv_does(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "customer_id": [713061558.0, None],
            "churned": [True, False],
            "observed_at": pd.to_datetime(["2026-03-10", "2026-03-11"], utc=True),
        }
    )
    frame.to_parquet(tmp_path / "labels.parquet")
    file = read_labels(tmp_path / "labels.parquet", LANDED)
    assert file.labels["customer_id"].tolist() == ["713061558"]
    assert file.labels["churned"].tolist() == [1]
    assert len(file.rejected) == 1


def test_a_file_without_the_columns_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("customer_id,churned\n7,1\n")
    with pytest.raises(FormatError, match=r"labels.csv: .*needed: .*observed_at"):
        read_labels(path, LANDED)


def test_repeated_and_corrected_rows_are_told_apart(tmp_path: Path) -> None:
    made = prediction(NOON)
    first = read(
        tmp_path,
        f"{made},,0,2026-03-10",
        f"{made},,0,2026-03-10",  # the same again
        f"{made},,0,2026-03-12",  # still the same later
        f"{made},,1,2026-03-14",  # corrected
        ",7,0,2026-03-10",
    )
    second = read(tmp_path, ",7,1,2026-03-10")  # another file contradicts it
    labels = resolve([first.labels, second.labels])
    assert (labels.duplicated, labels.corrected) == (2, 2)
    assert labels.by_prediction["churned"].tolist() == [1]
    assert labels.by_customer["churned"].tolist() == [1]
    # who landed last wins, whatever was in which file
    assert resolve([second.labels, first.labels]).by_customer["churned"].tolist() == [0]


def test_an_older_observation_in_a_newer_file_changes_nothing(tmp_path: Path) -> None:
    made = prediction(NOON)
    newer = read(tmp_path, f"{made},,1,2026-03-14")
    older = read(tmp_path, f"{made},,0,2026-03-10")
    for order in ([newer, older], [older, newer]):
        labels = resolve([file.labels for file in order])
        assert labels.by_prediction["churned"].tolist() == [1]
        assert labels.corrected == 1


def logged(*made: tuple[datetime, str | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prediction_id": [prediction(moment, n) for n, (moment, _) in enumerate(made)],
            "customer_id": pd.Series([customer for _, customer in made], dtype=object),
            "created_at": pd.to_datetime([moment for moment, _ in made], utc=True),
        }
    ).astype({"created_at": "datetime64[ms, UTC]"})


def test_a_customers_outcome_counts_for_predictions_within_the_horizon(tmp_path: Path) -> None:
    seen = datetime(2026, 4, 1, tzinfo=UTC)
    log = logged(
        (seen - HORIZON - timedelta(seconds=1), "7"),
        (seen - HORIZON, "7"),
        (seen - timedelta(seconds=1), "7"),
        (seen, "7"),
        (seen - timedelta(days=1), "8"),
        (seen - timedelta(days=1), None),
    )
    labels = resolve([read(tmp_path, ",7,1,2026-04-01").labels])
    truth = truth_of(log, labels, HORIZON)
    assert truth["prediction_id"].tolist() == log["prediction_id"][1:3].tolist()
    assert truth["churned"].tolist() == [1, 1]


def test_an_old_prediction_keeps_the_outcome_of_its_time(tmp_path: Path) -> None:
    labels = resolve([read(tmp_path, ",7,0,2026-03-01", ",7,1,2026-04-10").labels])
    log = logged((datetime(2026, 2, 20, tzinfo=UTC), "7"), (datetime(2026, 3, 20, tzinfo=UTC), "7"))
    assert truth_of(log, labels, HORIZON)["churned"].tolist() == [0, 1]


def test_the_latest_observation_counts_whoever_it_names(tmp_path: Path) -> None:
    log = logged((NOON, "7"), (NOON, "8"), (NOON, "9"))
    one, two, three = log["prediction_id"]
    labels = resolve(
        [
            read(
                tmp_path,
                *(f"{one},,0,2026-03-10", ",7,1,2026-03-11"),
                *(f"{two},,0,2026-03-11", ",8,1,2026-03-10"),
                *(f"{three},,0,2026-03-10", ",9,1,2026-03-10"),  # at a tie, the prediction's own
            ).labels
        ]
    )
    truth = truth_of(log, labels, HORIZON).set_index("prediction_id")["churned"]
    assert truth.to_dict() == {one: 1, two: 0, three: 0}
