"""``data-gen describe``: tables on the terminal, plots as files."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from data_gen.commands.terminal import table_console
from data_gen.credit.describe import CreditSummary, describe_credit, summarise_credit
from data_gen.describing.describe import describe
from data_gen.describing.summary import Summary, summarise
from data_gen.errors import OutputError
from data_gen.manifest import CREDIT, read_manifest


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--plots",
    type=click.Path(path_type=Path),
    help="Directory to write plots to as SVG; files of the same names are replaced.",
)
def describe_command(directory: Path, plots: Path | None) -> None:
    """Print what a data set holds, and plot it."""
    manifest = read_manifest(directory)
    console = table_console()
    draw: Callable[[Path], list[Path]]
    if manifest["kind"] == CREDIT:
        credit = summarise_credit(directory, manifest)
        tables = describe_credit(manifest, credit)
        draw = functools.partial(_draw_credit, credit, manifest)
    else:
        summary = summarise(directory, manifest)
        tables = describe(manifest, summary)
        draw = functools.partial(_draw, summary, manifest)
    for table in tables:
        console.print(table)
    if plots is None:
        return
    try:
        plots.mkdir(parents=True, exist_ok=True)
        paths = draw(plots)
    except OSError as error:
        raise OutputError(
            f"{plots}: cannot be written ({error.strerror}); choose another --plots"
        ) from error
    for path in paths:
        click.echo(str(path))


# Importing matplotlib takes half a second and 40 MB in every process, which only plots need.
def _draw(summary: Summary, manifest: Mapping[str, Any], directory: Path) -> list[Path]:
    from data_gen.describing.plots import save_plots

    return save_plots(summary, manifest, directory)


def _draw_credit(
    summary: CreditSummary, manifest: Mapping[str, Any], directory: Path
) -> list[Path]:
    from data_gen.credit.plots import save_credit_plots

    return save_credit_plots(summary, manifest, directory)
