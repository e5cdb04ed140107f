"""From a trained booster to a champion folder that the servers load."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from bento.champion import (
    MANIFEST_FILE,
    ONNX_FILE,
    XGBOOST_FILE,
    Champion,
    ChampionError,
    read_champion,
    sha256,
)
from bento.customer import FEATURES, Customer, encode, schema_hash
from bento.runner import INPUT, OUTPUT, load_onnx

if TYPE_CHECKING:
    import onnx
    import xgboost

PARITY = 1e-6
"""Largest difference allowed between the packaged scorer and XGBoost, as probability."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry knows of a model and serving needs to know."""

    model_name: str
    model_version: str
    model_run_id: str
    threshold: float
    tiers: dict[str, dict[str, float]]
    data_sha256: str
    synthetic: bool


def convert(booster: "xgboost.Booster") -> bytes:
    """The booster as an ONNX model: float32 (rows, 19) in `FEATURES` order -> (rows, 2).

    Raises ChampionError when the booster's features are not ours.
    """
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    names = tuple(booster.feature_names or ())
    if names != FEATURES:
        raise ChampionError(f"the booster was trained on {names}, not on {FEATURES}")
    nameless = booster.copy()
    nameless.feature_names = None  # the converter wants numbered features
    model = convert_xgboost(
        nameless,
        name="churn",  # a random one otherwise: the same model would have other bytes each time
        initial_types=[(INPUT, FloatTensorType([None, len(FEATURES)]))],
    )
    if OUTPUT not in {output.name for output in model.graph.output}:
        raise ChampionError(f"the converted model has no output {OUTPUT}")
    _add_base_first(model)
    return bytes(model.SerializeToString())


def _add_base_first(model: "onnx.ModelProto") -> None:
    """Move the base score into the leaves of the first tree.

    XGBoost starts its float32 sum with the base score, ONNX Runtime ends with it: the
    order of a sum of hundreds of trees is worth 1e-6 of probability.
    """
    (trees,) = (node for node in model.graph.node if node.op_type == "TreeEnsembleClassifier")
    attributes = {attribute.name: attribute for attribute in trees.attribute}
    base = attributes["base_values"].floats
    weights = attributes["class_weights"].floats
    for leaf, tree in enumerate(attributes["class_treeids"].ints):
        if tree == 0:
            weights[leaf] = float(np.float32(base[0]) + np.float32(weights[leaf]))
    base[0] = 0.0


def expected(model: bytes, customers: Sequence[Customer]) -> NDArray[np.float32]:
    """P(leave) of each customer as XGBoost says it, shape (customers,)."""
    import xgboost

    matrix = xgboost.DMatrix(encode(customers), feature_names=list(FEATURES))
    found: NDArray[np.float32] = _booster(model).predict(matrix)
    return found


def parity(booster: "xgboost.Booster", onnx: bytes, matrix: NDArray[np.float32]) -> float:
    """Largest absolute difference in P(leave) between XGBoost and ONNX over all rows."""
    import xgboost

    expected = booster.predict(xgboost.DMatrix(matrix, feature_names=list(FEATURES)))
    found = load_onnx(onnx).run([OUTPUT], {INPUT: matrix})[0][:, 1]
    return float(np.abs(expected - found).max())


def package(
    folder: Path, model: bytes, origin: Origin, matrix: NDArray[np.float32]
) -> tuple[Champion, float]:
    """Write a champion folder from a `model.ubj`; returns its manifest and the parity.

    `matrix` holds all encoded rows of the training data, on which the converted model
    must agree with XGBoost. Raises ChampionError when it does not.
    """
    booster = _booster(model)
    onnx = convert(booster)
    difference = parity(booster, onnx, matrix)
    if not difference <= PARITY:
        raise ChampionError(f"ONNX and XGBoost differ by {difference:.2e}, allowed {PARITY:.0e}")
    champion = Champion(
        **msgspec.structs.asdict(origin),
        schema_hash=schema_hash(),
        sha256=sha256(model),
        onnx_sha256=sha256(onnx),
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX_FILE).write_bytes(onnx)
    (folder / XGBOOST_FILE).write_bytes(model)
    (folder / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(champion)))
    return champion, difference


def _booster(model: bytes) -> "xgboost.Booster":
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(model))
    return booster


def keep(
    home: Path, model: bytes, origin: Origin, matrix: NDArray[np.float32]
) -> tuple[Path, Champion, float]:
    """Package under `home`, in a folder named after version and content.

    The same champion packaged again is the same folder, left as it is; anything that
    differs (model, threshold, feature schema) gets a folder of its own, because
    servers may be reading the old one.
    """
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".packing-") as folder:
        new = Path(folder) / "champion"
        champion, difference = package(new, model, origin, matrix)
        content = msgspec.json.encode(msgspec.structs.replace(champion, created_at=""))
        target = home / f"v{champion.model_version}-{sha256(content)[:12]}"
        if not target.exists():
            new.rename(target)
    return target, read_champion(target), difference
