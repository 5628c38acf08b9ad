"""Command line of the generator: make data sets, say what is in them, check them."""

from typing import NoReturn

import click

from data_gen.commands.checking import schema_command, validate_command
from data_gen.commands.describing import describe_command
from data_gen.commands.generating import generate_command, presets_command
from data_gen.version import GENERATOR_VERSION
from fraudfed.console import examples, run_command, schemas_option


@click.group(
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


cli.add_command(generate_command, name="generate")
cli.add_command(presets_command, name="presets")
cli.add_command(describe_command, name="describe")
cli.add_command(validate_command, name="validate")
cli.add_command(schema_command, name="schema")


def main() -> NoReturn:
    """Entry point of the ``data-gen`` command."""
    run_command(cli, prog_name="data-gen")
