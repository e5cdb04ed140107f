from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from bento.customer import Customer
from bento.runner import ChurnRunner
from bento.settings import get_settings
from bento.store import PredictionRow, open_store
from churn_assets.defs.monitoring.drift_assets import (
    drift_reference,
    drift_report,
    nothing_has_drifted,
    part_of,
)
from churn_assets.defs.monitoring.drift_sensors import obstacle
from churn_assets.defs.monitoring.log_assets import prediction_log
from churn_assets.defs.monitoring.windows import Window, window_of_key
from churn_assets.defs.resources.predictions import PredictionStoreResource
from churn_assets_tests.champions import make_champion, point, random_customers
from churn_assets_tests.monitoring.samples import aged, answered, cleaned, poorer

PARTITION = "2026-11-20-12:00"


@pytest.fixture(scope="module")
def champion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("champion")
    make_champion(folder, seed=11)
    return folder


@pytest.fixture
def runner(champion_folder: Path, emulator: str) -> Iterator[ChurnRunner]:
    runner = ChurnRunner(champion_folder)
    point(get_settings().live_pointer, champion_folder, runner.champion)
    yield runner
    exports = boto3.resource("s3").Bucket(get_settings().churn_bucket).objects
    exports.filter(Prefix="predictions/").delete()


def log(rows: Sequence[PredictionRow]) -> None:
    store = open_store(get_settings())
    store.write(rows)
    store.close()


def answer(runner: ChurnRunner, customers: Sequence[Customer]) -> None:
    log(answered(customers, runner))


def report(**config: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [prediction_log, drift_report, nothing_has_drifted],
        partition_key=PARTITION,
        resources={
            "s3": S3Resource(),
            "io_manager": dg.mem_io_manager,
            "prediction_store": PredictionStoreResource(),
        },
        run_config={"ops": {"drift_report": {"config": config}}},
        instance=dg.DagsterInstance.ephemeral(),
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [event] = result.asset_materializations_for_node("drift_report")
    return {name: value.value for name, value in event.metadata.items()}


def check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [found] = result.get_asset_check_evaluations()
    return found


def exists(key: str) -> bool:
    client = boto3.client("s3")
    found = client.list_objects_v2(Bucket=get_settings().churn_bucket, Prefix=key)
    return bool(found["KeyCount"])


def test_quiet_then_drifted_traffic(runner: ChurnRunner) -> None:
    drift_reference(
        dg.build_asset_context(),
        S3Resource(),
        cleaned(random_customers(4_000, seed=30, core_share=0)),
    )
    answer(runner, random_customers(900, seed=31))
    quiet = report()
    assert check(quiet).passed
    assert metadata(quiet)["alarm"] is False
    assert metadata(quiet)["dagster/row_count"] == 900

    log(aged(answered(poorer(random_customers(900, seed=32)), runner), timedelta(minutes=-1)))
    loud = report()
    assert not check(loud).passed
    found = metadata(loud)
    assert found["alarm"] is True
    assert "credit_limit" in found["finding"]
    assert found["html_mb"] < 5
    folder = get_settings().churn_home / "reports"
    name = "data_report-2026-11-20_12-00.html"
    assert found["report"].endswith(f":8888/{name}")
    assert found["finding"] in (folder / name).read_text()
    assert "credit_limit" in (folder / "index.html").read_text()
    assert exists(f"reports/{name}")
    assert exists("reports/index.html")
    store = open_store(get_settings())
    [document] = store.reports()
    store.close()
    assert document["alarm"] is True
    assert "credit_limit" in document["drifted"]


def test_a_part_of_a_window_is_kept_beside_the_whole(runner: ChurnRunner) -> None:
    answer(runner, random_customers(60, seed=38))  # one a second from noon on
    report()
    part = report(since="2026-11-20T13:00:20+01:00")
    assert metadata(part)["dagster/row_count"] == 40
    assert metadata(part)["predictions"] == "2026-11-20 12:00:20 to 2026-11-20 15:00:00"
    store = open_store(get_settings())
    found = {document["_id"]: document["rows"] for document in store.reports()}
    store.close()
    assert found == {"data_report-2026-11-20_12-00": 60, "data_report-2026-11-20_12-00-20": 40}


@pytest.mark.parametrize("since", ["yesterday", "2026-11-20T12:30:00", "2026-11-20T15:00:00Z"])
def test_a_part_begins_inside_the_window(since: str) -> None:
    window = window_of_key(PARTITION)
    with pytest.raises(dg.Failure, match=f"since: '{since}'"):
        part_of(window, since, window.end.isoformat())


def test_an_open_window_is_reported_as_far_as_it_was_read() -> None:
    window = window_of_key(PARTITION)
    until = window.start + timedelta(minutes=40)
    assert part_of(window, None, until.isoformat()) == Window(window.start, until)


def test_too_little_data_is_no_failure_and_no_page(runner: ChurnRunner) -> None:
    answer(runner, random_customers(30, seed=33))
    result = report()
    assert result.success
    assert check(result).passed
    assert "at least 200" in metadata(result)["skipped"]
    assert not list((get_settings().churn_home / "reports").glob("data_report*"))


def test_the_window_before_can_be_the_reference(runner: ChurnRunner) -> None:
    before = answered(random_customers(900, seed=34), runner)
    log(aged(before, timedelta(hours=3)))
    dg.materialize(
        [prediction_log],
        partition_key="2026-11-20-09:00",
        resources={
            "s3": S3Resource(),
            "io_manager": dg.mem_io_manager,
            "prediction_store": PredictionStoreResource(),
        },
        instance=dg.DagsterInstance.ephemeral(),
    )
    answer(runner, poorer(random_customers(900, seed=35)))
    found = metadata(report(reference="previous"))
    assert found["alarm"] is True
    assert "credit_limit" in found["finding"]


def test_another_yardstick_is_refused(runner: ChurnRunner) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        report(reference="yesterday")


def test_a_reference_is_made_once_a_model(runner: ChurnRunner) -> None:
    first = drift_reference(
        dg.build_asset_context(), S3Resource(), cleaned(random_customers(300, seed=36))
    )
    again = drift_reference(
        dg.build_asset_context(), S3Resource(), cleaned(random_customers(500, seed=37))
    )
    assert isinstance(first, dg.MaterializeResult)
    assert isinstance(again, dg.MaterializeResult)
    assert again.value == first.value


DAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ([], None),
        ([DAY - 2 * HOUR], "cooling down until 2026-11-21 16:00 UTC"),
        ([DAY - 7 * HOUR], None),
        ([DAY - 7 * HOUR, DAY - 14 * HOUR], "2 trainings in 24 hours, the limit is 2"),
        ([DAY - 7 * HOUR, DAY - 25 * HOUR], None),
    ],
)
def test_alarms_train_seldom(started: list[datetime], expected: str | None) -> None:
    assert obstacle(DAY, DAY - HOUR, started, cooldown=6 * HOUR, limit=2) == expected


def test_an_old_alarm_trains_nothing() -> None:
    assert "too long ago" in str(obstacle(DAY, DAY - 30 * HOUR, [], 6 * HOUR, 2))
