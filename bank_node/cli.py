"""The command ``bank-node``; documented in docs/bank-node.md."""

import json
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
from rich.console import Console

from bank_node.client import AggregatorClient
from bank_node.config import DEFAULT_MIN_COHORT, BankConfig
from bank_node.logs import LOG_LEVELS, configure_logging, stderr_console
from bank_node.membership import join_run, register
from bank_node.progress import TrainingProgress
from bank_node.report import print_data_report, print_status, status_report
from bank_node.secure_communicator import DEFAULT_ROUND_TIMEOUT_SECONDS
from bank_node.state import StateDirectory
from fraudfed import __version__
from fraudfed.console import run_command
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.wire.messages import BankName

__all__ = ["EXIT_TERMINATED", "cli", "main"]

_log = logging.getLogger(__name__)

#: 128 + SIGTERM, what a shell expects of a terminated command.
EXIT_TERMINATED = 143

_PATH = click.Path(path_type=Path)
_COHORT = click.IntRange(min=1, max=1000)
_SECONDS = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True)
class _Output:
    """How the command talks to the person or program that started it."""

    quiet: bool
    console: Console
    progress: bool

    def say(self, text: str) -> None:
        """Print a result unless ``--quiet``."""
        if not self.quiet:
            click.echo(text)


_state_option = click.option(
    "--state", "path", type=_PATH, required=True, help="State directory of the bank."
)
_data_option = click.option(
    "--data", type=_PATH, required=True, help="The bank's data, .csv or .parquet."
)
_min_cohort_option = click.option(
    "--min-cohort",
    type=_COHORT,
    default=None,
    help="Smallest cohort to take part in; overrides min_cohort of bank.toml.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bank-node")
@click.option("--quiet", is_flag=True, help="No progress bar, results or informational text.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log as text, or as one JSON object per line; on stderr either way.",
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default=None,
    help="Least severe records to log.  [default: info; warning for text with --quiet]",
)
@click.pass_context
def cli(context: click.Context, quiet: bool, log_format: str, log_level: str | None) -> None:
    """Take part in training a shared fraud model. The bank's rows never leave this machine."""
    console = stderr_console()
    as_json = log_format == "json"
    level = log_level or ("warning" if quiet and not as_json else "info")
    configure_logging(log_format=log_format, level=level, console=console)
    progress = console.is_terminal and not quiet and not as_json
    context.obj = _Output(quiet=quiet, console=console, progress=progress)


@cli.command()
@_state_option
@click.option("--name", required=True, help="Name of the bank: a-z, 0-9, - and _.")
@click.option("--key-package", type=_PATH, required=True, help="Key package of the consortium.")
@click.option(
    "--min-cohort",
    type=_COHORT,
    default=DEFAULT_MIN_COHORT,
    show_default=True,
    help="Smallest cohort this bank takes part in.",
)
@click.pass_obj
def init(output: _Output, path: Path, name: str, key_package: Path, min_cohort: int) -> None:
    """Make the state directory of a bank."""
    config = BankConfig(name=_bank_name(name), min_cohort=min_cohort)
    package = KeyPackage.load(key_package)
    StateDirectory.create(path, config, package)
    output.say(f"{path}: state directory of bank {name}, key package {package.fingerprint}")


@cli.command()
@_state_option
@click.option("--aggregator", required=True, help="URL of the aggregator; https, or loopback.")
@click.option("--run", "run_id", default=None, help="Run to join.  [default: the only open one]")
@_min_cohort_option
@click.pass_obj
def join(
    output: _Output, path: Path, aggregator: str, run_id: str | None, min_cohort: int | None
) -> None:
    """Register at the aggregator and join a run."""
    state = StateDirectory(path)
    with state.locked():
        register(state, aggregator)
        url, token = state.config.aggregator, state.token()
        with AggregatorClient(url or aggregator, token=token) as client:
            least = state.config.min_cohort if min_cohort is None else min_cohort
            status = join_run(state, client, run_id, min_cohort=least)
    if status is None:
        output.say(f"bank {state.config.name} is registered; no run is open yet")
    else:
        output.say(
            f"bank {state.config.name} joined run {status.run_id} ({status.spec.name}): "
            f"{len(status.members)} of {status.spec.cohort_size} banks are in"
        )


@cli.command("check-data")
@_state_option
@_data_option
@click.pass_obj
def check_data(output: _Output, path: Path, data: Path) -> None:
    """Check a file against the run's data contract; sends nothing."""
    from bank_node.data_contract import load_training_rows

    _, spec = StateDirectory(path).current_run()
    rows = load_training_rows(data, spec.contract)
    if not output.quiet:
        print_data_report(Console(), data, rows)


@cli.command()
@_state_option
@_data_option
@_min_cohort_option
@click.option(
    "--round-timeout",
    type=_SECONDS,
    default=DEFAULT_ROUND_TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds to wait for the other banks within a round.",
)
@click.option(
    "--cohort-timeout",
    type=_SECONDS,
    default=None,
    help="Seconds to wait for the cohort to be complete.  [default: no limit]",
)
@click.pass_obj
def train(
    output: _Output,
    path: Path,
    data: Path,
    min_cohort: int | None,
    round_timeout: float,
    cohort_timeout: float | None,
) -> None:
    """Train the run's model together with the other banks."""
    from bank_node.training import TrainingOptions, train_run

    signal.signal(signal.SIGTERM, _terminate)
    state = StateDirectory(path)
    options = TrainingOptions(
        data=data,
        min_cohort=min_cohort,
        round_timeout_seconds=round_timeout,
        cohort_timeout_seconds=cohort_timeout,
    )
    with state.locked(), TrainingProgress(output.console, enabled=output.progress) as progress:
        record = train_run(state, options, progress)
    output.say(
        f"run {record['run_id']}: {record['trees']} trees, {record['rounds']} rounds, "
        f"{record['ciphertexts']} ciphertexts sent; model accepted, sha256 "
        f"{record['model_sha256']}"
    )


@cli.command()
@_state_option
@_data_option
@click.option("--out", type=_PATH, required=True, help="File to write, .csv or .parquet.")
@click.option(
    "--model", type=_PATH, default=None, help="Model file.  [default: the run's accepted model]"
)
@click.pass_obj
def score(output: _Output, path: Path, data: Path, out: Path, model: Path | None) -> None:
    """Score a file with the trained model; needs no network."""
    # xgboost takes a second to import, which no other command needs.
    from bank_node.scoring import score_file

    state = StateDirectory(path)
    run_id, spec = state.current_run()
    chosen = state.model_path(run_id) if model is None else model
    count = score_file(data, out, model=chosen, contract=spec.contract)
    output.say(f"{out}: {count} scores")


@cli.command()
@_state_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(path: Path, as_json: bool) -> None:
    """Show what this bank knows of itself and its run."""
    report = status_report(StateDirectory(path))
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        print_status(Console(), report)


def main() -> NoReturn:
    """Run the command line; entry point of ``bank-node``."""
    run_command(cli, prog_name="bank-node")


def _terminate(_number: int, _frame: FrameType | None) -> None:
    # As an exception it passes through the code that tells the other banks.
    raise SystemExit(EXIT_TERMINATED)


def _bank_name(name: str) -> BankName:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(BankName).validate_python(name)
    except ValidationError:
        raise click.BadParameter(
            f"{name!r} is no bank name; use up to 63 of a-z, 0-9, - and _, beginning with a "
            "letter or digit",
            param_hint="--name",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
