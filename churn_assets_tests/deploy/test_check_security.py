"""The audit trusts no silence; what compose opens is seen."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from deploy.check import security
from deploy.check.framework import TOOLS, CheckError, SkipError

needs_pip_audit = pytest.mark.skipif(
    not (TOOLS / "pip-audit").exists(), reason="run `make check-deploy` once: it installs pip-audit"
)
HASH = f"--hash=sha256:{'0' * 64}"


class Osv(BaseHTTPRequestHandler):
    """The OSV database's one question, for a database of the vulnerable releases in `known`."""

    known: set[tuple[str, str]]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = asked["package"]["name"], asked["version"]
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}]
        found = {
            "id": f"GHSA-{name}",
            "published": "2019-04-10T14:30:24Z",
            "details": "a hole",
            "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}],
        }
        body = json.dumps({"vulns": [found]} if (name, version) in self.known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, str]]]:
    """What the database knows that pip-audit asks: (name, version)."""
    Osv.known = {("jinja2", "2.10")}
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1/query"
        monkeypatch.setenv("CHURN_OSV_URL", url)
        yield Osv.known
        server.shutdown()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "one.lock").write_text(f"six==1.17.0 {HASH}\nidna==3.10 {HASH}\n")
    (tmp_path / "two.lock").write_text(f"six==1.17.0 {HASH}\n")
    return tmp_path


@needs_pip_audit
def test_pins_are_audited_once_each(tree: Path, database: set[tuple[str, str]]) -> None:
    assert security.audit(tree) == 2


@needs_pip_audit
def test_a_vulnerable_pin_is_a_fault_unless_it_was_accepted(
    tree: Path, database: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database.add(("idna", "3.10"))
    with pytest.raises(CheckError, match=r"^idna 3.10, mended in 99: GHSA-idna$"):
        security.audit(tree)
    monkeypatch.setitem(security.ACCEPTED, "GHSA-idna", "no names come from outside")
    assert security.audit(tree) == 2


@needs_pip_audit
def test_a_database_that_knows_nothing_is_not_trusted(
    tree: Path, database: set[tuple[str, str]]
) -> None:
    database.clear()
    with pytest.raises(SkipError, match="does not know"):
        security.audit(tree)


@needs_pip_audit
def test_no_database_is_a_visible_skip(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_OSV_URL", "http://127.0.0.1:1/v1/query")
    with pytest.raises(SkipError, match="reaches no database"):
        security.audit(tree)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"ports": ["9696:9696"]}, "port 9696:9696 is published beyond loopback"),
        ({"ports": ["0.0.0.0:9696:9696"]}, "0.0.0.0:9696:9696"),
        ({"ports": [{"target": 9696, "published": "9696"}]}, "9696"),
        ({"privileged": True}, "privileged"),
        ({"network_mode": "host"}, "host"),
        ({"volumes": ["/var/run/docker.sock:/var/run/docker.sock:ro"]}, "docker.sock"),
    ],
)
def test_what_a_service_opens_is_seen(service: dict[str, Any], said: str) -> None:
    assert said in "".join(security.exposed(service))
    assert list(security.exposed({"ports": ["127.0.0.1:9696:9696"]})) == []
