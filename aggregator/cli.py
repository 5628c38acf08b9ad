"""The command ``aggregator``. Exit codes are those of ``fraudfed.errors``."""

from typing import NoReturn

import click

from aggregator.commands.audit import audit
from aggregator.commands.create_monitor import create_monitor_run
from aggregator.commands.create_search import create_search_run
from aggregator.commands.create_statistics import create_statistics_run
from aggregator.commands.members import banks, epochs, invites
from aggregator.commands.runs import runs
from aggregator.commands.serve import openapi, serve
from aggregator.commands.state import backup, init, migrate
from aggregator.commands.tokens import tokens
from aggregator.monitoring.logs import LogFormat, configure_logging
from fraudfed import __version__
from fraudfed.console import examples, run_command, schemas_option
from fraudfed.hardening import keep_memory_private


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "aggregator init --state DIR",
        "aggregator serve --state DIR",
        "export AGGREGATOR_TOKEN_FILE=DIR/operator.token",
        "aggregator invites create --name bank-a",
        "aggregator runs create-training --train-until 2026-06-30",
    ),
)
@click.version_option(__version__, prog_name="aggregator")
@schemas_option
@click.option("--quiet", is_flag=True, help="Log warnings and errors only.")
@click.option(
    "--log-format",
    type=click.Choice([item.value for item in LogFormat]),
    default=LogFormat.TEXT.value,
    show_default=True,
    help="Log lines for people, or one JSON object each; on stderr either way.",
)
def cli(quiet: bool, log_format: str) -> None:
    """Combine the ciphertexts of banks and keep runs and models."""
    configure_logging(LogFormat(log_format), quiet=quiet)


for _command in (
    *(init, migrate, backup, serve, openapi, tokens, audit),
    *(invites, banks, epochs, runs),
):
    cli.add_command(_command)
runs.add_command(create_statistics_run)
runs.add_command(create_monitor_run)
runs.add_command(create_search_run)


def main() -> NoReturn:
    """Entry point of the ``aggregator`` command."""
    keep_memory_private()
    run_command(cli, prog_name="aggregator")


if __name__ == "__main__":
    main()
