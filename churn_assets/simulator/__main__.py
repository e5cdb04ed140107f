"""`python -m churn_assets.simulator http` (or `stream`): customers ask whether they will leave."""

import argparse
from pathlib import Path

from bento.settings import get_settings
from churn_assets.simulator import http, stream
from churn_assets.simulator.source import recorded, synthetic
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
    parser.add_argument("--url", default=f"http://127.0.0.1:{settings.http_port}/predict")
    asked = parser.parse_args()
    try:
        drift = Drift(asked.covariate_drift, asked.concept_drift)
    except ValueError as error:
        parser.error(str(error))
    if asked.rate is not None and asked.rate <= 0:
        parser.error("--rate: must be above 0")
    raw = settings.churn_raw_data
    if raw and not (drift.covariate or drift.concept):
        customers = recorded(Path(raw))
    else:  # a recorded customer cannot drift
        customers = synthetic(drift, asked.seed)
    keys = settings.churn_api_keys
    key = keys.get_secret_value().split(",")[0].strip() if keys else None
    every_s = 1 / asked.rate if asked.rate else 60.0
    try:
        if asked.door == "stream":
            stream.send(customers, every_s, asked.count)
        else:
            http.send(customers, asked.url, every_s, key, asked.count)
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
