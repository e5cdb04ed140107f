"""cleaned_features, its checks and eda_report, run by Dagster on S3 and MLflow."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from bento.settings import get_settings
from churn_assets.defs.features import quarantine
from churn_assets.defs.features.assets import cleaned_features, eda_report
from churn_assets.defs.features.checks import cleaned_features_schema, few_rows_quarantined
from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.ingest.assets import raw_s3_data
from churn_assets.synthetic import customers
from churn_assets_tests.stores import resources

CLEANING = [raw_s3_data, cleaned_features, cleaned_features_schema, few_rows_quarantined]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture(scope="module")
def raw(customers_source: Path | None) -> pd.DataFrame:
    return pd.read_csv(customers_source) if customers_source else customers(5_000, seed=0)


@dg.asset
def trained(cleaned_features: pd.DataFrame) -> int:
    """Stands for whatever is trained on the customers."""
    return len(cleaned_features)


def run(
    frame: pd.DataFrame,
    bucket: str,
    instance: dg.DagsterInstance,
    assets: Sequence[dg.AssetsDefinition | dg.AssetChecksDefinition] = CLEANING,
    unknown: str = "missing",
) -> dg.ExecuteInProcessResult:
    boto3.client("s3").put_object(
        Bucket=bucket, Key="ID1/bank.csv", Body=frame.to_csv(index=False).encode()
    )
    return dg.materialize(
        list(assets),
        instance=instance,
        resources=resources(),
        run_config={"ops": {"cleaned_features": {"config": {"unknown": unknown}}}},
        raise_on_error=False,
    )


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}


def test_customers_go_through_s3_unchanged_and_the_metadata_accounts_for_every_row(
    raw: pd.DataFrame, bucket: str, instance: dg.DagsterInstance
) -> None:
    result = run(raw, bucket, instance, unknown="drop")
    assert result.success
    assert_frame_equal(result.output_for_node("cleaned_features"), clean(raw, "drop").customers)
    stored = boto3.client("s3").get_object(Bucket=bucket, Key="dagster/cleaned_features")
    assert stored["Body"].read(4) == b"PAR1"
    metadata = {
        name: entry.value
        for name, entry in result.asset_materializations_for_node("cleaned_features")[
            0
        ].metadata.items()
    }
    expected = clean(raw, "drop").ledger
    assert metadata["dagster/row_count"] == expected["customers"]
    assert metadata["dropped_unknown"] == expected["dropped_unknown"] > 0
    assert metadata["rows_read"] == len(raw)
    assert f"| rows read | {len(raw):,} |" in str(metadata["ledger"])
    assert outcomes(result) == {
        "columns_and_types": True,
        "values_in_range": True,
        "no_leaking_column": True,
        "class_balance": True,
        "few_rows_quarantined": True,
    }


def test_refused_rows_can_be_listed_and_too_many_block_training(
    raw: pd.DataFrame,
    bucket: str,
    instance: dg.DagsterInstance,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    damaged = raw.sample(1_000, random_state=0, ignore_index=True)
    damaged.loc[:29, "Customer_Age"] = 300
    result = run(damaged, bucket, instance, [*CLEANING, trained])
    assert outcomes(result)["few_rows_quarantined"] is False
    assert not result.success
    assert not result.asset_materializations_for_node("trained")

    monkeypatch.setattr("sys.argv", ["quarantine"])
    quarantine.main()
    listed = capsys.readouterr().out
    assert ".parquet: 30 rows" in listed
    assert "row 2: customer_age: '300' is not allowed (allowed: whole number 18 to 120)" in listed

    monkeypatch.setenv("MAX_QUARANTINED_SHARE", "0.03")
    get_settings.cache_clear()
    again = run(damaged, bucket, instance, [*CLEANING, trained])
    assert again.success
    assert again.output_for_node("trained") == 970


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (
            {"Avg_Utilization_Ratio": lambda f: f["Attrition_Flag"].str.startswith("A") * 1.0},
            "no_leaking_column",
        ),
        ({"Attrition_Flag": lambda f: "Existing Customer"}, "class_balance"),
    ],
)
def test_a_leak_or_a_broken_label_blocks_training(
    raw: pd.DataFrame,
    bucket: str,
    instance: dg.DagsterInstance,
    damage: dict[str, Any],
    check: str,
) -> None:
    damaged = raw.sample(1_000, random_state=0).assign(**damage)
    result = run(damaged, bucket, instance, [*CLEANING, trained])
    assert [name for name, passed in outcomes(result).items() if not passed] == [check]
    assert not result.asset_materializations_for_node("trained")


def test_no_customer_at_all_is_a_failure_that_says_why(
    raw: pd.DataFrame, bucket: str, instance: dg.DagsterInstance
) -> None:
    result = run(raw.head(5).assign(Attrition_Flag="gone"), bucket, instance)
    failure = result.failure_data_for_node("cleaned_features")
    assert failure is not None
    assert "no row is a customer; the first: attrition_flag: 'gone'" in str(failure.error)


def test_a_misspelled_setting_is_refused(raw: pd.DataFrame, bucket: str) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="unknwon"):
        dg.materialize(
            CLEANING,
            resources=resources(),
            run_config={"ops": {"cleaned_features": {"config": {"unknwon": "drop"}}}},
        )


def test_the_pictures_are_in_dagster_and_in_mlflow(
    raw: pd.DataFrame, bucket: str, instance: dg.DagsterInstance, mlflow_server: str
) -> None:
    from mlflow import MlflowClient

    result = run(raw, bucket, instance, [*CLEANING, eda_report])
    assert result.success
    metadata = result.asset_materializations_for_node("eda_report")[0].metadata
    client = MlflowClient(mlflow_server)
    (experiment,) = client.search_experiments(filter_string="name = 'churn'")
    (tracked,) = client.search_runs(
        [experiment.experiment_id], f"tags.dagster_run_id = '{result.run_id}'"
    )
    logged = {
        file.path: file.file_size or 0 for file in client.list_artifacts(tracked.info.run_id, "eda")
    }
    for name in ("correlations", "category_counts", "target_rates"):
        assert "](data:image/png;base64,iVBORw0KGgo" in str(metadata[name].value)
        assert logged[f"eda/{name}.png"] > 10_000
