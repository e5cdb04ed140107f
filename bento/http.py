"""The thin ASGI layer in front of BentoML: the wire contract, its errors, limits and keys.

It answers `POST /predict` itself, which costs a tenth of BentoML's own request path,
and hands over to BentoML only what BentoML alone has (the schema, the files of the
documentation page). Nothing here logs a request's content.
"""

import asyncio
import hashlib
import hmac
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from bento import errors, metrics, openapi
from bento.decoding import CustomerError, Problem, decode
from bento.predictor import Predictor
from bento.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

PROBES = ("/livez", "/readyz")
PATHS: dict[str, bytes] = {
    "/predict": b"OPTIONS, POST",
    **dict.fromkeys(
        ("/", "/livez", "/readyz", "/metrics", "/docs", "/docs.js", "/docs.json"),
        b"GET, HEAD, OPTIONS",
    ),
}
"""Our paths and the methods they take."""

BENTOML_PATHS = frozenset(
    ("/schema.json", "/static_content/swagger-ui.css", "/static_content/swagger-ui-bundle.js")
)
"""What BentoML answers, listed one by one: a scan of unknown paths never gets there."""

logger = logging.getLogger(__name__)


class Reply(NamedTuple):
    """A whole answer, ready to send."""

    body: bytes
    content_type: bytes = errors.JSON
    status: int = 200
    headers: Iterable[Header] = ()


class DisconnectedError(Exception):
    """The client went away before its request was complete."""


class ChurnApp:
    """The ASGI application: one per worker process, around BentoML's own."""

    def __init__(self, predictor: Predictor, bentoml_app: App, settings: Settings) -> None:
        self._predictor = predictor
        self._bentoml_app = bentoml_app
        self._max_body = settings.http_max_body
        self._max_requests = settings.http_max_requests
        self._body_timeout = settings.http_body_timeout
        self._keys = _digests(settings)
        self._in_flight = 0
        self._encode = msgspec.json.Encoder().encode
        self._document = self._encode(openapi.document(bool(self._keys)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry: one call for each request, and one for the process's life."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def after_us(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await asyncio.to_thread(self._predictor.stop)
            await send(message)

        self._predictor.start()
        # uvicorn ends the process as soon as it is told that the shutdown is complete.
        await self._bentoml_app(scope, receive, after_us)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        path = scope["path"]
        try:
            if path in BENTOML_PATHS and scope["method"] in ("GET", "HEAD"):
                self._authorize(scope["headers"])
                await self._bentoml_app(scope, receive, send)
                return
            reply = await self._route(path, scope, receive)
        except DisconnectedError:
            metrics.failed("disconnected")
            return
        except errors.RefusedError as refused:
            metrics.failed(refused.kind)
            reply = Reply(refused.body, status=refused.status, headers=refused.headers)
        except Exception as error:
            reply = _unexpected(error)
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        metrics.answered(path if path in PATHS else "other", reply.status, perf_counter() - started)

    async def _route(self, path: str, scope: Scope, receive: Receive) -> Reply:
        methods = PATHS.get(path)
        if path not in PROBES:
            self._authorize(scope["headers"])
        if methods is None:
            raise errors.not_found()
        method = scope["method"]
        if method == "OPTIONS":
            return Reply(b"", status=204, headers=[(b"allow", methods)])
        if method.encode() not in methods.split(b", "):
            raise errors.method_not_allowed(methods)
        if path == "/predict":
            return await self._limited(scope, receive)
        return await self._page(path)

    async def _limited(self, scope: Scope, receive: Receive) -> Reply:
        if self._in_flight >= self._max_requests:
            raise errors.busy(self._max_requests)
        self._in_flight += 1
        try:
            return await self._predict(scope, receive)
        finally:
            self._in_flight -= 1

    async def _predict(self, scope: Scope, receive: Receive) -> Reply:
        explain = _explain(scope["query_string"])
        self._check_headers(scope["headers"])
        body = await self._body(receive)
        try:
            customers = decode(body)
        except CustomerError as error:
            raise errors.invalid(error.detail) from None
        many = isinstance(customers, list)
        answers = await self._predictor.answer(
            customers if isinstance(customers, list) else [customers], explain
        )
        return Reply(self._encode(answers if many else answers[0]))

    def _check_headers(self, headers: Iterable[Header]) -> None:
        content_type = b""
        for name, value in headers:
            if name == b"content-length" and int(value) > self._max_body:
                raise errors.too_large(self._max_body)
            if name == b"content-type":
                content_type = value
        if content_type.partition(b";")[0].strip().lower() != errors.JSON:
            raise errors.media_type()

    async def _body(self, receive: Receive) -> bytes:
        """The request's body; counts it as it comes, so that none beyond the limit is kept."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise DisconnectedError
                    chunk: bytes = message.get("body", b"")
                    size += len(chunk)
                    if size > self._max_body:
                        raise errors.too_large(self._max_body)
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TimeoutError:
            raise errors.too_slow(self._body_timeout) from None

    async def _page(self, path: str) -> Reply:
        match path:
            case "/livez":
                return Reply(b'{"status":"alive"}')
            case "/readyz":
                state = self._predictor.state()
                return Reply(self._encode(state), status=200 if state.model_run_id else 503)
            case "/metrics":
                predictor = self._predictor
                status = predictor.outbox.status()
                text = await asyncio.to_thread(metrics.exposition, predictor.follower, status)
                return Reply(text, metrics.CONTENT_TYPE)
            case "/docs.json":
                return Reply(self._document)
            case "/docs.js":
                return Reply(openapi.PAGE_SCRIPT, b"text/javascript; charset=utf-8")
            case "/docs":
                return Reply(openapi.PAGE, b"text/html; charset=utf-8")
            case _:
                return Reply(b"", status=307, headers=[(b"location", b"/docs")])

    def _authorize(self, headers: Iterable[Header]) -> None:
        if not self._keys:
            return
        given = next((v for name, v in headers if name == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        # A list, not a generator: every key is compared, whichever one matches.
        matches = [hmac.compare_digest(digest, known) for known in self._keys]
        if scheme.lower() != b"bearer" or not any(matches):
            raise errors.unauthorized()


def _digests(settings: Settings) -> list[bytes]:
    """SHA-256 of each API key: of equal length, so that comparing them tells nothing."""
    if settings.churn_api_keys is None:
        return []
    keys = settings.churn_api_keys.get_secret_value().split(",")
    return [hashlib.sha256(key.strip().encode()).digest() for key in keys if key.strip()]


def _explain(query: bytes) -> bool:
    """Whether the query asks for reasons; raises `RefusedError` for anything it does not know."""
    if not query:
        return False
    parameters = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    match parameters:
        case [("explain", "true" | "false" as value)]:
            return value == "true"
    raise errors.invalid(
        [
            Problem(name[:64], "unknown or repeated parameter", "explain=true or explain=false")
            if name != "explain"
            else Problem(
                name, f"{value[:64]} is not allowed, or is repeated", "true or false, once"
            )
            for name, value in parameters
        ]
        or [Problem("query", "malformed", "explain=true or explain=false")]
    )


def _unexpected(error: Exception) -> Reply:
    """A 503 for a fault of ours; logs where it happened and its type, never its values."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    logger.error(
        "%s at %s:%s in %s", type(error).__name__, frame.filename, frame.lineno, frame.name
    )
    refused = errors.unavailable()
    metrics.failed(refused.kind)
    return Reply(refused.body, status=refused.status, headers=refused.headers)
