"""The BentoML service: what `bentoml serve`, `build` and `containerize` work with.

BentoML's own request path costs ten times the scoring, so `FastService` puts a thin
ASGI layer (`bento.http`) in front of it. `service_class` and `to_asgi` are
undocumented: the version is pinned, and a contract test guards them.
"""

import logging
import os
import signal
import threading
import time
from functools import lru_cache
from typing import Any

# Before onnxruntime and XGBoost load: their thread pools fight on a shared machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import bentoml
import msgspec

from bento.decoding import convert
from bento.http import App, ChurnApp
from bento.logs import log_json
from bento.predictor import Predictor
from bento.settings import get_settings


@lru_cache(maxsize=1)
def get_predictor() -> Predictor:
    """The one predictor of this process."""
    return Predictor(get_settings())


class FastService(bentoml.Service):  # type: ignore[misc]
    """A BentoML service that answers `POST /predict` before BentoML sees it."""

    def inject_config(self) -> None:
        """Let our settings decide on address and processes, then do as BentoML does."""
        settings = get_settings()
        self.config["http"] = {"host": settings.host, "port": settings.http_port}
        self.config["workers"] = settings.http_workers
        super().inject_config()
        # Only where BentoML has set up the logging of a server has this logger a handler.
        if logging.getLogger("circus").handlers:
            log_json("bentoml", "circus", "uvicorn.error")

    def to_asgi(self, is_main: bool = True) -> App:
        """BentoML's application behind ours."""
        # uvicorn formats an access line per request unless its logger has no handler.
        logging.getLogger("uvicorn.access").propagate = False
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        return ChurnApp(get_predictor(), super().to_asgi(is_main), get_settings())


@bentoml.service(
    service_class=FastService,
    name="churn",
    # Ours counts by bounded labels; BentoML's would label with any path a scanner asks for.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class ChurnService:
    """The probability that a credit-card customer leaves. See `/docs`."""

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    async def predict(self, customer: dict[str, Any], /) -> dict[str, Any]:
        """Answer for one customer; over HTTP, `bento.http` answers this route instead."""
        answers = await get_predictor().answer([convert(customer)], explain=False)
        found: dict[str, Any] = msgspec.to_builtins(answers[0])
        return found


def _end_with(parent: int) -> None:
    """End this worker when the process that started it is gone.

    BentoML's workers outlive a killed parent, and would keep the port from the next one.
    """
    while os.getppid() == parent:
        time.sleep(0.25)
    os.kill(os.getpid(), signal.SIGTERM)
