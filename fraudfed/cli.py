"""``fraudfed``: demo, bench and tools."""

from pathlib import Path

import click

from fraudfed import __version__
from fraudfed.bench.parity import parity_command
from fraudfed.console import run_command
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.demo.command import demo_command

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fraudfed")
def cli() -> None:
    """Train one fraud model across banks over an encrypted sum: demo, bench and tools."""


@cli.group()
def bench() -> None:
    """Measure fraudfed against a reference in the same run."""


@cli.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write the key package to; only you will be able to read it.",
)
@click.option(
    "--key-bits",
    type=click.IntRange(min=2048),
    default=3072,
    show_default=True,
    help="Size of the Paillier modulus; 3072 gives 128-bit security, 2048 gives 112.",
)
def keygen(out: Path, key_bits: int) -> None:
    """Make a consortium's key package: Paillier key pair and consortium secret.

    One bank runs this and hands the file to the other banks over a channel they trust, never to
    the aggregator. Whoever holds it can open the sums of the runs it is used in.
    """
    package = KeyPackage.generate(key_bits)
    package.save(out)
    click.echo(f"key package   {out}")
    click.echo(f"key bits      {package.public_key.key_bits}")
    click.echo(f"fingerprint   {package.public_key.fingerprint}")


bench.add_command(parity_command, name="parity")
cli.add_command(demo_command, name="demo")


def main() -> None:
    """Entry point of the ``fraudfed`` command."""
    run_command(cli, prog_name="fraudfed")


if __name__ == "__main__":
    main()
