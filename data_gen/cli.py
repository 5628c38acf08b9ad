"""Command line of the generator: ``data-gen generate`` and ``data-gen describe``."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_gen.config import WorldConfig
from data_gen.describe import describe as describe_tables
from data_gen.errors import DataGenError
from data_gen.manifest import read_manifest
from data_gen.output import FORMATS, write
from data_gen.presets import PRESETS
from data_gen.version import GENERATOR_VERSION

__all__ = ["cli", "main"]

# Width of tables that do not go to a terminal, so that a pipe shows every column in full.
PIPE_COLUMNS: Final = 140


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(GENERATOR_VERSION, prog_name="data-gen")
def cli() -> None:
    """Make synthetic transactions of several banks that share merchants and payees."""


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to make.")
@click.option(
    "--preset",
    type=click.Choice(sorted(PRESETS)),
    default="small",
    show_default=True,
    help="Configuration to start from; the other options change it.",
)
@click.option("--seed", type=int, help="Name of the world: same seed, same bytes.")
@click.option("--banks", type=int, help="Number of banks.")
@click.option("--customers", type=int, help="Customers of all banks together.")
@click.option("--days", type=int, help="Length of the period in days.")
@click.option("--fraud-rate", type=float, help="Share of fraudulent transactions, 0 to 0.05.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice([*FORMATS, "both"]),
    default="parquet",
    show_default=True,
    help="Files to write per bank.",
)
@click.option(
    "--workers", type=int, default=1, show_default=True, help="Processes; the bytes are the same."
)
@click.option("--force", is_flag=True, help="Replace a data set that is already in --out.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def generate(
    out: Path,
    preset: str,
    seed: int | None,
    banks: int | None,
    customers: int | None,
    days: int | None,
    fraud_rate: float | None,
    file_format: str,
    workers: int,
    force: bool,
    quiet: bool,
) -> None:
    """Generate a world and write one directory per bank, and manifest.json."""
    config = PRESETS[preset].replace(
        seed=seed, banks=banks, customers=customers, days=days, fraud_rate=fraud_rate
    )
    formats = FORMATS if file_format == "both" else (file_format,)

    def run(on_progress: Callable[[int], None] | None) -> None:
        write(
            config,
            out,
            formats=formats,
            workers=workers,
            force=force,
            preset=preset,
            on_progress=on_progress,
        )

    if quiet:
        run(None)
        return
    _with_progress_bar(config, run)
    manifest = read_manifest(out)
    click.echo(
        f"{out}: {manifest['rows']:,} transactions of {len(manifest['banks'])} banks, "
        f"{manifest['fraud_rows']:,} fraudulent",
        err=True,
    )


def _with_progress_bar(config: WorldConfig, run: Callable[[Callable[[int], None]], None]) -> None:
    columns = (
        TextColumn("customers"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # In a log or a pipe a bar is noise.
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("customers", total=config.customers)

        def advance(count: int) -> None:
            progress.advance(task, count)

        run(advance)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
def describe(directory: Path) -> None:
    """Print per bank what a data set holds: rows, period, fraud by kind, channels."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    for table in describe_tables(read_manifest(directory)):
        console.print(table)


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
