"""The line that shows how far a simulator is."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live


@contextmanager
def progress_line() -> Iterator[Live]:
    """A line to `update` in place; without a terminal only its last state is printed."""
    console = Console()
    with Live(console=console) as line:
        yield line
    if not console.is_terminal:  # rich ends the line only on a terminal
        console.line()
