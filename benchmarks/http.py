"""Our service beside four others in one run: throughput, latency, CPU time per request.

Ours validates, scores and durably logs every request. The others: a static answer from
the same web server (the floor), FastAPI with pydantic and XGBoost without a log, a
BentoML service with default settings, and the predecessor's way (Flask, DictVectorizer,
DMatrix, one synchronous insert into a MongoDB wire server). Each has one worker process.
CPU time is that of all processes of the server, and of none of the load generator.
The servers take turns, several rounds, and the best of each counts: what else the
machine does can only make a figure worse. Half of the maximum rate is half of what
was reached just before; the floor is measured at it too, because its p99 is what the
machine and the load generator add.
The keys without a number of connections are those of 16 connections.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from benchmarks.load import Measured
from benchmarks.report import Figure, arguments, table, write
from bento.champion import XGBOOST_FILE
from bento.customer import CORE_FIELDS
from churn_assets_tests.champions import random_customers
from churn_assets_tests.conftest import free_port
from churn_assets_tests.serving import Server, churn_service, live_champion, mongo_server

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = (1, 16, 64)
MAIN = 16
TREES = 300


class Run(msgspec.Struct):
    """One server under one load."""

    measured: Measured
    cpu_us: float


def load(server: Server, bodies: Path, connections: int, seconds: float, rate: float = 0) -> Run:
    """Load a server from a process of its own and divide its CPU time by the requests."""
    before = server.cpu_seconds()
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(server.port)]
    command += ["--bodies", str(bodies), "--connections", str(connections)]
    command += ["--seconds", str(seconds)] + (["--rate", str(rate)] if rate else [])
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    measured = msgspec.json.decode(output, type=Measured)
    if measured.failed:
        raise RuntimeError(f"{measured.failed} requests failed: {server.log.read_text()[-2000:]}")
    return Run(measured, (server.cpu_seconds() - before) / measured.requests * 1e6)


@contextmanager
def servers(folder: Path) -> Iterator[dict[str, Server]]:
    """All five, running; ours with a champion of the same size as the others' model."""
    home = folder / "ours"
    live_champion(home, trees=TREES)
    model = str(home / "champion" / "seed-0" / XGBOOST_FILE)
    python = [sys.executable, "-m"]
    env = {"MODEL": model, "TREES": str(TREES), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def peer(name: str, command: list[str], **more: str) -> Server:
        port = free_port()
        command = [word.replace("PORT", str(port)) for word in command]
        return Server(command, port, folder / f"{name}.log", **env | more)

    uvicorn = [*python, "uvicorn", "--port", "PORT", "--no-access-log", "--log-level", "warning"]
    store = mongo_server(folder / "store", free_port())
    found = {
        "ours": churn_service(home, OMP_NUM_THREADS="1"),
        "floor": peer("floor", [*uvicorn, "benchmarks.peers:static"]),
        "fastapi": peer("fastapi", [*uvicorn, "--factory", "benchmarks.peers:fastapi_app"]),
        "bento_default": peer(
            "bento_default",
            [*python, "bentoml", "serve", "benchmarks.peer_bentoml:Default", "--port", "PORT"],
            BENTOML_HOME=str(folder / "bentoml"),
        ),
        "predecessor": peer(
            "predecessor",
            [*python, "gunicorn", "--bind", "127.0.0.1:PORT", "benchmarks.peers:flask_app()"],
            STORE=f"mongodb://127.0.0.1:{store.port}",
        ),
    }
    with ExitStack() as stack:
        stack.enter_context(store)
        for server in found.values():
            stack.enter_context(server)
        yield found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=2, help="length of each measurement")
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements, the best of which counts"
    )
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, servers(Path(name)) as found:
        bodies = Path(name) / "bodies.json"
        customers = [msgspec.to_builtins(c) for c in random_customers(500)]
        core = [json.dumps({field: c[field] for field in CORE_FIELDS}) for c in customers]
        bodies.write_text(json.dumps(core))
        for each in found.values():
            load(each, bodies, MAIN, 1)
        for connections in CONNECTIONS:
            for _ in range(options.rounds):
                for server in found:
                    run = load(found[server], bodies, connections, options.seconds)
                    keep_best(figures, named(f"{server}_{connections}", run))
        for _ in range(options.rounds):
            most = load(found["ours"], bodies, MAIN, options.seconds).measured.rps
            for server in ("ours", "floor"):
                run = load(found[server], bodies, MAIN, options.seconds, most / 2)
                keep_best(figures, named(f"{server}_half", run))
    for name in ("cpu_us_ours", "cpu_us_floor", *(f"rps_{server}" for server in found)):
        figures[name] = figures[f"{name}_{MAIN}"]
    figures["p50_ms"] = figures[f"p50_ms_ours_{MAIN}"]
    figures["p99_ms"] = figures[f"p99_ms_ours_{MAIN}"]
    figures["p99_half_ms"] = figures["p99_ms_ours_half"]
    figures["p99_half_ms_floor"] = figures["p99_ms_floor_half"]
    table("HTTP", list(rows(figures, list(found))))
    write(figures, options.json)


def named(suffix: str, run: Run) -> dict[str, float]:
    """The figures of one run by their keys in the JSON."""
    return {
        f"rps_{suffix}": run.measured.rps,
        f"p50_ms_{suffix}": run.measured.p50_ms,
        f"p99_ms_{suffix}": run.measured.p99_ms,
        f"cpu_us_{suffix}": run.cpu_us,
    }


def keep_best(figures: dict[str, float], found: dict[str, float]) -> None:
    """Put what was found among the figures where it is better than what is there."""
    for key, value in found.items():
        better = max if key.startswith("rps") else min
        figures[key] = better(figures.get(key, value), value)


def rows(figures: dict[str, float], servers: list[str]) -> Iterator[dict[str, Figure]]:
    """The lines of the table."""
    loads = [(server, str(count)) for count in CONNECTIONS for server in servers]
    for server, load in [*loads, ("ours", "half"), ("floor", "half")]:
        columns = {"requests/s": "rps", "p50 ms": "p50_ms", "p99 ms": "p99_ms"}
        columns["CPU us/request"] = "cpu_us"
        yield {
            "server": server,
            "connections": f"{MAIN}, half rate" if load == "half" else load,
            **{column: figures[f"{key}_{server}_{load}"] for column, key in columns.items()},
        }


if __name__ == "__main__":
    main()
