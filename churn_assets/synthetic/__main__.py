"""`python -m churn_assets.synthetic --rows 1000000 --seed 1 --out customers.parquet`."""

import argparse
from pathlib import Path

from rich.progress import Progress

from churn_assets.synthetic.generator import FIRST_ID, Drift, write_parquet


def main() -> None:
    """Write synthetic customers to a Parquet file."""
    parser = argparse.ArgumentParser(
        prog="python -m churn_assets.synthetic", description="Synthetic customers as Parquet."
    )
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--covariate-drift", type=float, default=0.0, metavar="0..1")
    parser.add_argument("--concept-drift", type=float, default=0.0, metavar="0..1")
    parser.add_argument(
        "--first-id", type=int, default=FIRST_ID, help="number of the first customer"
    )
    asked = parser.parse_args()
    try:
        drift = Drift(asked.covariate_drift, asked.concept_drift)
        with Progress() as bar:
            task = bar.add_task("synthetic customers", total=asked.rows)
            write_parquet(
                asked.out,
                asked.rows,
                asked.seed,
                drift,
                asked.first_id,
                lambda added: bar.advance(task, added),
            )
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
