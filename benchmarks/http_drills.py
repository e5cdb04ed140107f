"""What the service must survive, under load: swaps, kills, a store away, bad bodies.

Each drill is a function that tests run with smaller numbers. Load comes over real
connections to a real `bentoml serve`.
"""

import json
import random
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from pydantic import SecretStr

from benchmarks.load import Answered, Load, post
from benchmarks.report import arguments, table, write
from bento.champion import read_champion
from bento.ids import milliseconds
from bento.openapi import EXAMPLE, FULL_EXAMPLE
from bento.runner import ChurnRunner
from bento.settings import Settings
from bento.store import FIRST_ID, LAST_ID, open_store
from churn_assets_tests.champions import point, random_customers
from churn_assets_tests.conftest import free_port
from churn_assets_tests.serving import Server, churn_service, live_champion, mongo_server

CUSTOMERS = random_customers(500)
REQUESTS = [post(msgspec.json.encode(customer)) for customer in CUSTOMERS]


class Answers:
    """Collects the answers of a load run."""

    def __init__(self) -> None:
        self.good: list[tuple[int, bytes]] = []
        self.failures: list[str] = []

    def __call__(self, number: int, status: int, body: bytes) -> None:
        if status == 200:
            self.good.append((number, body))
        else:
            self.failures.append(f"{status} {body.decode()}" if status else "connection lost")

    @property
    def failed(self) -> int:
        """How many got no answer, or another one than 200; says what they got."""
        if self.failures:
            print("failed requests:", dict(Counter(self.failures)))
        return len(self.failures)

    def more(self, count: int) -> Callable[[], bool]:
        """A condition: so many more good answers than now."""
        goal = len(self.good) + count
        return lambda: len(self.good) >= goal

    def ids(self) -> list[str]:
        """The prediction ids that clients have seen."""
        return [json.loads(body)["prediction_id"] for _, body in self.good]


@contextmanager
def loaded(server: Server, observe: Answered, rate: float) -> Iterator[None]:
    """Load on the server while the block runs, then its last answers."""
    stop = threading.Event()
    load = Load(server.port, REQUESTS, 16, rate, observe)
    thread = threading.Thread(target=lambda: uvloop.run(load.run_until(stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def readyz(server: Server) -> dict[str, Any]:
    """What `/readyz` says; empty while nothing answers."""
    try:
        with urllib.request.urlopen(server.url + "/readyz", timeout=2) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        refused: dict[str, Any] = json.load(error)
        return refused
    except OSError:
        return {}


def live(server: Server, run_id: str) -> Callable[[], bool]:
    """A condition: the model of that run is the one that answers."""
    return lambda: readyz(server).get("model_run_id") == run_id


def wait(condition: Callable[[], bool], what: str, patience_s: float = 90) -> None:
    """Wait until the condition holds; raises TimeoutError naming `what`."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def swap(folder: Path, cycles: int, rate: float = 350) -> dict[str, float]:
    """Swap two champions under load; score every answer again with the model that it names."""
    live_champion(folder, seed=1)
    live_champion(folder, seed=0)
    champions = [folder / "champion" / f"seed-{seed}" for seed in (0, 1)]
    runners = {read_champion(path).model_run_id: ChurnRunner(path) for path in champions}
    answers = Answers()
    with churn_service(folder) as server, loaded(server, answers, rate):
        time.sleep(1)
        begin = time.monotonic()
        for number in range(cycles * 2):
            path = champions[(number + 1) % 2]
            champion = read_champion(path)
            point(folder / "champion" / "live.json", path, champion)
            wait(live(server, champion.model_run_id), "the swap")
            time.sleep(0.2)
        seconds = time.monotonic() - begin
    torn = 0
    for number, body in answers.good:
        answer = json.loads(body)
        customer = CUSTOMERS[number % len(CUSTOMERS)]
        expected = runners[answer["model_run_id"]].score([customer]).tolist()[0]
        torn += answer["churn chance"] != expected
    return {
        "swaps": cycles,
        "swap_requests": len(answers.good),
        "swap_failed": answers.failed,
        "swap_torn": torn,
        "swap_rps": len(answers.good) / (seconds + 1),
    }


def kill(folder: Path, kills: int, rate: float = 500) -> dict[str, float]:
    """`kill -9` under load, of the worker and of the whole service by turns; read the log."""
    live_champion(folder)
    answers = Answers()
    server = churn_service(folder)
    server.start()
    try:
        with loaded(server, answers, rate):
            for number in range(kills):
                wait(answers.more(300), "answers after a kill")
                if number % 2:
                    server.workers()[-1].kill()
                else:
                    server.kill()
                    server.start()
        drained(server)
    finally:
        server.stop()
    missing, duplicate = compare(answers, Settings(churn_home=folder))
    return {
        "kills": kills,
        "kill_requests": len(answers.good),
        "kill_missing": missing,
        "kill_duplicate": duplicate,
    }


def outage(folder: Path, seconds: float, rate: float = 350) -> dict[str, float]:
    """Stop the store under load for some time; every answer must be in it afterwards, once."""
    live_champion(folder)
    port = free_port()
    uri = f"mongodb://127.0.0.1:{port}"
    store = mongo_server(folder / "mongo", port)
    answers = Answers()
    with store, churn_service(folder, MONGODB_URI=uri) as server:
        with loaded(server, answers, rate):
            time.sleep(2)
            store.kill()
            time.sleep(seconds)
            store.start()
            time.sleep(2)
        drained(server)
        settings = Settings(churn_home=folder, mongodb_uri=SecretStr(uri))
        missing, duplicate = compare(answers, settings)
    return {
        "outage_seconds": seconds,
        "outage_requests": len(answers.good),
        "outage_failed": answers.failed,
        "outage_missing": missing,
        "outage_duplicate": duplicate,
    }


def drained(server: Server) -> None:
    """Wait until the outbox is empty."""
    wait(lambda: readyz(server).get("outbox", {}).get("rows") == 0, "an empty outbox")


def compare(answers: Answers, settings: Settings) -> tuple[int, int]:
    """(answered predictions that the log lacks, predictions that it has more than once)."""
    store = open_store(settings)
    logged: list[str] = []
    while rows := store.read(FIRST_ID, LAST_ID, logged[-1] if logged else None):
        logged += [row.prediction_id for row in rows]
    store.close()
    if milliseconds(logged[0]) > milliseconds(logged[-1]):
        raise ValueError("the log is not in order of time")
    return len(set(answers.ids()) - set(logged)), len(logged) - len(set(logged))


def bad_bodies(count: int, seed: int = 0) -> Iterator[bytes]:
    """Bodies that are no customer: noise, broken JSON, wrong types, values and shapes."""
    rng = random.Random(seed)
    good = json.dumps(FULL_EXAMPLE).encode()
    wrong: list[Any] = [
        *(None, True, -1, 1e308, 10**400, "", "x" * 300, "\x00", [], {}, [[]], {"a": {}}),
        *(float("nan"), float("inf"), "M ", "1", 0.5, -0.5, 2**63, "ünïcödé \u2028"),
    ]
    required = list(EXAMPLE)
    makers: list[Callable[[], bytes]] = [
        lambda: rng.randbytes(rng.randrange(200)),
        lambda: good[: rng.randrange(len(good) - 1)],
        lambda: good + rng.randbytes(rng.randrange(1, 20)),
        lambda: b"[" * rng.randrange(1, 5_000),
        lambda: b'{"a":' * rng.randrange(1, 2_000),
        lambda: json.dumps(
            {k: v for k, v in EXAMPLE.items() if k != rng.choice(required)}
            | {rng.choice(required) + "_": 1}
        ).encode(),
        lambda: json.dumps(
            EXAMPLE | {rng.choice(["gender", "customer_age"]): rng.choice(wrong)}
        ).encode(),
        lambda: json.dumps([EXAMPLE] * rng.randrange(3) + [rng.choice(wrong)]).encode(),
        lambda: json.dumps(rng.choice(wrong)).encode(),
        lambda: json.dumps(FULL_EXAMPLE).replace(":", rng.choice(["", "::", ",", "="]), 1).encode(),
    ]
    for _ in range(count):
        yield rng.choice(makers)()


def fuzz(folder: Path, count: int) -> dict[str, float]:
    """Post bad bodies; count the answers that blame the server, and the memory that stays."""
    live_champion(folder)
    statuses: dict[int, int] = {}

    def observe(_: int, status: int, __: bytes) -> None:
        statuses[status] = statuses.get(status, 0) + 1

    with churn_service(folder) as server:
        # What the service loads late, for reasons, is loaded before its memory is measured.
        explain = [post(msgspec.json.encode(EXAMPLE), "/predict?explain=true")]
        uvloop.run(Load(server.port, explain, 1).run_count(1))
        bodies = [post(body) for body in bad_bodies(min(count, 20_000))]
        uvloop.run(Load(server.port, bodies, 16, observe=observe).run_count(min(count, 5_000)))
        before = server.memory()
        statuses.clear()
        uvloop.run(Load(server.port, bodies, 16, observe=observe).run_count(count))
        after = server.memory()
        alive = readyz(server)["status"] == "ready"
    return {
        "fuzz_requests": sum(statuses.values()),
        "fuzz_5xx": sum(n for status, n in statuses.items() if status >= 500),
        "fuzz_lost": statuses.get(0, 0),
        "fuzz_accepted": statuses.get(200, 0),
        "fuzz_memory_mb": (after - before) / 1e6,
        "fuzz_ready_after": alive,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cycles", type=int, default=20, help="promotions and rollbacks")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--outage", type=float, default=60, help="seconds without the store")
    parser.add_argument("--bodies", type=int, default=100_000)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drills: list[Callable[[], dict[str, float]]] = [
            lambda: swap(folder / "swap", options.cycles),
            lambda: kill(folder / "kill", options.kills),
            lambda: outage(folder / "outage", options.outage),
            lambda: fuzz(folder / "fuzz", options.bodies),
        ]
        for drill in drills:
            found = drill()
            table("Drill", [{"figure": key, "value": value} for key, value in found.items()])
            figures |= found
    write(figures, options.json)


if __name__ == "__main__":
    main()
