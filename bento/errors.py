"""Every refusal of the HTTP service: its status, its kind (for the metrics) and its body."""

from collections.abc import Sequence

import msgspec

from bento.decoding import Problem

JSON = b"application/json"


class Refusal(msgspec.Struct, frozen=True):
    """The body of every answer that is not a 2xx."""

    error: str
    detail: list[Problem]


class RefusedError(Exception):
    """A request that gets no prediction.

    `kind` is one of few fixed words, so that a metric may be labelled with it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        error: str,
        detail: Sequence[Problem] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.status = status
        self.kind = kind
        self.body = msgspec.json.encode(Refusal(error, list(detail)))
        self.headers = list(headers)
        super().__init__(error)


def invalid(detail: Sequence[Problem]) -> RefusedError:
    """400: the body or the query is not what the contract allows."""
    return RefusedError(400, "invalid", "the request is not valid", detail)


def unauthorized() -> RefusedError:
    """401: API keys are set and the request brings none of them."""
    return RefusedError(
        401,
        "unauthorized",
        "an API key is needed: Authorization: Bearer KEY",
        headers=[(b"www-authenticate", b"Bearer")],
    )


def not_found() -> RefusedError:
    """404: no such path."""
    return RefusedError(404, "not_found", "no such path; GET /docs shows what there is")


def method_not_allowed(allowed: bytes) -> RefusedError:
    """405: the path exists, but not for this method."""
    return RefusedError(
        405,
        "method_not_allowed",
        f"this path takes {allowed.decode()}",
        headers=[(b"allow", allowed)],
    )


def too_slow(seconds: float) -> RefusedError:
    """408: the body did not arrive in time."""
    return RefusedError(
        408, "too_slow", f"the body did not arrive in {seconds:g} s", headers=[CLOSE]
    )


def too_large(limit: int) -> RefusedError:
    """413: the body is longer than `limit` bytes; the connection closes instead of reading on."""
    return RefusedError(413, "too_large", f"the body may have {limit} bytes", headers=[CLOSE])


def media_type() -> RefusedError:
    """415: the body is not declared as JSON."""
    return RefusedError(
        415,
        "media_type",
        "the body must be Content-Type: application/json",
        headers=[(b"accept-post", JSON)],
    )


def busy(limit: int) -> RefusedError:
    """429: as many requests as allowed are being answered already."""
    return RefusedError(
        429, "busy", f"{limit} requests are being answered already", headers=[RETRY]
    )


def no_model() -> RefusedError:
    """503: no champion is loaded yet."""
    return RefusedError(503, "no_model", "no model is live yet", headers=[RETRY])


def unavailable() -> RefusedError:
    """503: something failed that the client is not to blame for."""
    return RefusedError(503, "internal", "the request could not be answered", headers=[RETRY])


CLOSE = (b"connection", b"close")
RETRY = (b"retry-after", b"1")
