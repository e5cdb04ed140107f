"""The registry's champion becomes the live one, against a real MLflow server."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from bento.champion import live_folder, read_live, sha256
from bento.customer import FEATURES
from bento.depot import Depot
from bento.runner import ChampionFollower, ChurnRunner
from bento.settings import get_settings
from churn_assets import release as command
from churn_assets.defs.release import live
from churn_assets.defs.release.assets import champion_bento
from churn_assets.defs.release.sensors import CHANGE_TAG, promoted_champion, release_job
from churn_assets_tests.champions import random_booster, random_customers

ROWS = 300


@dg.asset
def cleaned_features() -> pd.DataFrame:
    customers = random_customers(ROWS, seed=9, core_share=0)
    frame = pd.DataFrame(
        [{name: getattr(c, name) for name in (*FEATURES, "customer_id")} for c in customers]
    )
    return frame.assign(churned=frame.index % 2).astype(
        {"education_level": "Int64", "income_category": "Int64", "churned": "int8"}
    )


@pytest.fixture(autouse=True)
def experiment(
    request: pytest.FixtureRequest,
    mlflow_server: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str:
    """Each test has its own registered model and BentoML home."""
    name = f"release-{request.node.name.replace('_', '-')}"
    monkeypatch.setenv("MLFLOW_EXPERIMENT", name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    mlflow.set_tracking_uri(mlflow_server)
    mlflow.set_experiment(name)
    get_settings.cache_clear()
    return name


@pytest.fixture(scope="module", autouse=True)
def bentoml_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """BentoML reads its home once per process."""
    home = tmp_path_factory.mktemp("bentoml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        from bentoml._internal.configuration.containers import BentoMLContainer

        BentoMLContainer.bentoml_home.set(str(home))
        for store in ("bentos", "models", "tmp"):
            (home / store).mkdir()
        yield home
        BentoMLContainer.bentoml_home.reset()


def train(seed: int, altered: bool = False) -> tuple[str, str]:
    """Log and register a model as training does; (run id, version)."""
    booster, _ = random_booster(seed, trees=20)
    digest = sha256(bytes(booster.save_raw("ubj")))
    with mlflow.start_run() as run:
        mlflow.set_tags(
            {
                "sha256": "0" * 64 if altered else digest,
                "data_sha256": "1" * 64,
                "threshold": "0.4",
                "synthetic": "true",
            }
        )
        mlflow.log_metrics({"test_full_roc_auc": 0.9, "test_core_roc_auc": 0.75, "valid_x": 1})
        info = mlflow.xgboost.log_model(booster, name="model", model_format="ubj")
    version = mlflow.register_model(info.model_uri, get_settings().registered_model)
    return run.info.run_id, str(version.version)


def promote(version: str) -> None:
    MlflowClient().set_registered_model_alias(get_settings().registered_model, "champion", version)


def release(instance: dg.DagsterInstance | None = None) -> dict[str, Any]:
    result = dg.materialize([cleaned_features, champion_bento], instance=instance)
    value: dict[str, Any] = result.output_for_node("champion_bento")
    return value


def test_the_champion_is_packaged_tested_and_live() -> None:
    import bentoml

    run_id, version = train(1)
    promote(version)
    result = dg.materialize([cleaned_features, champion_bento])
    value = result.output_for_node("champion_bento")
    assert value["live"] is True
    assert value["tiers"] == {"full": {"roc_auc": 0.9}, "core": {"roc_auc": 0.75}}

    runner = ChurnRunner(Path(value["folder"]))
    assert runner.champion.model_run_id == run_id
    assert runner.champion.threshold == 0.4
    assert runner.champion.synthetic is True
    pointer = get_settings().live_pointer
    now = read_live(pointer)
    assert now is not None
    assert now.model_run_id == run_id
    assert live_folder(pointer, now) == Path(value["folder"])

    (event,) = result.asset_materializations_for_node("champion_bento")
    parity, rows = event.metadata["parity"].value, event.metadata["rows_compared"].value
    assert isinstance(parity, float)
    assert parity <= 1e-6
    assert rows == 2 * ROWS

    model = bentoml.models.get(value["tag"])
    assert model.info.metadata["model_run_id"] == run_id
    assert model.info.metadata["onnx_sha256"] == runner.champion.onnx_sha256
    bento = bentoml.get(value["bento"])
    text = "".join(
        path.read_text()
        for path in Path(bento.path).rglob("*")
        if path.suffix in ("", ".txt", ".yaml") and path.is_file()
    )
    assert "index-url" not in text
    assert f"CHAMPION_FOLDER=/home/bentoml/bento/models/{value['tag'].replace(':', '/')}" in text
    assert "--hash=sha256:" in (Path(bento.path) / "env/python/requirements.txt").read_text()

    again = release()
    assert again["tag"] == value["tag"], "the same champion is the same package"
    assert len(live.history(get_settings().live_pointer)) == 1


def test_an_altered_model_never_goes_live() -> None:
    _, version = train(2, altered=True)
    promote(version)
    with pytest.raises(dg.Failure, match="SHA-256"):
        release()
    assert read_live(get_settings().live_pointer) is None


def test_without_a_champion_it_says_how_to_get_one() -> None:
    train(2)
    with pytest.raises(dg.Failure, match="make promote"):
        release()


def test_what_was_taken_off_by_hand_stays_off_until_the_alias_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pointer = get_settings().live_pointer
    follower = ChampionFollower(get_settings())
    good, good_version = train(3)
    bad, bad_version = train(4)
    promote(good_version)
    release()
    promote(bad_version)
    release()
    follower.refresh()
    assert follower.runner is not None
    assert follower.runner.champion.model_run_id == bad

    with monkeypatch.context() as down:  # MLflow is down
        down.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
        get_settings.cache_clear()
        live.roll_back(pointer)
        follower.refresh()
        assert follower.runner.champion.model_run_id == good
    get_settings.cache_clear()

    assert release()["live"] is False, "the alias still names the bad one"
    follower.refresh()
    assert follower.runner.champion.model_run_id == good

    promote(good_version)
    assert release()["live"] is True
    promote(bad_version)
    assert release()["live"] is True, "promoted again on purpose"
    follower.refresh()
    assert follower.runner.champion.model_run_id == bad


def test_hosts_without_a_common_disk_release_and_hold_back_as_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def on_host(name: str) -> Path:
        """From now on this is another machine, with an empty disk the first time."""
        monkeypatch.setenv("CHURN_HOME", str(tmp_path / name))
        get_settings.cache_clear()
        return get_settings().live_pointer

    uri = f"s3://{get_settings().churn_bucket}/champions-{tmp_path.name}"
    monkeypatch.setenv("CHAMPION_URI", uri)
    monkeypatch.setenv("CHAMPION_MIRROR_SECONDS", "0.001")
    on_host("server")
    follower = ChampionFollower(get_settings())
    good, good_version = train(7)
    bad, bad_version = train(8)
    for run, version in ((good, good_version), (bad, bad_version)):
        on_host(f"pod-{version}")
        promote(version)
        assert release()["live"] is True
        follower.refresh()
        assert follower.runner
        assert follower.runner.champion.model_run_id == run

    on_host("laptop")
    assert command.main(["back"]) == 0
    on_host("pod-later")
    assert release()["live"] is False, "taken off on another machine, and held back here"
    follower.refresh()
    assert follower.runner
    assert follower.runner.champion.model_run_id == good


def test_the_sensors_release_and_the_trainings_own_both_succeed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The slower of two runs that release the same champion used to fail."""
    uri = f"s3://{get_settings().churn_bucket}/champions-{tmp_path.name}"
    monkeypatch.setenv("CHAMPION_URI", uri)
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "slower"))
    get_settings.cache_clear()
    run, version = train(9)
    promote(version)
    on_time = live.release
    elsewhere = tmp_path / "faster" / "live.json"

    def overtaken(pointer: Path, folder: Path, by: Any, depot: Depot) -> Any:
        if not elsewhere.exists():
            faster = Depot(uri, elsewhere)
            faster.take_over()
            copy = Path(shutil.copytree(folder, elsewhere.parent / folder.name))
            on_time(elsewhere, copy, by, faster)
        return on_time(pointer, folder, by, depot)

    monkeypatch.setattr(live, "release", overtaken)
    assert release()["live"] is True
    now = read_live(get_settings().live_pointer)
    assert now
    assert now.model_run_id == run
    history = live.history(get_settings().live_pointer)
    assert [entry.live.model_run_id for entry in history] == [run]


def test_run_id_packages_that_run_and_leaves_the_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    _, version = train(5)
    pinned, _ = train(6)
    promote(version)
    monkeypatch.setenv("RUN_ID", pinned)
    get_settings.cache_clear()
    assert release()["live"] is False
    assert read_live(get_settings().live_pointer) is None
    follower = ChampionFollower(get_settings())
    follower.refresh()
    assert follower.error is None
    assert follower.runner is not None
    assert follower.runner.champion.model_run_id == pinned


def test_the_sensor_follows_the_alias_there_and_back() -> None:
    first, one = train(7)
    second, two = train(8)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor: str | None = None

        def tick() -> list[dg.RunRequest]:
            nonlocal cursor
            context = dg.build_sensor_context(instance, cursor=cursor)
            found = promoted_champion(context)
            if isinstance(found, dg.SkipReason):
                return []
            cursor = found.cursor
            return list(found.run_requests or [])

        def run(request: dg.RunRequest, success: bool) -> None:
            instance.create_run_for_job(
                dg.Definitions([cleaned_features, champion_bento], jobs=[release_job]).get_job_def(
                    "release"
                ),
                tags=dict(request.tags),
                status=dg.DagsterRunStatus.SUCCESS if success else dg.DagsterRunStatus.FAILURE,
            )

        assert tick() == [], "no alias yet"
        promote(one)
        (request,) = tick()
        assert request.tags[CHANGE_TAG].endswith(first)
        run(request, success=True)
        assert tick() == []
        promote(two)
        (request,) = tick()
        assert tick()[0].run_key == request.run_key, "not launched yet: the same run, not another"
        run(request, success=False)
        assert tick() == [], "failed just now: wait"
        promote(one)
        (request,) = tick()
        assert request.tags[CHANGE_TAG].endswith(first), "going back is a change"
        run(request, success=True)
        assert tick() == []
    assert first != second
