"""`python -m churn_assets.simulator http` (or `stream`): customers ask whether they will leave."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bento.customer import Customer
from bento.settings import get_settings
from churn_assets.simulator import http, stream
from churn_assets.simulator import truth as fates
from churn_assets.simulator.source import recorded, synthetic
from churn_assets.simulator.truth import Truth
from churn_assets.synthetic import Drift


def main() -> None:
    """Send customers until told to stop."""
    settings = get_settings()
    parser = argparse.ArgumentParser(prog="python -m churn_assets.simulator", description=__doc__)
    parser.add_argument("door", choices=["http", "stream"])
    parser.add_argument("--rate", type=float, help="customers per second; unset: one a minute")
    parser.add_argument("--count", type=int, default=0, help="stop after so many; 0: never")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--covariate-drift", type=float, default=0.0, metavar="0..1")
    parser.add_argument("--concept-drift", type=float, default=0.0, metavar="0..1")
    parser.add_argument(
        "--labels-after",
        type=float,
        metavar="SECONDS",
        help="http: tell what became of each customer, as files under labels/ in the bucket",
    )
    parser.add_argument("--url", default=f"http://127.0.0.1:{settings.http_port}/predict")
    asked = parser.parse_args()
    try:
        drift = Drift(asked.covariate_drift, asked.concept_drift)
    except ValueError as error:
        parser.error(str(error))
    if asked.rate is not None and asked.rate <= 0:
        parser.error("--rate: must be above 0")
    if asked.labels_after is not None and asked.door != "http":
        parser.error("--labels-after: only for http")
    truth = Truth(asked.labels_after) if asked.labels_after is not None else None
    customers = _customers(settings.churn_raw_data, drift, asked.seed, truth)
    keys = settings.churn_api_keys
    key = keys.get_secret_value().split(",")[0].strip() if keys else None
    every_s = 1 / asked.rate if asked.rate else 60.0
    try:
        if asked.door == "stream":
            stream.send(customers, every_s, asked.count)
        else:
            http.send(customers, asked.url, every_s, key, asked.count)
            if truth:
                truth.tell_the_rest()
                print(f"{truth.told:,} outcomes told")
    except KeyboardInterrupt:
        print("stopped")


def _customers(raw: str | None, drift: Drift, seed: int, truth: Truth | None) -> Iterator[Customer]:
    if raw and not (drift.covariate or drift.concept):
        path = Path(raw)
        return truth.customers(fates.recorded(path)) if truth else recorded(path)
    # a recorded customer cannot drift
    return truth.customers(fates.synthetic(drift, seed)) if truth else synthetic(drift, seed)


if __name__ == "__main__":
    main()
