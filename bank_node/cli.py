"""The command ``bank-node``; documented in docs/bank-node.md."""

import sys
from typing import NoReturn

import click

from bank_node.commands.audit import audit
from bank_node.commands.calibrate import calibrate
from bank_node.commands.data import check_data, features
from bank_node.commands.deciding.decisions import decisions
from bank_node.commands.deciding.explain import explain
from bank_node.commands.deciding.outcomes import outcomes
from bank_node.commands.deciding.policy import policy
from bank_node.commands.evaluate import evaluate
from bank_node.commands.keys import keys
from bank_node.commands.members import join, roster
from bank_node.commands.options import Output
from bank_node.commands.risk import risk
from bank_node.commands.run import status, train
from bank_node.commands.runs import runs
from bank_node.commands.score import score
from bank_node.commands.search import search
from bank_node.commands.serving.adopt import adopt
from bank_node.commands.serving.models import models
from bank_node.commands.serving.monitor import monitor, monitor_run
from bank_node.commands.serving.pages import pages
from bank_node.commands.serving.serve import serve
from bank_node.commands.serving.share import share
from bank_node.commands.serving.track import track
from bank_node.commands.statistics import statistics
from bank_node.logs import LOG_LEVELS, configure_logging
from fraudfed import __version__
from fraudfed.console import examples, run_command, schemas_option, stderr_console
from fraudfed.hardening import keep_memory_private


@click.group(
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


for _command in (
    *(join, roster, keys, runs, check_data, features),
    *(statistics, train, search, evaluate, models, track, adopt),
    *(policy, decisions, outcomes, explain, monitor, serve),
    *(status, score, calibrate, risk, audit, monitor_run),
    *(pages,),
):
    cli.add_command(_command)
runs.add_command(share)


def main() -> NoReturn:
    """Run the command line; entry point of ``bank-node``."""
    keep_memory_private()
    run_command(cli, prog_name="bank-node")


if __name__ == "__main__":
    sys.exit(main())
