"""Champions without MLflow: list them, go back, go to a certain one.

Those of this machine, and with `CHAMPION_URI` set those of all hosts.

`python -m churn_assets.release list | back | to TAG`
"""

import argparse
import sys

from rich.console import Console
from rich.table import Table

from bento.champion import ChampionError, packaged, read_live
from bento.depot import open_depot
from bento.settings import get_settings
from churn_assets.defs.release import live


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status is 1 when nothing was changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="packaged champions and which one is live")
    commands.add_parser("back", help="make the previous champion live")
    commands.add_parser("to", help="make a certain champion live").add_argument("tag")
    options = parser.parse_args(arguments)
    settings = get_settings()
    pointer = settings.live_pointer
    try:
        depot = open_depot(settings)
        if depot:
            depot.take_over(everything=True)
        if options.command == "list":
            show()
            return 0
        now = (
            live.roll_back(pointer, depot)
            if options.command == "back"
            else live.go_to(pointer, options.tag, depot)
        )
    except ChampionError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{now.tag} (run {now.model_run_id}) is live. The registry's alias is unchanged:"
        " the champion taken off stays off until the alias names another one."
    )
    return 0


def show() -> None:
    """Print the packaged champions."""
    pointer = get_settings().live_pointer
    now = read_live(pointer)
    table = Table("tag", "run", "packaged", "ROC AUC full", "ROC AUC core", "live")
    for folder, champion in packaged(pointer.parent).items():
        tag = live.model_tag(folder)
        quality = (
            f"{champion.tiers.get(tier, {}).get('roc_auc', float('nan')):.4f}"
            for tier in ("full", "core")
        )
        mark = "live" if now and now.tag == tag else ""
        table.add_row(tag, champion.model_run_id, champion.created_at[:19], *quality, mark)
    Console(width=140).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
