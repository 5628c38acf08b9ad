"""The command ``aggregator``. Exit codes are those of ``fraudfed.errors``."""

import json
import logging
import sys
from pathlib import Path
from typing import NoReturn

import click

from aggregator.app import declared_endpoints
from aggregator.config import load_config
from aggregator.logs import LogFormat, configure_logging
from aggregator.openapi import openapi_document
from aggregator.operator_client import OperatorClient, read_token
from aggregator.server import listen, serve, url_of
from aggregator.state_directory import StateDirectory
from fraudfed import __version__
from fraudfed.console import run_command
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import RunSpec, RunStatus, parse

__all__ = ["cli", "main"]

_log = logging.getLogger(__name__)

_STATE_OPTION = click.option(
    "--state",
    "state_path",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="State directory of the aggregator.",
)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aggregator")
@click.option("--quiet", is_flag=True, help="Log warnings and errors only.")
@click.option(
    "--log-format",
    type=click.Choice([item.value for item in LogFormat]),
    default=LogFormat.TEXT.value,
    show_default=True,
    help="Log lines for people, or one JSON object each.",
)
def cli(quiet: bool, log_format: str) -> None:
    """Combine the ciphertexts of banks and keep runs and models."""
    configure_logging(LogFormat(log_format), quiet=quiet)


@cli.command()
@_STATE_OPTION
def init(state_path: Path) -> None:
    """Create the database and the operator's token in DIR."""
    state = StateDirectory(state_path)
    state.create()
    click.echo(f"created {state.database}; the operator's token is in {state.operator_token}")


@cli.command(name="serve")
@_STATE_OPTION
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--threads",
    type=click.IntRange(2, 1000),
    default=None,
    help="Requests handled at once; every waiting bank holds one.  [default: 64]",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings, JSON.",
)
@click.option(
    "--insecure-allow-small-keys",
    is_flag=True,
    help="Accept runs with Paillier keys below 2048 bits. For tests only.",
)
def serve_command(
    state_path: Path,
    host: str,
    port: int,
    threads: int | None,
    config_path: Path | None,
    insecure_allow_small_keys: bool,
) -> None:
    """Serve the API until SIGTERM or SIGINT."""
    config = load_config(config_path)
    if threads is not None:
        config = config.model_copy(update={"threads": threads})
    if insecure_allow_small_keys:
        config = config.model_copy(update={"insecure_allow_small_keys": True})
    state = StateDirectory(state_path)
    # Before the lock: a directory that was never initialised gets no lock file.
    state.open_store().close()
    with state.locked():
        listener = listen(host, port)
        url = url_of(listener)

        def announce() -> None:
            click.echo(f"aggregator listening on {url}")
            sys.stdout.flush()

        serve(state, config, listener, on_ready=announce)
    _log.info("aggregator stopped")


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    click.echo(json.dumps(openapi_document(declared_endpoints()), indent=2))


@cli.group(no_args_is_help=False)
def runs() -> None:
    """Open, list, show and end runs at a running aggregator."""


def _client_options(command: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option(
            "--token-file",
            required=True,
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="File with the operator's token (DIR/operator.token).",
        ),
        click.option(
            "--url",
            default="http://127.0.0.1:8765",
            show_default=True,
            help="Address of the aggregator.",
        ),
    ):
        command = option(command)
    return command


@runs.command()
@_client_options
@click.option(
    "--spec",
    "spec_path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Run description, JSON (message RunSpec).",
)
def create(url: str, token_file: Path, spec_path: Path) -> None:
    """Open a run and print its id."""
    try:
        text = spec_path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"run description {spec_path} cannot be read: {error.strerror}; give a JSON file"
        ) from None
    spec = parse(RunSpec, text, source=str(spec_path))
    with OperatorClient(url, read_token(token_file)) as client:
        click.echo(client.create_run(spec).run_id)


@runs.command(name="list")
@_client_options
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
def list_command(url: str, token_file: Path, as_json: bool) -> None:
    """List all runs, newest first."""
    with OperatorClient(url, read_token(token_file)) as client:
        found = client.list_runs()
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    for status in found.runs:
        click.echo(
            f"{status.run_id}  {status.state:<8}  {len(status.members)}/{status.spec.cohort_size} "
            f"banks  {status.round_number} rounds  {status.spec.name}"
        )


@runs.command()
@_client_options
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
def show(url: str, token_file: Path, run_id: str, as_json: bool) -> None:
    """Show one run."""
    with OperatorClient(url, read_token(token_file)) as client:
        _print_status(client.show_run(run_id), as_json=as_json)


@runs.command()
@_client_options
@click.argument("run_id")
@click.option("--reason", required=True, help="Told to every bank.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
def abort(url: str, token_file: Path, run_id: str, reason: str, as_json: bool) -> None:
    """End a run for all its banks, without a model."""
    if not 1 <= len(reason) <= 2000:
        raise ConfigurationError(f"--reason has {len(reason)} characters, expected 1 to 2000")
    with OperatorClient(url, read_token(token_file)) as client:
        _print_status(client.abort_run(run_id, reason), as_json=as_json)


def _print_status(status: RunStatus, *, as_json: bool) -> None:
    if as_json:
        click.echo(status.model_dump_json(indent=2))
        return
    lines = {
        "run": status.run_id,
        "name": status.spec.name,
        "state": status.state.value,
        "banks": f"{', '.join(status.members) or '-'} ({len(status.members)} of "
        f"{status.spec.cohort_size})",
        "rounds closed": status.round_number,
        "ciphertexts": status.ciphertexts,
        "bytes received": status.bytes_received,
        "model": status.model_sha256 or "-",
        "failure": status.failure or "-",
    }
    for name, value in lines.items():
        click.echo(f"{name + ':':<16}{value}")


def main() -> NoReturn:
    """Entry point of the ``aggregator`` command."""
    run_command(cli, prog_name="aggregator")


if __name__ == "__main__":
    main()
