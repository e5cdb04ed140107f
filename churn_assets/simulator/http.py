"""Send customers to `POST /predict` at a steady pace."""

import time
from collections.abc import Iterator

import httpx
import msgspec

from bento.customer import Customer
from churn_assets.simulator.progress import progress_line


def send(
    customers: Iterator[Customer], url: str, every_s: float, key: str | None = None, count: int = 0
) -> int:
    """Post one customer every `every_s` seconds, `count` of them or without end (0).

    Returns how many were answered. A refused or unanswered one is counted and told, and
    the next is sent all the same: the business does not stop for a server.
    """
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    sent = answered = churn = 0
    problem = ""
    due = time.monotonic()
    with httpx.Client(headers=headers, timeout=10) as client, progress_line() as line:
        for customer in customers:
            sent += 1
            try:
                reply = client.post(url, content=msgspec.json.encode(customer))
                reply.raise_for_status()
                answered += 1
                churn += bool(reply.json()["churn"])
            except httpx.HTTPError as error:
                problem = f", last problem: {error}"
            share = churn / answered if answered else 0.0
            line.update(f"{sent:,} sent, {answered:,} answered, {share:.1%} will leave{problem}")
            if sent == count:
                break
            due = max(due + every_s, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
    return answered
