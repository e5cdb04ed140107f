import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.settings import get_settings
from churn_assets.defs.monitoring import pages
from churn_assets_tests.conftest import free_port
from churn_assets_tests.serving import Server
from deploy.embedded.monitoring import nginx

ROOT = Path(__file__).resolve().parents[2]
FROM_PYTHON = (
    "from deploy.embedded.monitoring import *; provide_list(get_settings()); serve(get_settings())"
)


@pytest.fixture(
    params=[
        pytest.param(
            ["-m", "deploy.embedded.monitoring", "reports"],
            marks=pytest.mark.skipif(nginx() is None, reason="nginx is not installed"),
            id="nginx",
        ),
        pytest.param(["-c", FROM_PYTHON], id="python"),
    ]
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    home, port = get_settings().churn_home, free_port()
    home.mkdir(parents=True)
    env = {"CHURN_HOME": str(home), "REPORTS_PORT": str(port), "PYTHONPATH": str(ROOT)}
    with Server([sys.executable, *request.param], port, home / "reports.log", "/", **env) as found:
        yield found


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_an_empty_list_then_the_newest_first(server: Server) -> None:
    assert "0 reports" in fetch(server.url + "/")
    window = ["2026-11-20T12:00:00+00:00", "2026-11-20T15:00:00+00:00"]
    document = {"_id": "one", "window": window, "finding": "quiet", "html": "one.html"}
    pages.publish(get_settings().churn_home / "reports", {"one.html": "<h1>One"}, [document])
    assert "<a href='one.html'>" in fetch(server.url + "/")
    assert fetch(server.url + "/one.html") == "<h1>One"
