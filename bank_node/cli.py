"""The command ``bank-node``; documented in docs/bank-node.md."""

import sys
from typing import NoReturn

import click

from bank_node.commands.options import Output
from bank_node.logs import LOG_LEVELS, configure_logging
from fraudfed import __version__
from fraudfed.console import CommandsOnDemand, examples, run_command, schemas_option, stderr_console
from fraudfed.machine.hardening import keep_memory_private

#: Where each command is.
_COMMANDS = {
    "join": "bank_node.commands.members:join",
    "roster": "bank_node.commands.members:roster",
    "keys": "bank_node.commands.keys:keys",
    "runs": "bank_node.commands.runs:runs",
    "check-data": "bank_node.commands.data:check_data",
    "features": "bank_node.commands.data:features",
    "statistics": "bank_node.commands.statistics:statistics",
    "train": "bank_node.commands.training.run:train",
    "search": "bank_node.commands.training.search:search",
    "evaluate": "bank_node.commands.evaluate:evaluate",
    "models": "bank_node.commands.serving.models:models",
    "track": "bank_node.commands.serving.track:track",
    "policy": "bank_node.commands.deciding.policy:policy",
    "decisions": "bank_node.commands.deciding.decisions:decisions",
    "outcomes": "bank_node.commands.deciding.outcomes:outcomes",
    "explain": "bank_node.commands.deciding.explain:explain",
    "monitor": "bank_node.commands.serving.monitor:monitor",
    "serve": "bank_node.commands.serving.serve:serve",
    "status": "bank_node.commands.training.run:status",
    "score": "bank_node.commands.score:score",
    "calibrate": "bank_node.commands.calibrate:calibrate",
    "risk": "bank_node.commands.risk.command:risk",
    "audit": "bank_node.commands.audit:audit",
    "privacy": "bank_node.commands.privacy:privacy",
    "monitor-run": "bank_node.commands.serving.monitor:monitor_run",
    "pages": "bank_node.commands.serving.pages:pages",
    "adopt": "bank_node.commands.serving.adopt:adopt",
}


@click.group(
    commands=CommandsOnDemand(_COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "bank-node join --state bank-a --name bank-a --aggregator URL --invite CODE",
        "bank-node keys accept --state bank-a",
        "bank-node train --state bank-a --data payments.parquet",
        "bank-node score --state bank-a --data new.parquet --out scores.csv",
    ),
)
@click.version_option(__version__, prog_name="bank-node")
@schemas_option
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
    context.obj = Output(quiet=quiet, console=console, progress=progress)


def main() -> NoReturn:
    """Run the command line; entry point of ``bank-node``."""
    keep_memory_private()
    run_command(cli, prog_name="bank-node")


if __name__ == "__main__":
    sys.exit(main())
