"""Options and output that the commands of ``bank-node`` have in common."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fraudfed import console
from fraudfed.console import EXIT_TERMINATED, Shape
from fraudfed.errors import FraudFedError
from fraudfed.machine.threads import MAX_THREADS, usable_cores

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location


F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

PATH = click.Path(path_type=Path)
_SECONDS = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True)
class Output:
    """How the command talks to the person or program that started it."""

    quiet: bool
    console: "Console"
    progress: bool


def answers(
    shape: Shape[T],
    show: Callable[[T], object],
    *,
    fails: Callable[[T], FraudFedError | None] = lambda _: None,
) -> Callable[[F], F]:
    """As ``fraudfed.console.answers``; ``--quiet`` shows people nothing."""

    def show_unless_quiet(answer: T) -> None:
        if not click.get_current_context().find_object(Output).quiet:  # type: ignore[union-attr]
            show(answer)

    return console.answers(shape, show_unless_quiet, fails=fails)


def facts_table(title: str) -> "Table":
    """Return a table of names and values that cuts no fingerprint short."""
    from rich.table import Table

    table = Table(title=title, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


state_option = click.option(
    "--state", "path", type=PATH, required=True, help="State directory of the bank."
)
_QUERY = "fraudfed.query"
_DATA_HELP = (
    "The bank's data: .csv, .parquet, or .xml of ISO 20022 messages; a directory or 'a glob' of "
    "them, s3://..., or postgresql://... with --query."
)


def _keep_query(context: click.Context, _parameter: click.Parameter, query: str | None) -> None:
    context.meta[_QUERY] = query


def _location(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> "Location | None":
    # Only commands that read data import what reads it.
    from fraudfed.errors import ConfigurationError
    from fraudfed.reading.location import parse_location

    query: str | None = context.meta.get(_QUERY)
    if text is not None:
        return parse_location(text, query=query)
    if query is not None:
        raise ConfigurationError(
            f"--query: is given without {parameter.opts[0]}, expected postgresql://... there; give "
            "both or neither"
        )
    return None


def rows_option(name: str, *, required: bool, help: str) -> Callable[[F], F]:
    """Return the option that names rows to read, and ``--query`` beside it.

    Parameters
    ----------
    name : str
        As ``--data``; the command is given a ``Location``, or None.
    required : bool
    help : str
    """

    def add(command: F) -> F:
        query = click.option(
            "--query",
            default=None,
            metavar="SQL|FILE",
            is_eager=True,
            expose_value=False,
            callback=_keep_query,
            help=f"With {name} postgresql://...: the SELECT whose rows are read, or a file .sql.",
        )
        rows = click.option(
            name, metavar="PATH|URL", required=required, callback=_location, help=help
        )
        return rows(query(command))

    return add


data_option = rows_option("--data", required=True, help=_DATA_HELP)


def _load_mapping(
    _context: click.Context, _parameter: click.Parameter, choice: str | None
) -> "Mapping | None":
    # Only commands that read data import what reads it.
    from fraudfed.features.mappings.mapping import load_mapping

    return None if choice is None else load_mapping(choice)


map_option = click.option(
    "--map",
    "mapping",
    default=None,
    metavar="NAME|FILE",
    callback=_load_mapping,
    help="How to read the columns of the data: a built-in mapping, as handbook, or a TOML file.",
)
run_option = click.option(
    "--run", "run_id", default=None, help="The run.  [default: the one open to this bank]"
)
passphrase_option = click.option(
    "--passphrase-file",
    type=PATH,
    default=None,
    envvar="BANK_NODE_PASSPHRASE_FILE",
    help="File with the passphrase of the state directory, or the PIN of its token, in its first "
    "line.",
)
last_run_option = click.option(
    "--run", "run_id", default=None, help="The run.  [default: the last one of this bank]"
)
out_option = click.option(
    "--out", type=PATH, required=True, help="File to write, .csv or .parquet."
)


def _memory_limit(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int:
    from fraudfed.machine.memory import LEAST, default_limit, parse_bytes

    return default_limit() if text is None else parse_bytes("--memory-limit", text, least=LEAST)


memory_option = click.option(
    "--memory-limit",
    default=None,
    metavar="SIZE",
    callback=_memory_limit,
    help="Memory to use, as 4GiB: rows that need more are worked on in pieces, on disk.  [default: "
    "half of what the machine or the control group has]",
)


def run_options(command: F) -> F:
    """Add the options of a command that takes part in a run: the passphrase and ``RunOptions``."""
    for option in (
        click.option(
            "--threads",
            type=click.IntRange(1, MAX_THREADS),
            default=usable_cores,
            help="Cores to use at once.  [default: all that the process may use]",
        ),
        click.option(
            "--cohort-timeout",
            "cohort_timeout_seconds",
            type=_SECONDS,
            default=None,
            help="Seconds to wait for the cohort to be complete.  [default: no limit]",
        ),
        click.option(
            "--round-timeout",
            "round_timeout_seconds",
            type=_SECONDS,
            default=None,
            help="Seconds to wait for the other banks within a round.  [default: as long as the "
            "run does]",
        ),
        passphrase_option,
        run_option,
        map_option,
        data_option,
    ):
        command = option(command)
    return command


def end_in_order_when_terminated() -> None:
    """Let SIGTERM end what is at hand in order, as an exception does."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(EXIT_TERMINATED)
