"""The one scorer: the same bits whoever asks, and XGBoost's answer."""

import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray

from bento.champion import (
    MANIFEST_FILE,
    ONNX_FILE,
    XGBOOST_FILE,
    Champion,
    ChampionError,
    LivePointer,
    make_live,
    read_live,
)
from bento.customer import FEATURES, encode
from bento.runner import ChampionFollower, ChurnRunner
from bento.settings import get_settings
from churn_assets_tests.champions import make_champion, point, random_customers
from churn_assets_tests.conftest import ROOT

TREES = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion of real size."""
    folder = tmp_path_factory.mktemp("champion") / "v1"
    make_champion(folder, seed=1, trees=TREES)
    return folder


@pytest.fixture(scope="module")
def runner(folder: Path) -> ChurnRunner:
    return ChurnRunner(folder)


@pytest.fixture(scope="module")
def matrix() -> NDArray[np.float32]:
    """Customers of both tiers with unknown values, and rows with NaN anywhere at all."""
    customers = encode(random_customers(800, seed=11))
    holes = encode(random_customers(400, seed=12, core_share=0))
    holes[np.random.default_rng(3).random(holes.shape) < 0.4] = np.nan
    return np.concatenate([customers, holes])


def bits(scores: NDArray[np.float32]) -> list[int]:
    assert scores.dtype == np.float32
    return [int(pattern) for pattern in np.ascontiguousarray(scores).view(np.uint32)]


def test_scoring_reports_nothing_to_anybody(folder: Path, tmp_path: Path) -> None:
    """ONNX Runtime would leave an identifier of the machine and its queue of reports here."""
    code = (
        f"from pathlib import Path; from bento.runner import *; ChurnRunner(Path({str(folder)!r}))"
    )
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "CHURN_HOME": str(tmp_path / "churn")}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_single_and_batch_have_the_same_bits(
    runner: ChurnRunner, matrix: NDArray[np.float32]
) -> None:
    rows = 1_000
    single = bits(np.concatenate([runner.score_matrix(matrix[i : i + 1]) for i in range(rows)]))
    assert bits(runner.score_matrix(matrix[:rows])) == single
    for size in range(1, 301):
        start = (size * 7) % (rows - size)
        assert (
            bits(runner.score_matrix(matrix[start : start + size])) == single[start : start + size]
        )


def test_every_row_agrees_with_xgboost(
    runner: ChurnRunner, folder: Path, matrix: NDArray[np.float32]
) -> None:
    booster = xgboost.Booster(model_file=folder / XGBOOST_FILE)
    expected = booster.predict(xgboost.DMatrix(matrix, feature_names=list(FEATURES)))
    assert len(booster.get_dump()) == TREES
    assert np.std(expected) > 0.1, "a model that learned something"
    assert np.abs(expected - runner.score_matrix(matrix)).max() <= 1e-6


def test_threads_share_a_runner(runner: ChurnRunner, matrix: NDArray[np.float32]) -> None:
    expected = bits(runner.score_matrix(matrix))
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: found.append(bits(runner.score_matrix(matrix))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_reasons_add_up_to_the_score(runner: ChurnRunner) -> None:
    for customer in random_customers(50, seed=21):
        found = runner.explain(customer)
        assert len({reason.feature for reason in found.reasons}) == 5
        sizes = [abs(reason.contribution) for reason in found.reasons]
        assert sizes == sorted(sizes, reverse=True)
        for reason in found.reasons:
            assert reason.value == getattr(customer, reason.feature)
        log_odds = sum(r.contribution for r in found.reasons) + found.other + found.bias
        score = runner.score([customer])[0]
        assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(score, abs=1e-5)
        assert log_odds == pytest.approx(np.log(score / (1 - score)), abs=1e-4)


def test_a_champion_that_does_not_match_its_manifest_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "champion"
    champion = make_champion(folder)

    def manifest(changed: Champion) -> None:
        (folder / MANIFEST_FILE).write_bytes(msgspec.json.encode(changed))

    manifest(msgspec.structs.replace(champion, schema_hash="f" * 64))
    with pytest.raises(ChampionError, match="feature schema ffffffffffff"):
        ChurnRunner(folder)
    manifest(champion)
    for name in (ONNX_FILE, XGBOOST_FILE):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1])
        with pytest.raises(ChampionError, match=rf"{name}: SHA-256 is"):
            ChurnRunner(folder)
        (folder / name).unlink()
        with pytest.raises(ChampionError, match=name):
            ChurnRunner(folder)
        (folder / name).write_bytes(content)
    (folder / MANIFEST_FILE).write_text('{"model_name": "churn"')
    with pytest.raises(ChampionError, match=MANIFEST_FILE):
        ChurnRunner(folder)


def test_the_follower_keeps_its_champion_when_the_pointer_breaks(tmp_path: Path) -> None:
    settings = get_settings()
    follower = ChampionFollower(settings)
    follower.refresh()
    assert follower.runner is None
    assert follower.error is not None
    assert "no champion is live" in follower.error

    first, second = (make_champion(tmp_path / str(n), seed=n, trees=5) for n in (1, 2))
    point(settings.live_pointer, tmp_path / "1", first)
    follower.refresh()
    assert follower.error is None
    serving = follower.runner
    assert serving is not None
    assert serving.champion == first
    follower.refresh()
    assert follower.runner is serving, "nothing changed: nothing loaded"

    for torn in (
        b"",
        b'{"path": "/x',
        b"[]",
        b'{"path": "/nowhere", "tag": "t", "model_run_id": "r"}',
    ):
        settings.live_pointer.write_bytes(torn)
        follower.refresh()
        assert follower.runner is serving
        assert follower.error
    make_live(settings.live_pointer, LivePointer(str(tmp_path / "2"), "t:2", first.model_run_id))
    follower.refresh()
    assert follower.runner is serving, "the folder is not of the run that the pointer names"
    assert follower.failures == 6
    assert follower.swaps == 0

    point(settings.live_pointer, tmp_path / "2", second)
    follower.refresh()
    assert follower.runner is not serving
    assert follower.runner is not None
    assert follower.runner.champion == second
    assert follower.swaps == 1
    assert follower.error is None


def test_a_swap_under_load_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each score belongs to the run id taken with it, while champions alternate."""
    monkeypatch.setenv("CHAMPION_POLL_SECONDS", "0.01")
    get_settings.cache_clear()
    settings = get_settings()
    champions = [make_champion(tmp_path / str(n), seed=n, trees=5) for n in (1, 2)]
    customer = random_customers(1, seed=5)
    expected = {
        c.model_run_id: ChurnRunner(tmp_path / str(n)).score(customer)[0]
        for n, c in enumerate(champions, start=1)
    }
    point(settings.live_pointer, tmp_path / "1", champions[0])
    follower = ChampionFollower(settings)
    follower.start()
    asked = 0
    try:
        for swap in range(1, 21):
            number = swap % 2
            point(settings.live_pointer, tmp_path / str(number + 1), champions[number])
            while follower.swaps < swap:
                runner = follower.runner
                assert runner is not None
                assert runner.score(customer)[0] == expected[runner.champion.model_run_id]
                asked += 1
    finally:
        follower.stop()
    assert follower.failures == 0
    assert asked > 100


def test_a_pinned_run_is_served_whatever_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = get_settings().live_pointer.parent
    live, pinned = (make_champion(home / f"v{n}", seed=n, trees=5) for n in (1, 2))
    point(get_settings().live_pointer, home / "v1", live)
    monkeypatch.setenv("RUN_ID", pinned.model_run_id)
    get_settings.cache_clear()
    follower = ChampionFollower(get_settings())
    follower.refresh()
    assert follower.runner is not None
    assert follower.runner.champion == pinned

    monkeypatch.setenv("RUN_ID", "f" * 32)
    get_settings.cache_clear()
    follower = ChampionFollower(get_settings())
    follower.refresh()
    assert follower.runner is None
    assert follower.error == f"RUN_ID={'f' * 32} is not packaged here"


def test_a_bundled_champion_serves_until_something_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled, live = (make_champion(tmp_path / str(n), seed=n, trees=5) for n in (1, 2))
    monkeypatch.setenv("CHAMPION_FOLDER", str(tmp_path / "1"))
    get_settings.cache_clear()
    follower = ChampionFollower(get_settings())
    follower.refresh()
    assert follower.runner is not None
    assert follower.runner.champion == bundled
    point(get_settings().live_pointer, tmp_path / "2", live)
    follower.refresh()
    assert follower.runner.champion == live


def test_a_reader_never_sees_half_a_pointer(tmp_path: Path) -> None:
    pointer = tmp_path / "live.json"
    targets = [LivePointer("/a" * n, "t" * n, "r" * n) for n in (1, 2_000)]
    make_live(pointer, targets[0])
    done = threading.Event()

    def write() -> None:
        for n in range(300):
            make_live(pointer, targets[n % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not done.is_set():
        assert read_live(pointer) in targets
        seen += 1
    writer.join()
    assert seen > 10
