"""Nothing that others can write is ever run: models, assets and requests are data, not code."""

import ast
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import dagster as dg
import httpx
import mlflow
import msgspec
import pytest
from upath import UPath

from bento.champion import MANIFEST_FILE, ONNX_FILE, XGBOOST_FILE, ChampionError, sha256
from bento.runner import ChurnRunner
from bento.settings import get_settings
from churn_assets.definitions import defs
from churn_assets.defs.release import bentos
from churn_assets.defs.resources.s3 import ObjectS3IOManager, S3IOManager
from churn_assets.defs.training import evaluation
from churn_assets_tests.champions import make_champion, random_booster
from churn_assets_tests.conftest import ROOT
from churn_assets_tests.serving import churn_service, live_champion

CODE = ("bento", "churn_assets", "stream_worker", "deploy")
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch", "pyfunc"}
CALLS = {
    *("eval", "exec", "read_pickle", "unsafe_load", "full_load", "custom_objects"),
    *("mlflow.xgboost.load_model", "mlflow.pyfunc.load_model", "yaml.load", "allow_pickle"),
}


class Planted(NamedTuple):
    """A pickle that leaves a trace when it is loaded."""

    content: bytes
    trace: Path


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    trace = tmp_path / "it-ran"
    content = pickle.dumps(_Touch(trace))
    pickle.loads(content)
    assert trace.exists(), "the pickle is dangerous"
    trace.unlink()
    yield Planted(content, trace)
    assert not trace.exists()


def used(path: Path) -> Iterator[str]:
    """Imported modules, and the dotted names that a file calls, reads or passes by keyword."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)
            yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def test_our_code_calls_nothing_that_runs_what_it_reads() -> None:
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    guilty = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in used(path)
        if name in MODULES | CALLS
    }
    assert guilty == set()


def test_a_champion_that_is_a_pickle_is_refused_unread(tmp_path: Path, planted: Planted) -> None:
    folder = tmp_path / "champion"
    make_champion(folder)
    for file, field in ((ONNX_FILE, "onnx_sha256"), (XGBOOST_FILE, "sha256")):
        (folder / file).write_bytes(planted.content)
        manifest = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes())
        manifest[field] = sha256(planted.content)
        (folder / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest))
        with pytest.raises(ChampionError, match="not a usable ONNX model"):
            ChurnRunner(folder)


def test_pickles_beside_a_champion_stay_where_they_are(tmp_path: Path, planted: Planted) -> None:
    from bentoml._internal.configuration.containers import BentoMLContainer

    folder = tmp_path / "champion"
    champion = make_champion(folder)
    for name in ("custom_objects.pkl", "model.pkl", "python_model.pkl"):
        (folder / name).write_bytes(planted.content)
    assert ChurnRunner(folder).champion == champion
    BentoMLContainer.bentoml_home.set(str(tmp_path / "bentoml"))
    try:
        bentos.import_model(folder, champion, "best_model-churn:1")
    finally:
        BentoMLContainer.bentoml_home.reset()
    assert list((tmp_path / "bentoml").rglob("*.pkl")) == []


def test_a_model_in_mlflow_brings_no_code(
    tmp_path: Path, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    booster, _ = random_booster(customers=200, trees=2)
    source = tmp_path / "model"
    (source / "code").mkdir(parents=True)
    (source / "code" / "planted_class.py").write_text(
        f"import pathlib\npathlib.Path({str(planted.trace)!r}).touch()\n"
        "from xgboost import Booster as Model\n"
    )
    (source / XGBOOST_FILE).write_bytes(booster.save_raw("ubj"))
    (source / "MLmodel").write_text(
        "flavors:\n  xgboost:\n    code: code\n    data: model.ubj\n"
        "    model_class: planted_class.Model\n    model_format: ubj\n"
    )
    loaded = evaluation.load(str(source), sha256(bytes(booster.save_raw("ubj"))))
    assert loaded.save_raw("ubj") == booster.save_raw("ubj")
    assert not planted.trace.exists()

    monkeypatch.setattr(sys, "path", [*sys.path])
    mlflow.xgboost.load_model(str(source))
    assert planted.trace.exists(), "MLflow's own loader runs it: that is why we do not use it"
    planted.trace.unlink()


def test_assets_are_read_as_parquet_or_json_only(emulator: str, planted: Planted) -> None:
    s3, bucket = boto3.client("s3"), get_settings().churn_bucket
    manager = ObjectS3IOManager(bucket, s3, "dagster")
    for content in (planted.content, b"PAR1" + planted.content):
        s3.put_object(Bucket=bucket, Key="dagster/planted", Body=content)
        with pytest.raises(Exception, match=r"(?i)json|utf|parquet|decode|codec"):
            manager.load_from_path(dg.build_input_context(), UPath("dagster/planted"))


def test_every_asset_is_kept_by_that_manager() -> None:
    loaded = defs()
    assert isinstance((loaded.resources or {})["io_manager"], S3IOManager)
    assets = [asset for asset in loaded.assets or () if isinstance(asset, dg.AssetsDefinition)]
    keys = {output.io_manager_key for asset in assets for output in asset.node_def.output_defs}
    assert keys == {"io_manager"}


def test_a_pickled_request_is_refused(tmp_path: Path, planted: Planted) -> None:
    live_champion(tmp_path)
    kind = "application/vnd.bentoml+pickle"
    with churn_service(tmp_path) as server, httpx.Client(base_url=server.url) as client:
        for path in ("/predict", "/predict/", "/predict?explain=true", "/", "/schema.json"):
            headers = {"Content-Type": kind, "Bentoml-Payload-Type": "args"}
            answer = client.post(path, content=planted.content, headers=headers)
            assert answer.status_code in (404, 405, 415), path
