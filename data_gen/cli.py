"""Command line of the generator: make data sets, say what is in them, check them."""

import sys

import click

from data_gen.commands.checking import schema_command, validate_command
from data_gen.commands.describing import describe_command
from data_gen.commands.generating import generate_command, presets_command
from data_gen.errors import DataGenError
from data_gen.version import GENERATOR_VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(GENERATOR_VERSION, prog_name="data-gen")
def cli() -> None:
    """Make synthetic data of several banks that share merchants, payees and applicants."""


cli.add_command(generate_command, name="generate")
cli.add_command(presets_command, name="presets")
cli.add_command(describe_command, name="describe")
cli.add_command(validate_command, name="validate")
cli.add_command(schema_command, name="schema")


def main() -> None:
    """Run the command; an error of ours is one line on stderr and its exit code."""
    try:
        cli(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except DataGenError as error:
        click.echo(f"data-gen: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"data-gen: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("data-gen: interrupted, nothing was written", err=True)
        sys.exit(130)
