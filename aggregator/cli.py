"""The command ``aggregator``. Exit codes are those of ``fraudfed.errors``."""

from typing import NoReturn

import click

from aggregator.monitoring.logs import LogFormat, configure_logging
from fraudfed import __version__
from fraudfed.console import CommandsOnDemand, examples, run_command, schemas_option
from fraudfed.machine.hardening import keep_memory_private

#: Where each command is.
_COMMANDS = {
    "init": "aggregator.commands.state:init",
    "migrate": "aggregator.commands.state:migrate",
    "backup": "aggregator.commands.state:backup",
    "serve": "aggregator.commands.serve:serve",
    "openapi": "aggregator.commands.serve:openapi",
    "tokens": "aggregator.commands.tokens:tokens",
    "audit": "aggregator.commands.audit:audit",
    "invites": "aggregator.commands.members:invites",
    "banks": "aggregator.commands.members:banks",
    "epochs": "aggregator.commands.members:epochs",
    "runs": "aggregator.commands.runs:runs",
}


@click.group(
    commands=CommandsOnDemand(_COMMANDS),
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


def main() -> NoReturn:
    """Entry point of the ``aggregator`` command."""
    keep_memory_private()
    run_command(cli, prog_name="aggregator")


if __name__ == "__main__":
    main()
