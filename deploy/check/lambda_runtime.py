"""Lambda's runtime API for one invocation, as a function's container sees it on its machine.

The protocol is AWS's own: the container asks for `invocation/next` and posts its answer to
`invocation/ID/response`, or what went wrong to `invocation/ID/error` or `init/error`.
"""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

API = "/2018-06-01/runtime"
REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"


class Posted(NamedTuple):
    """What the container posted: the last part of the path (`response`, `error`) and the body."""

    kind: str
    body: Any


@contextmanager
def runtime_api(event: dict[str, Any]) -> Iterator[tuple[str, "queue.Queue[Posted]"]]:
    """Serve one event; yields the value of AWS_LAMBDA_RUNTIME_API and where answers arrive."""
    posted: queue.Queue[Posted] = queue.Queue()
    asked, over = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != f"{API}/invocation/next":
                return self.send_error(404)
            if asked.is_set():  # as Lambda does, let it wait for an event that does not come
                over.wait()
                self.close_connection = True
                return None
            asked.set()
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", REQUEST_ID)
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60_000))
            self.send_header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-east-2:111122223333:function:churn",
            )
            return self._send(json.dumps(event).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            posted.put(Posted(self.path.rsplit("/", 1)[1], json.loads(body or b"null")))
            self.send_response(202)
            self._send(b"{}")

        def _send(self, body: bytes) -> None:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", posted
    finally:
        over.set()
        server.shutdown()
        server.server_close()
