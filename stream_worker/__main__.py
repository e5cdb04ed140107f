"""`python -m stream_worker` works until SIGTERM; `... dead-letters` lists what was refused."""

import argparse
import logging
import signal

from bento.logs import log_json
from bento.outbox import Outbox
from bento.runner import ChampionFollower
from bento.settings import Settings, get_settings
from stream_worker import status
from stream_worker.aws import Clients
from stream_worker.health import Health
from stream_worker.replay import dead_letters, replay
from stream_worker.scoring import DeadLetter
from stream_worker.worker import Worker

log = logging.getLogger(__name__)


def main() -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m stream_worker", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    letters = commands.add_parser("dead-letters", help="list the records that are no customer")
    letters.add_argument("--replay", action="store_true", help="score those that are one by now")
    arguments = parser.parse_args()
    settings = get_settings()
    if arguments.command is None:
        work(settings)
    elif arguments.replay:
        replay(settings, Clients(), lambda letter, good: show(letter, "replayed" if good else None))
    else:
        for letter in dead_letters(settings, Clients()).read():
            show(letter)


def work(settings: Settings) -> None:
    """Be a worker until SIGTERM or SIGINT."""
    log_json()
    follower = ChampionFollower(settings)
    follower.start()
    outbox = Outbox(settings.churn_home / "outbox" / "stream", settings)
    health = Health()
    port = settings.stream_metrics_port
    try:
        status.serve(status.StatusApp(follower, health, outbox), settings.host, port)
    except OSError as error:
        raise SystemExit(f"port {port} is taken: choose another STREAM_METRICS_PORT") from error
    worker = Worker(settings, Clients(), follower, outbox, health)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    log.info("worker started", extra={"fields": {"worker": worker.name}})
    worker.run()
    outbox.close()
    follower.stop()
    log.info("worker stopped", extra={"fields": {"worker": worker.name}})


def show(letter: DeadLetter, outcome: str | None = None) -> None:
    """One line for one letter."""
    reasons = "; ".join(f"{r.field}: {r.problem} (allowed: {r.allowed})" for r in letter.reason)
    place = f"{letter.stream}/{letter.shard}/{letter.sequence}"
    print(f"{outcome or 'refused'}  {place}  {len(letter.data)} bytes  {reasons}")


if __name__ == "__main__":
    main()
