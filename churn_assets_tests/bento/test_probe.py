"""The images' health check."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (404, 1), (503, 1)])
def test_the_exit_status_tells_what_the_server_said(
    url: str, status: int, exit_status: int
) -> None:
    assert _probe(f"{url}/{status}").returncode == exit_status


def test_a_server_that_is_not_there_is_not_well_and_the_proxy_is_not_asked() -> None:
    child = _probe("http://127.0.0.1:1/livez", http_proxy="http://127.0.0.1:9")
    assert child.returncode == 1
    assert "http://127.0.0.1:1/livez" in child.stderr
    assert _probe("no-address").returncode == 1


def _probe(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bento.probe", url]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
