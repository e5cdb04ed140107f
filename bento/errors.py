"""Every refusal of the HTTP service: its status, the kind the metrics count, and the body's shape."""

from collections.abc import Sequence

import msgspec

from bento.customer import Problem

JSON = b"application/json"


class Refusal(msgspec.Struct, frozen=True):
    """The body of every answer that is not a 2xx."""

    error: str
    detail: list[Problem]


class Refused(Exception):
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


def invalid(detail: Sequence[Problem]) -> Refused:
    """400: the body or the query is not what the contract allows."""
    return Refused(400, "invalid", "the request is not valid", detail)


def unauthorized() -> Refused:
    """401: API keys are set and the request brings none of them."""
    return Refused(
        401,
        "unauthorized",
        "an API key is needed: Authorization: Bearer KEY",
        headers=[(b"www-authenticate", b"Bearer")],
    )


def not_found() -> Refused:
    """404: no such path."""
    return Refused(404, "not_found", "no such path; GET /docs shows what there is")


def method_not_allowed(allowed: bytes) -> Refused:
    """405: the path exists, but not for this method."""
    return Refused(
        405,
        "method_not_allowed",
        f"this path takes {allowed.decode()}",
        headers=[(b"allow", allowed)],
    )


def too_slow(seconds: float) -> Refused:
    """408: the body did not arrive in time."""
    return Refused(
        408, "too_slow", f"the body did not arrive in {seconds:g} s", headers=[CLOSE]
    )


def too_large(limit: int) -> Refused:
    """413: the body is longer than `limit` bytes; the connection closes instead of reading on."""
    return Refused(413, "too_large", f"the body may have {limit} bytes", headers=[CLOSE])


def media_type() -> Refused:
    """415: the body is not declared as JSON."""
    return Refused(
        415,
        "media_type",
        "the body must be Content-Type: application/json",
        headers=[(b"accept-post", JSON)],
    )


def busy(limit: int) -> Refused:
    """429: as many requests as allowed are being answered already."""
    return Refused(
        429, "busy", f"{limit} requests are being answered already", headers=[RETRY]
    )


def no_model() -> Refused:
    """503: no champion is loaded yet."""
    return Refused(503, "no_model", "no model is live yet", headers=[RETRY])


def unavailable() -> Refused:
    """503: something failed that the client is not to blame for."""
    return Refused(503, "internal", "the request could not be answered", headers=[RETRY])


CLOSE = (b"connection", b"close")
RETRY = (b"retry-after", b"1")
