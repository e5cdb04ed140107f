"""`make up`, `down`, `status`, `logs` and `reset`: run as `python -m deploy.embedded.stack`."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bento.settings import Settings, get_settings
from churn_assets.contents import provide
from deploy.embedded.servers import (
    EMULATOR,
    ROOT,
    SERVERS,
    PlatformError,
    Server,
    Supervisor,
    check_ports,
    environment,
)

PATIENCE_S = 180
console = Console()


def up(programs: Sequence[str] = ()) -> None:
    """Start what is not running (or only the named programs, and the emulator), until ready."""
    settings = _settings()
    supervisor = Supervisor(settings)
    if not supervisor.is_running():
        check_ports(_chosen(programs))
        _start_supervisord(settings, supervisor)
    known = [program.name for program in supervisor.programs()]
    if unknown := set(programs) - set(known):
        raise PlatformError(f"no program {', '.join(unknown)}; there are {', '.join(known)}")
    supervisor.start(["emulator"])
    wait(EMULATOR, supervisor)
    _provide(settings)
    supervisor.start(programs or known)
    for server in _chosen(programs):
        if server.awaited:
            wait(server, supervisor)
    status()


def _chosen(programs: Sequence[str]) -> list[Server]:
    return [server for server in SERVERS if not programs or server.name in ("emulator", *programs)]


def _settings() -> Settings:
    settings = get_settings()
    if os.environ.get("CHURN_ENV", "local") != "local":
        raise PlatformError("the embedded platform is for env=local; the cloud has its own servers")
    return settings


def _start_supervisord(settings: Settings, supervisor: Supervisor) -> None:
    home = settings.churn_home.absolute()
    for folder in ("logs", "emulator/s3", "mlflow", "dagster"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "deploy" / "dagster.yaml", home / "dagster" / "dagster.yaml")
    _create_dagster_storage(home / "dagster")
    started = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", "deploy/embedded/supervisord.conf"],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if started.returncode:
        raise PlatformError(f"supervisord did not start: {started.stdout}{started.stderr}")
    deadline = time.monotonic() + PATIENCE_S
    while not supervisor.is_running():
        if time.monotonic() > deadline:
            raise PlatformError(f"supervisord does not answer; see {home}/logs/supervisord.log")
        time.sleep(0.1)


def _create_dagster_storage(folder: Path) -> None:
    """Create Dagster's databases: its programs, started together, would race each other at it."""
    if not (folder / "schedules").exists():
        import dagster as dg

        dg.DagsterInstance.from_config(str(folder)).dispose()


def _provide(settings: Settings) -> None:
    from churn_assets.defs.ingest.seeding import SourceError

    try:
        provide(settings, lambda kind, names: console.print(f"  {kind:<13}{names} created"))
    except SourceError as error:
        raise PlatformError(str(error)) from error


def wait(server: Server, supervisor: Supervisor) -> None:
    """Wait until a server is ready, showing the seconds; fail with its log when it gives up."""
    name = server.name
    if not supervisor.is_running():
        raise PlatformError("not running: `make up` starts it")
    began = time.monotonic()
    with console.status(f"{name}: starting") as line:
        while not server.is_ready():
            waited = time.monotonic() - began
            line.update(f"{name}: starting, {waited:.0f} s")
            states = {program.name: program.state for program in supervisor.programs()}
            if states.get(name) == "FATAL" or waited > PATIENCE_S:
                log = get_settings().churn_home / "logs" / f"{name}.log"
                raise PlatformError(f"{name} did not start in {waited:.0f} s; see {log}")
            time.sleep(0.3)
    waited = time.monotonic() - began
    if waited > 1:
        console.print(f"  {name:<12} ready after {waited:.1f} s")


def down() -> None:
    """Stop every program and wait until no process of any of them is left."""
    supervisor = Supervisor(_settings())
    if not supervisor.is_running():
        console.print("not running")
        return
    family = processes(supervisor)
    with console.status(f"stopping {len(family)} processes"):
        supervisor.shutdown()
        _, left = psutil.wait_procs(family, timeout=60)
    for process in left:
        console.print(f"killing {process.pid}, which did not stop in 60 s")
        process.kill()
    psutil.wait_procs(left, timeout=10)
    console.print(f"stopped {len(family)} processes")


def processes(supervisor: Supervisor) -> list[psutil.Process]:
    """supervisord, its descendants, and what else is in the programs' process groups."""
    root = psutil.Process(supervisor.pid())
    groups = {program.pid for program in supervisor.programs() if program.pid}
    found = {root, *root.children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) in groups:
                found.add(process)
        except ProcessLookupError:
            continue
    return list(found)


def status() -> None:
    """Print a table of programs with state, pid, port and URL; exit 3 when nothing runs."""
    settings = _settings()
    supervisor = Supervisor(settings)
    if not supervisor.is_running():
        console.print("not running: `make up` starts it")
        raise SystemExit(3)
    table = Table("program", "state", "pid", "port", "URL", title=f"{settings.churn_home}")
    by_name = {server.name: server for server in SERVERS}
    for program in supervisor.programs():
        server = by_name.get(program.name)
        state = program.state.lower()
        if server and program.state in ("STARTING", "RUNNING"):
            state = "ready" if server.is_ready() else "starting"
        table.add_row(
            program.name,
            state,
            str(program.pid or ""),
            str(server.port) if server else "",
            server.url if server else "",
        )
    console.print(table)


def logs(program: str | None) -> None:
    """Follow the log of one program, or of all, from their last 40 lines."""
    folder = get_settings().churn_home / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if not known:
        raise PlatformError(f"no logs in {folder}: `make up` first")
    if program and program not in known:
        raise PlatformError(f"no program {program!r}; one of {', '.join(known)}")
    paths = [str(folder / f"{name}.log") for name in ([program] if program else known)]
    os.execvp("tail", ["tail", "-n", "40", "-F", *paths])  # noqa: S606, S607


def reset() -> None:
    """Stop the platform and delete all its state."""
    down()
    home = get_settings().churn_home.absolute()
    if home.exists() and not (home / "logs" / "supervisord.log").exists():
        raise PlatformError(f"{home} was not made by `make up`: not deleted")
    shutil.rmtree(home, ignore_errors=True)
    console.print(f"deleted {home}")


def main() -> None:
    """Do what the command line says; what went wrong is said without a traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (down, status, reset):
        commands.add_parser(command.__name__, help=command.__doc__).set_defaults(call=command)
    start = commands.add_parser("up", help=up.__doc__)
    start.add_argument("programs", nargs="*")
    start.set_defaults(call=up)
    follow = commands.add_parser("logs", help=logs.__doc__)
    follow.add_argument("program", nargs="?")
    follow.set_defaults(call=logs)
    options = vars(parser.parse_args())
    options.pop("command")
    call = options.pop("call")
    try:
        call(**options)
    except PlatformError as error:
        console.print(f"[red]{error}[/red]")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
