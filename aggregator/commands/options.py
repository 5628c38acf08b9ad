"""Options that several commands of ``aggregator`` have."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aggregator.operator.client import OperatorClient, read_token
from fraudfed.console import say

if TYPE_CHECKING:
    from aggregator.service.store import Store

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path, dir_okay=False)

state_option = click.option(
    "--state",
    "state_path",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="State directory of the aggregator.",
)


@contextlib.contextmanager
def opened_store(state_path: Path) -> Iterator["Store"]:
    """Open the store of a state directory for a command, and close it."""
    # Most commands call a running aggregator and need no database.
    from aggregator.service.state_directory import StateDirectory

    with contextlib.closing(StateDirectory(state_path).open_store()) as store:
        yield store


#: What ``client_options`` adds and ``opened_client`` takes.
CLIENT_OPTIONS = ("url", "token_file", "ca_file", "client_certificate")


def client_options(command: F) -> F:
    """Add the options of a command that calls a running aggregator."""
    for option in (
        click.option(
            "--client-certificate",
            type=FILE,
            metavar="FILE",
            help="Certificate and key (PEM), if the aggregator asks for one.",
        ),
        click.option(
            "--ca-file",
            type=FILE,
            metavar="FILE",
            help="Root certificates to trust (PEM) instead of the system's.",
        ),
        click.option(
            "--token-file",
            required=True,
            type=FILE,
            metavar="FILE",
            envvar="AGGREGATOR_TOKEN_FILE",
            show_envvar=True,
            help="File with an API token (DIR/operator.token).",
        ),
        click.option(
            "--url",
            default="http://127.0.0.1:8765",
            show_default=True,
            envvar="AGGREGATOR_URL",
            show_envvar=True,
            help="Address of the aggregator.",
        ),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def opened_client(
    url: str, token_file: Path, ca_file: Path | None, client_certificate: Path | None
) -> Iterator[OperatorClient]:
    """Open a client with the values of ``client_options``."""
    with OperatorClient(
        url, read_token(token_file), ca_file=ca_file, client_certificate=client_certificate
    ) as client:
        yield client


def utc(seconds: int) -> str:
    """Return a time as people read it."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def print_lines(lines: dict[str, object]) -> None:
    """Print names and values, one a line."""
    for name, value in lines.items():
        say(f"{name + ':':<16}{value}")
