"""The two assets against a real MLflow server, twice: a first champion, then a challenger."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import pandas as pd
import pytest

from bento.settings import get_settings
from churn_assets import promote
from churn_assets.defs.resources.mlflow import mlflow_run
from churn_assets.defs.training import evaluation, model, promotion, selection
from churn_assets.defs.training.assets import best_model, tuned_models
from churn_assets.defs.training.checks import gates, unseen_test_customers
from churn_assets.synthetic import customers
from churn_assets_tests.training.customers import cleaned

NAME = "best_model-training"


@dg.asset
def cleaned_features() -> pd.DataFrame:
    return cleaned(3_000)


@dg.asset
def raw_s3_data() -> dict[str, Any]:
    return {"sha256": "0" * 64, "synthetic": True}


RESOURCES = {"mlflow": mlflow_run, "io_manager": dg.mem_io_manager}
CHECKS = [unseen_test_customers, *gates]


def train() -> dg.ExecuteInProcessResult:
    config = {"tuned_models": {"config": {"trials": 4, "folds": 2, "top": 3}}}
    return dg.materialize(
        [cleaned_features, raw_s3_data, tuned_models, best_model, *CHECKS],
        resources=RESOURCES,
        run_config={"ops": config},
    )


def choose(tuned: dict[str, Any], **limits: float) -> dg.ExecuteInProcessResult:
    """Choose again among models that are already in MLflow."""

    @dg.asset(name="tuned_models")
    def already_tuned() -> dict[str, Any]:
        return tuned

    return dg.materialize(
        [cleaned_features, already_tuned, best_model, *gates],
        resources=RESOURCES,
        run_config={"ops": {"best_model": {"config": limits}}},
    )


@pytest.fixture(scope="module", autouse=True)
def settings(mlflow_server: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT", "training")
        yield


@pytest.fixture(scope="module")
def first(settings: None) -> dg.ExecuteInProcessResult:
    get_settings.cache_clear()
    return train()


@pytest.fixture
def client(mlflow_server: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(mlflow_server)


def value(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    found: dict[str, Any] = result.asset_value(asset)
    json.dumps(found, allow_nan=False)
    return found


def test_the_search_is_one_parent_run_with_a_child_a_trial(
    first: dg.ExecuteInProcessResult, client: mlflow.MlflowClient
) -> None:
    found = value(first, "tuned_models")
    children = client.search_runs(
        [found["experiment_id"]],
        f"tags.`mlflow.parentRunId` = '{found['parent_run_id']}'",
    )
    trials = [run for run in children if run.data.tags["kind"] == "trial"]
    assert sorted(int(run.data.tags["trial"]) for run in trials) == list(range(4))
    one = trials[0]
    assert one.info.status == "FINISHED"
    assert {"max_depth", "learning_rate", "rounds"} <= set(one.data.params)
    for name in ("train_full_roc_auc", "valid_core_log_loss"):
        steps = client.get_metric_history(one.info.run_id, f"fold/{name}")
        assert [metric.step for metric in steps] == [0, 1]
        mean = sum(metric.value for metric in steps) / 2
        assert one.data.metrics[name] == pytest.approx(mean)
    assert client.list_artifacts(one.info.run_id) == []
    assert len(children) == 4 + 3
    parent = client.get_run(found["parent_run_id"])
    assert parent.info.status == "FINISHED"
    checks = {e.check_name: e.passed for e in first.get_asset_check_evaluations()}
    assert checks["unseen_test_customers"]
    assert parent.data.tags["data_sha256"] == found["data_sha256"]


def test_the_best_models_are_whole(
    first: dg.ExecuteInProcessResult, client: mlflow.MlflowClient
) -> None:
    found = value(first, "tuned_models")
    assert len(found["top"]) == 3
    assert [r["loss"] for r in found["top"]] == sorted(r["loss"] for r in found["top"])
    record = found["top"][0]
    uri = f"runs:/{record['run_id']}/model"
    assert model.sha256(mlflow.xgboost.load_model(uri)) == record["sha256"]
    info = mlflow.models.get_model_info(uri)
    assert info.signature is not None
    assert info.saved_input_example_info is not None
    run = client.get_run(record["run_id"])
    assert run.data.tags["sha256"] == record["sha256"]
    assert run.data.tags["seed"] == "11"
    assert json.loads(run.data.tags["config"])["trials"] == 4
    assert len(run.data.tags["git_commit"]) >= 7
    plots = {file.path for file in client.list_artifacts(record["run_id"], "plots")}
    for name in ("roc", "precision_recall", "calibration", "importance", "deviation"):
        assert f"plots/out_of_fold_{name}.png" in plots


def test_first_becomes_champion_then_a_human_promotes_and_rolls_back(
    first: dg.ExecuteInProcessResult, client: mlflow.MlflowClient, capsys: Any
) -> None:
    one = value(first, "best_model")
    assert one["passed"], one["gates"]
    assert client.get_model_version_by_alias(NAME, "champion").version == one["version"]
    tags = client.get_model_version(NAME, one["version"]).tags
    assert float(tags["full_roc_auc"]) == pytest.approx(
        one["metrics"]["test_full_roc_auc"], abs=1e-6
    )
    assert {"sha256", "data_sha256", "core_roc_auc", "threshold", "gates"} <= set(tags)

    tuned = value(first, "tuned_models")
    others = [record for record in tuned["top"] if record["run_id"] != one["run_id"]]
    two = value(choose({**tuned, "top": others}, margin_full=0.2, margin_core=0.2), "best_model")
    assert two["champion_version"] == one["version"]
    assert client.get_model_version_by_alias(NAME, "challenger").version == two["version"]
    assert any("full_gain_low" in gate["numbers"] for gate in two["gates"])

    assert promote.main([two["run_id"]]) == 0
    assert client.get_model_version_by_alias(NAME, "champion").version == two["version"]
    assert promote.main([two["run_id"]]) == 0
    assert promote.main(["--rollback"]) == 0
    assert client.get_model_version_by_alias(NAME, "champion").version == one["version"]
    assert promote.main(["--rollback"]) == 1
    assert promote.main(["f" * 32]) == 1
    errors = capsys.readouterr().err
    assert "no former champion" in errors
    assert two["run_id"] in errors


def test_a_candidate_that_fails_a_gate_is_never_promoted(
    first: dg.ExecuteInProcessResult, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT", "strict")
    monkeypatch.setenv("PROMOTION", "auto")
    get_settings.cache_clear()
    result = choose(value(first, "tuned_models"), max_ece=1e-9)
    found = value(result, "best_model")
    assert not found["passed"]
    assert found["champion_version"] is None
    checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert checks == {
        **dict.fromkeys(selection.GATES, True),
        "calibrated": False,
    }
    name = get_settings().registered_model
    assert promotion.champion(client, name) is None
    with pytest.raises(promotion.PromotionError, match="did not pass its gates"):
        promotion.promote(client, name, found["run_id"])


def test_the_card_says_what_a_reader_must_know(
    first: dg.ExecuteInProcessResult, client: mlflow.MlflowClient
) -> None:
    found = value(first, "best_model")
    card = mlflow.artifacts.load_text(
        f"{client.get_run(found['run_id']).info.artifact_uri}/model_card.md"
    )
    assert "SYNTHETIC DATA" in card
    assert f"{found['metrics']['test_full_roc_auc']:.4f} (" in card
    for words in ("gender F", "age under 35", "| core |", found["sha256"], "## Limits"):
        assert words in card


def test_other_bytes_than_those_logged_are_refused(first: dg.ExecuteInProcessResult) -> None:
    record = value(first, "tuned_models")["top"][0]
    with pytest.raises(evaluation.ModelMismatchError, match="logged as ffff"):
        evaluation.load(f"runs:/{record['run_id']}/model", "f" * 64)


def test_with_a_training_folder_the_best_are_fitted_on_all_of_it(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    customers(4_000, seed=3).to_parquet(tmp_path / "all.parquet")
    monkeypatch.setenv("MLFLOW_EXPERIMENT", "folder")
    monkeypatch.setenv("TRAINING_FOLDER", str(tmp_path))
    get_settings.cache_clear()
    config = {"tuned_models": {"config": {"trials": 1, "folds": 2, "top": 1}}}
    result = dg.materialize(
        [cleaned_features, raw_s3_data, tuned_models, best_model],
        resources=RESOURCES,
        run_config={"ops": config},
    )
    search = value(result, "tuned_models")["search"]
    one = value(result, "best_model")
    assert search["searched_customers"] < 2_500 < 3_100 < search["customers"] < 3_300
    tags = client.get_model_version("best_model-folder", one["version"]).tags
    assert tags["fit_customers"] == str(search["customers"])
    assert len(tags["fit_sha256"]) == 64
    card = mlflow.artifacts.load_text(
        f"{client.get_run(one['run_id']).info.artifact_uri}/model_card.md"
    )
    assert f"{search['customers']:,} training customers" in card
