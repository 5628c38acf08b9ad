"""Command line of the generator: make data sets, say what is in them, check them."""

from typing import NoReturn

import click

from data_gen.version import GENERATOR_VERSION
from fraudfed.console import CommandsOnDemand, examples, run_command, schemas_option

#: Where each command is.
_COMMANDS = {
    "generate": "data_gen.commands.generating:generate_command",
    "presets": "data_gen.commands.generating:presets_command",
    "describe": "data_gen.commands.describing:describe_command",
    "validate": "data_gen.commands.checking:validate_command",
    "schema": "data_gen.commands.checking:schema_command",
}


@click.group(
    commands=CommandsOnDemand(_COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "data-gen generate --out world    # five banks, in a second",
        "data-gen describe world          # what is in it",
        "data-gen validate world          # is it as the published schema says?",
    ),
)
@click.version_option(GENERATOR_VERSION, prog_name="data-gen")
@schemas_option
def cli() -> None:
    """Make synthetic data of several banks that share merchants, payees and applicants."""


def main() -> NoReturn:
    """Entry point of the ``data-gen`` command."""
    run_command(cli, prog_name="data-gen")
