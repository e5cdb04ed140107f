import json
import re
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bento.runner import ChurnRunner
from churn_assets.defs.monitoring import drift_html, pages, reference
from churn_assets.defs.monitoring.drift import Columns, Limits
from churn_assets.defs.monitoring.drift_report import DriftReport, describe, examine
from churn_assets.defs.monitoring.prediction_log import to_arrow
from churn_assets.defs.monitoring.sampling import Group, Sampler, sample
from churn_assets.defs.monitoring.windows import Window
from churn_assets_tests.champions import make_champion, random_customers
from churn_assets_tests.monitoring.samples import NOON, answered, cleaned, poorer

WINDOW = Window(NOON, NOON + timedelta(hours=3))
LIMITS = Limits()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ChurnRunner:
    folder = tmp_path_factory.mktemp("champion")
    make_champion(folder, seed=1)
    return ChurnRunner(folder)


@pytest.fixture(scope="module")
def yardstick(runner: ChurnRunner) -> dict[Group, Columns | None]:
    table = reference.build(cleaned(random_customers(4_000, seed=20, core_share=0)), runner)
    run = runner.champion.model_run_id
    return {Group(run, tier): reference.columns(table, tier) for tier in ("full", "core")}


@pytest.fixture(scope="module")
def quiet(runner: ChurnRunner) -> Sampler:
    return sample([to_arrow(answered(random_customers(1_500, seed=21), runner))])


@pytest.fixture(scope="module")
def drifted(runner: ChurnRunner) -> Sampler:
    return sample([to_arrow(answered(poorer(random_customers(1_500, seed=22)), runner))])


def report_of(sampler: Sampler, references: dict[Group, Columns | None]) -> DriftReport:
    return examine(WINDOW, sampler, references, LIMITS, "training")


def test_the_same_customers_are_quiet(
    quiet: Sampler, yardstick: dict[Group, Columns | None]
) -> None:
    report = report_of(quiet, yardstick)
    assert not report.alarm
    assert report.drifted == ()
    assert report.finding.startswith("Nothing has changed")
    assert {group.tier for group in report.groups if group.compared} == {"full", "core"}


def test_other_customers_are_an_alarm_that_names_the_columns(
    drifted: Sampler, yardstick: dict[Group, Columns | None]
) -> None:
    report = report_of(drifted, yardstick)
    assert report.alarm
    assert (
        {"credit_limit", "total_trans_ct", "score"}
        >= set(report.drifted)
        >= {"credit_limit", "total_trans_ct"}
    )
    assert all(name in report.finding for name in report.drifted)
    by_tier = {group.tier: group for group in report.groups}
    assert "total_trans_ct" not in {column.column for column in by_tier["core"].columns}
    worst = by_tier["full"].columns[0]
    assert worst.drifted
    assert worst.psi == max(column.psi for column in by_tier["full"].columns)


def test_too_little_is_skipped_with_its_reason(
    runner: ChurnRunner, yardstick: dict[Group, Columns | None]
) -> None:
    few = sample([to_arrow(answered(random_customers(40, seed=23), runner))])
    report = report_of(few, yardstick)
    assert report.skipped
    assert not report.alarm
    assert "at least 200" in report.finding
    assert report.as_document()["html"] is None
    assert report_of(sample([]), yardstick).finding == "No predictions."


def test_a_model_without_a_reference_is_skipped_by_name(quiet: Sampler) -> None:
    report = report_of(quiet, dict.fromkeys(quiet.rows))
    assert report.skipped
    assert "no reference" in report.finding


def test_the_document_survives_json(
    drifted: Sampler, yardstick: dict[Group, Columns | None]
) -> None:
    report = report_of(drifted, yardstick)
    document = json.loads(json.dumps(report.as_document()))
    assert document["_id"] == "data_report-2026-11-20_12-00"
    assert document["html"] == "data_report-2026-11-20_12-00.html"
    assert msgspec.convert(document, DriftReport) == report


def test_the_page_is_small_says_how_it_sampled_and_agrees_with_the_alarm(
    runner: ChurnRunner, yardstick: dict[Group, Columns | None]
) -> None:
    rows = answered(poorer(random_customers(1_500, seed=22)), runner)
    sampler = sample([to_arrow(rows)], most=400)
    report = report_of(sampler, yardstick)
    page = drift_html.render(report, sampler.samples(), yardstick, LIMITS)
    assert len(page.encode()) < 5_000_000
    assert report.finding in page
    assert re.search(r"a random 400 of 7\d\d predictions", page)
    for group in report.groups:
        changed = sum(column.drifted for column in group.columns)
        share = f"({changed} out of {len(group.columns)})"
        assert share in page


def test_changes_are_told_in_words() -> None:
    gender = describe("gender", np.repeat([0.0, 1.0], [6, 4]), np.repeat([0.0, 1.0], [1, 9]))
    assert gender == "M 60% → 10%"
    unknown = describe("customer_age", np.array([40.0, 50]), np.array([50.0, np.nan]))
    assert unknown == "mean 45 → 50, unknown 0% → 50%"
    assert describe("score", np.array([0.5]), np.array([])) == "nothing to compare"
    assert describe("avg_open_to_buy", np.array([1.0]), np.array([np.nan])) == "unknown 0% → 100%"


def test_the_list_shows_the_newest_first_and_escapes(tmp_path: Path) -> None:
    documents = [
        {
            "_id": f"data_report-2026-11-21_{hour:02}-00",
            "window": [
                f"2026-11-21T{hour:02}:00:00+00:00",
                f"2026-11-21T{hour + 3:02}:00:00+00:00",
            ],
            "rows": 1_000 * hour,
            "alarm": hour == 9,
            "finding": "<b>9</b>" if hour == 9 else "Nothing has changed.",
            "html": None if hour == 3 else f"data_report-2026-11-21_{hour:02}-00.html",
        }
        for hour in (3, 9, 6)
    ]
    pages.publish(tmp_path, {"page.html": "<p>"}, documents)
    page = (tmp_path / "index.html").read_text()
    assert (tmp_path / "page.html").read_text() == "<p>"
    order = [page.index(f"2026-11-21_{hour:02}-00") for hour in (9, 6, 3)]
    assert order == sorted(order)
    assert page.count("<a href=") == 2
    assert "&lt;b&gt;9" in page
    assert "<b>9" not in page
    assert page.count("badge alarm") == 1


def test_who_wants_only_the_newest_report_reads_a_small_file(tmp_path: Path) -> None:
    def document(kind: str, start: int, end: int, alarm: bool) -> dict[str, object]:
        window = [f"2026-11-21T{hour:02}:00:00+00:00" for hour in (start, end)]
        return {"_id": f"{kind}-{start}", "kind": kind, "window": window, "alarm": alarm}

    pages.publish(
        tmp_path,
        {},
        [
            document("drift", 9, 12, alarm=True),
            document("drift", 10, 11, alarm=False),
            document("performance", 6, 9, alarm=False),
        ],
    )
    assert json.loads((tmp_path / pages.NEWEST).read_text()) == {
        "drift": {
            "window": ["2026-11-21T09:00:00+00:00", "2026-11-21T12:00:00+00:00"],
            "alarm": True,
        },
        "performance": {
            "window": ["2026-11-21T06:00:00+00:00", "2026-11-21T09:00:00+00:00"],
            "alarm": False,
        },
    }
