"""A load generator in a process of its own: raw HTTP/1.1 over asyncio and uvloop.

`wrk` and its like are not on every machine, and the Python clients spend several times
the server's time on each request. As a program (`python -m benchmarks.load`) it reads
the requests to send from a file and prints what it measured as JSON.
"""

import argparse
import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import msgspec
import numpy as np
import uvloop

Answered = Callable[[int, int, bytes], None]
"""Called with the request's number, the answer's status (0: connection lost) and body."""


class Measured(msgspec.Struct):
    """What one run of load saw; latencies in milliseconds."""

    requests: int
    failed: int
    seconds: float
    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float


def post(body: bytes, path: str = "/predict") -> bytes:
    """A whole POST request with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: churn\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = b""
        self._number: int | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._load.open += 1

    def send(self, number: int, request: bytes) -> None:
        self._number = number
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        start = head.index(b"content-length:") + 15
        body_end = end + 4 + int(head[start:].split(b"\r\n", 1)[0])
        if len(self._buffer) < body_end:
            return
        status, body, number = int(head[9:12]), self._buffer[end + 4 : body_end], self._number
        self._buffer, self._number = b"", None
        assert number is not None
        self._load.answered(number, status, body)
        if b"connection: close" in head:
            self.transport.close()
        else:
            self._load.idle(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._load.open -= 1
        if self._number is not None:
            self._load.answered(self._number, 0, b"")


class Load:
    """Sends `requests` in turn over `connections`, each as fast as answers come or at a rate."""

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        connections: int,
        rate: float | None = None,
        observe: Answered | None = None,
    ) -> None:
        self._port = port
        self._requests = requests
        self._connections = connections
        self._rate = rate
        self._observe = observe
        self._sent = 0
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self._started: dict[int, float] = {}
        self.open = 0
        self._ending = False
        self.latencies: list[float] = []
        self.failed = 0

    async def run(self, seconds: float) -> Measured:
        """Load for so long, then wait for the last answers.

        At a fixed rate a request's time counts from when it was due, so that a stalled
        server cannot hide behind requests that were not sent.
        """
        end = perf_counter() + seconds
        return await self._run(lambda: perf_counter() >= end)

    async def run_until(self, stop: threading.Event) -> Measured:
        """Load until another thread sets the event."""
        return await self._run(stop.is_set)

    async def run_count(self, count: int) -> Measured:
        """Load until so many requests are answered, one way or another."""
        return await self._run(lambda: len(self.latencies) + self.failed >= count)

    async def _run(self, done: Callable[[], bool]) -> Measured:
        begin = perf_counter()
        keeper = asyncio.create_task(self._keep_connected())
        due = 0
        while not done():
            while self._rate and due < (perf_counter() - begin) * self._rate:
                self._due.append(begin + due / self._rate)
                due += 1
            self._dispatch()
            await asyncio.sleep(0.0005 if self._rate else 0.005)
        self._ending = True
        elapsed = perf_counter() - begin
        deadline = perf_counter() + 10
        while (self._started or self._due) and perf_counter() < deadline:
            self._dispatch()
            await asyncio.sleep(0.002)
        keeper.cancel()
        self.failed += len(self._started) + len(self._due)
        taken = np.array(self.latencies or [0.0]) * 1000
        p50, p99 = np.percentile(taken, [50, 99])
        count = len(self.latencies)
        return Measured(
            count, self.failed, elapsed, count / elapsed, float(p50), float(p99), float(taken.max())
        )

    async def _keep_connected(self) -> None:
        while True:
            while self.open < self._connections:
                try:
                    _, connection = await asyncio.get_running_loop().create_connection(
                        lambda: Connection(self), "127.0.0.1", self._port
                    )
                except OSError:
                    break
                self.idle(connection)
            await asyncio.sleep(0.0005 if self.open < self._connections else 0.005)

    def idle(self, connection: Connection) -> None:
        if self._rate is None:
            if not self._ending:
                self._send(connection, perf_counter())
        elif self._due:
            self._send(connection, self._due.popleft())
        else:
            self._free.append(connection)

    def _dispatch(self) -> None:
        while self._due and self._free:
            connection = self._free.popleft()  # in turn: none idles until it is closed
            if not connection.transport.is_closing():
                self._send(connection, self._due.popleft())

    def _send(self, connection: Connection, since: float) -> None:
        number = self._sent
        self._sent += 1
        self._started[number] = since
        connection.send(number, self._requests[number % len(self._requests)])

    def answered(self, number: int, status: int, body: bytes) -> None:
        since = self._started.pop(number)
        if status == 200:
            self.latencies.append(perf_counter() - since)
        else:
            self.failed += 1
        if self._observe:
            self._observe(number, status, body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bodies", type=Path, required=True, help="JSON array of texts to post")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, help="requests per second; unset: as fast as it goes")
    options = parser.parse_args()
    bodies: list[Any] = json.loads(options.bodies.read_text())
    requests = [post(body.encode()) for body in bodies]
    load = Load(options.port, requests, options.connections, options.rate)
    print(msgspec.json.encode(uvloop.run(load.run(options.seconds))).decode())


if __name__ == "__main__":
    main()
