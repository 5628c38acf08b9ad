"""``data-gen describe``: tables on the terminal, plots as files."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from data_gen.commands.output import DescribedTable, Description
from data_gen.credit.describe import CreditSummary, describe_credit, summarise_credit
from data_gen.describing.describe import describe, table_of
from data_gen.describing.summary import Summary, summarise
from data_gen.schema.rules import CREDIT
from data_gen.writing.manifest import read_manifest
from fraudfed.console import answers, stdout_console
from fraudfed.errors import StateError


def _show(description: Description) -> None:
    console = stdout_console(own_text=True)
    for shown in description.tables:
        rows = {first: cells for first, *cells in shown.rows}
        console.print(table_of(shown.title, shown.columns[0], shown.columns[1:], rows))
    for path in description.plots:
        click.echo(path)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--plots",
    type=click.Path(path_type=Path),
    help="Directory to write plots to as SVG; files of the same names are replaced.",
)
@answers(Description, _show)
def describe_command(directory: Path, plots: Path | None) -> Description:
    """Print what a data set holds, and plot it."""
    manifest = read_manifest(directory)
    draw: Callable[[Path], list[Path]]
    if manifest["kind"] == CREDIT:
        credit = summarise_credit(directory, manifest)
        tables = describe_credit(manifest, credit)
        draw = functools.partial(_draw_credit, credit, manifest)
    else:
        summary = summarise(directory, manifest)
        tables = describe(manifest, summary)
        draw = functools.partial(_draw, summary, manifest)
    return Description(
        directory=str(directory),
        manifest=manifest,
        tables=tuple(DescribedTable.of(table) for table in tables),
        plots=() if plots is None else _plotted(plots, draw),
    )


def _plotted(plots: Path, draw: Callable[[Path], list[Path]]) -> tuple[str, ...]:
    try:
        plots.mkdir(parents=True, exist_ok=True)
        return tuple(str(path) for path in draw(plots))
    except OSError as error:
        raise StateError(
            f"{plots}: cannot be written ({error.strerror})",
            what_to_do="choose another --plots",
        ) from error


# Importing matplotlib takes half a second and 40 MB, so only plots import it.
def _draw(summary: Summary, manifest: Mapping[str, Any], directory: Path) -> list[Path]:
    from data_gen.describing.plots import save_plots

    return save_plots(summary, manifest, directory)


def _draw_credit(
    summary: CreditSummary, manifest: Mapping[str, Any], directory: Path
) -> list[Path]:
    from data_gen.credit.plots import save_credit_plots

    return save_credit_plots(summary, manifest, directory)
