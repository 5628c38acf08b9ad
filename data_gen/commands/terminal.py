"""Where tables go: a terminal as wide as it is, or a pipe that shows every column in full."""

from typing import Final

from rich.console import Console

_PIPE_COLUMNS: Final = 150


def table_console() -> Console:
    """Return a console on stdout."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_COLUMNS)
