"""Champions through an object store: hosts that share no disk, against the AWS emulator."""

import time
from pathlib import Path
from uuid import uuid4

import boto3
import httpx
import msgspec
import pytest

from bento.champion import ChampionError, LivePointer, read_live
from bento.depot import Depot
from bento.runner import ChampionFollower, ChurnRunner
from bento.settings import Settings, get_settings
from churn_assets import release as command
from churn_assets.defs.release import live
from churn_assets_tests.champions import make_champion, random_customers
from churn_assets_tests.conftest import NOWHERE
from churn_assets_tests.serving import churn_service

RUNS = {seed: f"{seed:032x}" for seed in (1, 2, 3)}


@pytest.fixture
def uri(emulator: str) -> str:
    return f"s3://{Settings().churn_bucket}/champions-{uuid4().hex[:8]}"


class Host:
    """A machine with a disk of its own."""

    def __init__(self, home: Path, uri: str, run_id: str | None = None) -> None:
        self.settings = Settings(
            churn_home=home, champion_uri=uri, champion_mirror_seconds=1e-6, run_id=run_id
        )
        self.pointer = self.settings.live_pointer
        self.depot = Depot(uri, self.pointer)

    def package(self, seed: int) -> Path:
        folder = self.pointer.parent / f"v{seed}"
        make_champion(folder, seed=seed, trees=5, version=str(seed))
        return folder

    def release(self, seed: int) -> LivePointer:
        """As a Dagster run does, which may have an empty disk."""
        self.depot.take_over()
        return live.release(self.pointer, self.package(seed), "registry", self.depot)

    def names(self) -> set[str]:
        return {path.name for path in self.pointer.parent.iterdir()}


@pytest.fixture
def dagster(uri: str, tmp_path: Path) -> Host:
    """The host of the first two releases."""
    host = Host(tmp_path / "dagster", uri)
    for seed in (1, 2):
        host.release(seed)
    return host


def served(follower: ChampionFollower) -> str | None:
    follower.refresh()
    return follower.runner.champion.model_run_id if follower.runner else None


def put(uri: str, name: str, body: bytes) -> None:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body)


def test_a_server_follows_releases_and_going_back_on_other_hosts(
    dagster: Host, uri: str, tmp_path: Path
) -> None:
    server = Host(tmp_path / "server", uri)
    follower = ChampionFollower(server.settings)
    assert served(follower) == RUNS[2]
    assert server.names() == {"v2", "live.json"}, "what was live before is not downloaded"
    assert follower.runner
    customers = random_customers(50, seed=4)
    made_there = ChurnRunner(dagster.pointer.parent / "v2").score(customers)
    assert follower.runner.score(customers).tobytes() == made_there.tobytes()

    dagster.release(3)
    assert served(follower) == RUNS[3]

    laptop = Host(tmp_path / "laptop", uri)
    laptop.depot.take_over(everything=True)
    assert live.roll_back(laptop.pointer, laptop.depot).model_run_id == RUNS[2]
    assert served(follower) == RUNS[2]
    assert follower.swaps == 2
    assert follower.error is None


def test_a_run_with_an_empty_disk_holds_back_what_was_taken_off_elsewhere(
    dagster: Host, uri: str, tmp_path: Path
) -> None:
    laptop = Host(tmp_path / "laptop", uri)
    laptop.depot.take_over(everything=True)
    live.roll_back(laptop.pointer, laptop.depot)

    pod = Host(tmp_path / "pod", uri)
    pod.depot.take_over()
    assert live.held(pod.pointer, RUNS[2])
    assert [entry.live.model_run_id for entry in live.history(pod.pointer)] == [
        RUNS[1],
        RUNS[2],
        RUNS[1],
    ]
    live.release(pod.pointer, pod.package(3), "registry", pod.depot)
    dagster.depot.take_over()
    assert live.held(dagster.pointer, RUNS[2]) is None
    assert [entry.by for entry in live.history(dagster.pointer)][-2:] == ["hand", "registry"]


def test_of_two_releasers_at_once_one_is_refused_and_changes_nothing(
    dagster: Host, uri: str, tmp_path: Path
) -> None:
    late = Host(tmp_path / "late", uri)
    late.depot.take_over()
    dagster.release(3)
    with pytest.raises(ChampionError, match="another release came between"):
        live.release(late.pointer, late.package(1), "hand", late.depot)
    now = read_live(late.pointer)
    assert now
    assert now.model_run_id == RUNS[2]
    assert served(ChampionFollower(Host(tmp_path / "server", uri).settings)) == RUNS[3]


def test_the_first_two_releasers_of_an_empty_depot_cannot_both_win(
    uri: str, tmp_path: Path
) -> None:
    hosts = [Host(tmp_path / name, uri) for name in ("a", "b")]
    for host in hosts:
        host.depot.take_over()
    live.release(hosts[0].pointer, hosts[0].package(1), "registry", hosts[0].depot)
    with pytest.raises(ChampionError, match="another release came between"):
        live.release(hosts[1].pointer, hosts[1].package(2), "registry", hosts[1].depot)


def test_a_disk_that_released_before_there_was_a_depot_brings_its_champion_along(
    uri: str, tmp_path: Path
) -> None:
    host = Host(tmp_path / "old", uri)
    live.release(host.pointer, host.package(1), "registry")
    assert host.release(1).model_run_id == RUNS[1]
    assert served(ChampionFollower(Host(tmp_path / "server", uri).settings)) == RUNS[1]


def test_a_pinned_server_serves_its_run_whatever_is_live(
    dagster: Host, uri: str, tmp_path: Path
) -> None:
    pinned = ChampionFollower(Host(tmp_path / "pinned", uri, run_id=RUNS[1]).settings)
    assert served(pinned) == RUNS[1]
    unknown = ChampionFollower(Host(tmp_path / "unknown", uri, run_id="f" * 32).settings)
    assert served(unknown) is None
    assert unknown.error
    assert f"{uri}/runs/{'f' * 32}.json is missing" in unknown.error


def test_an_outage_leaves_the_old_champion_and_says_why(
    dagster: Host, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Host(tmp_path / "server", uri)
    follower = ChampionFollower(server.settings)
    assert served(follower) == RUNS[2]
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", NOWHERE)
        cut_off = ChampionFollower(server.settings)
        assert served(cut_off) == RUNS[2], "started again, it serves what its disk holds"
        assert cut_off.error
        assert "live.json" in cut_off.error
        assert cut_off.failures == 1
        with pytest.raises(ChampionError):
            Depot(uri, server.pointer).take_over()
    dagster.release(3)
    assert served(follower) == RUNS[3]


@pytest.mark.parametrize("file", ["model.onnx", "model.ubj", "champion.json"])
def test_a_damaged_champion_never_goes_live_and_a_mended_one_does(
    dagster: Host, uri: str, tmp_path: Path, file: str
) -> None:
    server = Host(tmp_path / "server", uri)
    follower = ChampionFollower(server.settings)
    assert served(follower) == RUNS[2]
    dagster.release(3)
    put(uri, f"v3/{file}", b"{}")
    assert served(follower) == RUNS[2]
    assert follower.error
    assert file in follower.error
    assert server.names() == {"v2", "live.json"}
    put(uri, f"v3/{file}", (dagster.pointer.parent / "v3" / file).read_bytes())
    assert served(follower) == RUNS[3]
    assert follower.error is None


def test_a_disk_that_takes_nothing_is_an_error_like_any_other(
    dagster: Host, uri: str, tmp_path: Path
) -> None:
    server = Host(tmp_path / "server", uri)
    server.pointer.parent.parent.mkdir()
    server.pointer.parent.touch()  # where the folder of champions should be
    follower = ChampionFollower(server.settings)
    assert served(follower) is None
    assert follower.error
    assert f"{uri}/v2: [Errno 17] File exists" in follower.error
    server.pointer.parent.unlink()
    assert served(follower) == RUNS[2]


def test_a_damaged_pointer_is_replaced_by_the_depots(
    dagster: Host, uri: str, tmp_path: Path
) -> None:
    server = Host(tmp_path / "server", uri)
    server.pointer.parent.mkdir(parents=True)
    server.pointer.write_bytes(b"")
    assert served(ChampionFollower(server.settings)) == RUNS[2]


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "..", ""])
def test_a_pointer_that_leads_elsewhere_is_refused(
    dagster: Host, uri: str, tmp_path: Path, path: str
) -> None:
    put(uri, "live.json", msgspec.json.encode(LivePointer(path, "churn:v2", RUNS[2])))
    with pytest.raises(ChampionError, match="no name of a champion folder"):
        Depot(uri, tmp_path / "champion" / "live.json").fetch()


def test_the_command_line_works_from_an_empty_disk(
    dagster: Host,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CHAMPION_URI", uri)
    get_settings.cache_clear()
    follower = ChampionFollower(Host(tmp_path / "server", uri).settings)
    assert served(follower) == RUNS[2]
    assert command.main(["back"]) == 0
    assert served(follower) == RUNS[1]
    assert command.main(["to", "churn:v2"]) == 0
    assert served(follower) == RUNS[2]
    capsys.readouterr()
    assert command.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [("live" in line) for line in lines if "churn:v" in line] == [False, True]


def test_a_fresh_service_answers_with_the_released_model(
    dagster: Host, uri: str, tmp_path: Path
) -> None:
    with churn_service(
        tmp_path / "empty", CHAMPION_URI=uri, CHAMPION_MIRROR_SECONDS="0.2"
    ) as server:
        customer = msgspec.to_builtins(random_customers(1, seed=5)[0])
        answer = httpx.post(f"{server.url}/predict", json=customer).json()
        assert answer["model_run_id"] == RUNS[2]
        dagster.release(3)
        deadline = time.monotonic() + 10
        while httpx.get(f"{server.url}/readyz").json()["model_run_id"] != RUNS[3]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
