"""Score a file, folder or s3:// URI of customers with the live champion.

`python -m churn_assets.score INPUT OUTPUT`: CSV or Parquet in, a folder of Parquet
out, by DASK_SCHEDULER's cluster where that is set. No label is needed, and the
behavioural fields may be missing.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from bento.runner import ChampionError, ChampionFollower, ChurnRunner
from bento.settings import get_settings
from churn_assets import batch
from churn_assets.cluster import ClusterError, connect
from churn_assets.defs.features.rows import ColumnError
from churn_assets.defs.ingest.reading import FormatError

ERRORS = (batch.OutputError, ChampionError, ClusterError, ColumnError, FormatError, OSError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, and say how many; 1 with the reason on stderr when that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", help="CSV or Parquet file, a folder of them, or s3:// URI")
    parser.add_argument("output", help="folder or s3:// URI that is empty or missing")
    asked = parser.parse_args(arguments)
    try:
        return run(asked.input, asked.output.rstrip("/"))
    except ERRORS as error:
        print(f"not scored: {error}", file=sys.stderr)
        return 1


def run(data: str, output: str) -> int:
    """Score with a bar of the progress; 0."""
    runner = _champion()
    jobs = batch.plan(data, output)
    counts = [job.piece.rows for job in jobs]
    rows = None if None in counts else sum(count or 0 for count in counts)
    console = Console(stderr=True)
    start = time.perf_counter()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress("rows", *columns, console=console) as bar:
        task = bar.add_task("rows", total=rows)
        address = get_settings().dask_scheduler
        if address:
            with connect(address) as client:
                total = batch.score_on(
                    client, runner.folder, jobs, lambda done: bar.advance(task, done)
                )
        else:
            total = batch.score_here(runner, jobs, lambda done: bar.advance(task, done))
    seconds = time.perf_counter() - start
    champion = runner.champion
    console.print(
        f"{total.scored:,} of {total.rows:,} rows scored in {seconds:.1f} s by version "
        f"{champion.model_version} of run {champion.model_run_id}: {output}",
        soft_wrap=True,
    )
    if total.quarantined:
        console.print(
            f"{total.quarantined:,} rows are no customers: {output}.quarantine", soft_wrap=True
        )
    return 0


def _champion() -> ChurnRunner:
    follower = ChampionFollower(get_settings())
    follower.refresh()
    if follower.runner is None:
        raise ChampionError(follower.error)
    return follower.runner


if __name__ == "__main__":
    sys.exit(main())
