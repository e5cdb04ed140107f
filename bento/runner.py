"""The one scorer: loads a champion folder, scores one customer or many, explains, follows a swap.

The HTTP service, the stream worker, the Lambda handler and batch jobs all use it,
so the same customer gets the same float bits everywhere. It imports no BentoML.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

# Else it reports models and machine to its makers, from a thread of its own.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bento.champion import (
    ONNX_FILE,
    XGBOOST_FILE,
    Champion,
    ChampionError,
    LivePointer,
    live_folder,
    packaged,
    read_champion,
    read_live,
    read_verified,
)
from bento.customer import FEATURES, Customer, encode, schema_hash
from bento.depot import open_depot
from bento.settings import Settings

if TYPE_CHECKING:
    import xgboost

__all__ = ["Champion", "ChampionError", "ChampionFollower", "ChurnRunner", "Explanation", "Reason"]

INPUT = "customers"
OUTPUT = "probabilities"
TOP_REASONS = 5

log = logging.getLogger(__name__)


class Reason(msgspec.Struct, frozen=True):
    """One feature's share of a score, in log-odds of leaving."""

    feature: str
    value: str | int | float | None
    contribution: float


class Explanation(msgspec.Struct, frozen=True):
    """Why a customer got a score: the reasons' contributions + `other` + `bias` = its log-odds."""

    reasons: list[Reason]
    """The five largest contributions by absolute value, largest first."""
    other: float
    """Sum of all other features' contributions."""
    bias: float


class ChurnRunner:
    """One loaded champion; immutable, safe to share between threads.

    Raises `ChampionError` when the folder's files do not match its manifest, or the
    manifest does not match this code's features.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.champion = read_champion(folder)
        if self.champion.schema_hash != schema_hash():
            raise ChampionError(
                f"{folder}: made for feature schema {self.champion.schema_hash[:12]}, "
                f"this code has {schema_hash()[:12]}"
            )
        self._booster_bytes = read_verified(folder / XGBOOST_FILE, self.champion.sha256)
        self._run = load_onnx(read_verified(folder / ONNX_FILE, self.champion.onnx_sha256)).run
        self._outputs = [OUTPUT]

    def score(self, customers: Sequence[Customer]) -> NDArray[np.float32]:
        """P(leave) of each customer, shape (customers,)."""
        return self.score_matrix(encode(customers))

    def score_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """P(leave) of each row of an encoded matrix, shape (rows, 19) -> (rows,).

        A row's bits do not depend on the rows scored with it: one thread adds up the
        trees in one order.
        """
        return cast(NDArray[np.float32], self._run(self._outputs, {INPUT: matrix})[0])[:, 1]

    def explain(self, customer: Customer) -> Explanation:
        """The SHAP values of one customer (milliseconds; the first call loads XGBoost)."""
        import xgboost

        row = xgboost.DMatrix(encode([customer]), feature_names=list(FEATURES), nthread=1)
        *shares, bias = self._booster.predict(row, pred_contribs=True)[0].tolist()
        order = sorted(range(len(FEATURES)), key=lambda i: -abs(shares[i]))
        reasons = [
            Reason(FEATURES[i], getattr(customer, FEATURES[i]), shares[i])
            for i in order[:TOP_REASONS]
        ]
        return Explanation(reasons, sum(shares[i] for i in order[TOP_REASONS:]), bias)

    @cached_property
    def _booster(self) -> "xgboost.Booster":
        import xgboost

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(self._booster_bytes))
        return booster


def load_onnx(model: bytes) -> onnxruntime.InferenceSession:
    """An inference session with one thread; raises `ChampionError`.

    More threads would split the trees of a single row, and so add them up in another
    order than in a batch.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise ChampionError(f"not a usable ONNX model: {error}") from error


class ChampionFollower:
    """Keeps the live champion loaded; `.runner` is rebound, whole, when another goes live.

    Take `.runner` once per request: then score, version and run id belong together. A
    pointer or folder that cannot be loaded leaves the old champion in place, and
    `.error` says why. With `RUN_ID` set only that run is served, live or not. With
    `CHAMPION_URI` set the folder and its pointer are kept as the depot's.
    """

    def __init__(self, settings: Settings) -> None:
        self.runner: ChurnRunner | None = None
        self.error: str | None = None
        self.swaps = 0
        self.failures = 0
        self._settings = settings
        self._live: LivePointer | None = None
        self._depot = open_depot(settings)
        self._depot_error: str | None = None
        self._fetch_at = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="champion", daemon=True)

    def start(self) -> None:
        """Load the live champion now, then follow it in a thread."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the loaded champion stays."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def refresh(self) -> None:
        """Look once, and load another champion when there is one."""
        errors = [self._mirror()]
        try:
            self._load()
        except ChampionError as error:
            self.failures += 1
            errors.append(str(error))
        message = "; ".join(filter(None, errors)) or None
        if message and message != self.error:
            log.error("champion not loaded: %s", message)
        self.error = message

    def _mirror(self) -> str | None:
        """Bring the depot's champion to this disk, if it is time to look; what is wrong there."""
        if self._depot and time.monotonic() >= self._fetch_at:
            self._depot_error = None
            try:
                self._depot.fetch(self._settings.run_id)
            except ChampionError as error:
                self.failures += 1
                self._depot_error = str(error)
            self._fetch_at = time.monotonic() + self._settings.champion_mirror_seconds
        return self._depot_error

    def _load(self) -> None:
        live = self._pinned() if self._settings.run_id else self._pointed()
        if live == self._live:
            return
        folder = live_folder(self._settings.live_pointer, live)
        runner = ChurnRunner(folder)
        if runner.champion.model_run_id != live.model_run_id:
            raise ChampionError(f"{folder}: not of run {live.model_run_id}")
        self.swaps += self.runner is not None
        self.runner, self._live = runner, live
        log.info("champion %s of run %s is live", live.tag, live.model_run_id)

    def _follow(self) -> None:
        while not self._stopped.wait(self._settings.champion_poll_seconds):
            try:
                self.refresh()
            except Exception as error:  # the thread must outlive whatever a folder holds
                log.exception("champion not loaded")
                self.error = str(error)

    def _pointed(self) -> LivePointer:
        live = read_live(self._settings.live_pointer)
        if live:
            return live
        bundled = self._settings.champion_folder
        if bundled is None:
            raise ChampionError(f"no champion is live: {self._settings.live_pointer} is missing")
        return _pointer_to(bundled, read_champion(bundled))

    def _pinned(self) -> LivePointer:
        folders = packaged(self._settings.live_pointer.parent)
        if bundled := self._settings.champion_folder:
            folders[bundled] = read_champion(bundled)
        for folder, champion in reversed(folders.items()):
            if champion.model_run_id == self._settings.run_id:
                return _pointer_to(folder, champion)
        raise ChampionError(f"RUN_ID={self._settings.run_id} is not packaged here")


def _pointer_to(folder: Path, champion: Champion) -> LivePointer:
    return LivePointer(str(folder.absolute()), folder.name, champion.model_run_id)
