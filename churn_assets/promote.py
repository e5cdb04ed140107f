"""`python -m churn_assets.promote RUN_ID`, or `--rollback`: change the champion from the shell."""

import argparse
import os
import sys

from bento.settings import get_settings
from churn_assets.defs.training import promotion


def main(arguments: list[str] | None = None) -> int:
    """Promote or roll back; returns the exit status."""
    parser = argparse.ArgumentParser(prog="churn_assets.promote", description=__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("run_id", nargs="?", help="MLflow run of the version to promote")
    choice.add_argument("--rollback", action="store_true", help="go back to the former champion")
    chosen = parser.parse_args(arguments)

    # A person waits: MLflow's default is to try for minutes before it says that nobody answers.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    import mlflow

    settings = get_settings()
    name = settings.registered_model
    client = mlflow.MlflowClient(settings.mlflow_tracking_uri)
    try:
        version = (
            promotion.rollback(client, name)
            if chosen.rollback
            else promotion.promote(client, name, chosen.run_id)
        )
    except (promotion.PromotionError, mlflow.MlflowException) as error:
        print(f"error: {error}", file=sys.stderr)
        print("`make rollback-live` goes back on this machine, without MLflow.", file=sys.stderr)
        return 1
    print(f"champion of {name} is now version {version.version}, run {version.run_id}")
    print("The sensor promoted_champion packages it, tests it and makes it live.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
