"""`/livez`, `/readyz` and `/metrics` of a worker, on a port of their own."""

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

import msgspec
from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from bento.outbox import Outbox
from bento.runner import ChampionFollower
from stream_worker import metrics
from stream_worker.health import Health

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

STUCK_S = 120.0
"""The main loop turns every few seconds; one call to AWS may last 40, retries included."""


class State(msgspec.Struct, frozen=True):
    """What the probes say; `reasons` is empty when all is well."""

    status: str
    model_version: str | None
    model_run_id: str | None
    reasons: dict[str, str]
    """What is being waited for: step -> why."""


def state(follower: ChampionFollower, health: Health) -> State:
    """Ready means: a model is loaded and no step is being retried."""
    runner = follower.runner
    reasons = health.troubles()
    if runner is None:
        reasons["champion"] = follower.error or "no model is live yet"
    return State(
        "waiting" if reasons else "ready",
        runner.champion.model_version if runner else None,
        runner.champion.model_run_id if runner else None,
        reasons,
    )


class StatusApp:
    """The WSGI application; `/livez` is red only when a restart would help."""

    def __init__(self, follower: ChampionFollower, health: Health, outbox: Outbox) -> None:
        self._follower = follower
        self._health = health
        self._metrics: WSGIApplication = make_wsgi_app()
        metrics.READY.set_function(lambda: float(state(follower, health).status == "ready"))
        metrics.SWAPS.set_function(lambda: follower.swaps)
        metrics.FAILURES.set_function(lambda: follower.failures)
        metrics.OUTBOX.set_function(lambda: outbox.status().depth)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ, start_response)
            case "/livez":
                good = self._health.seconds_since_beat() < STUCK_S
            case "/readyz":
                good = state(self._follower, self._health).status == "ready"
            case _:
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b"/livez, /readyz, /metrics\n"]
        body = msgspec.json.encode(state(self._follower, self._health))
        status = "200 OK" if good else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [body]


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Probes every few seconds are no news."""


def serve(app: StatusApp, host: str, port: int) -> None:
    """Answer in a background thread while the process lives; OSError if the port is taken."""
    server = make_server(host, port, app, ThreadingWSGIServer, _Quiet)
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
