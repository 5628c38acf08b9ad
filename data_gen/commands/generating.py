"""``data-gen generate`` and ``data-gen presets``."""

import dataclasses
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from data_gen.catalogue import ALL_PRESETS, PURPOSES
from data_gen.commands.terminal import table_console
from data_gen.config import WorldConfig
from data_gen.credit.config import CreditConfig
from data_gen.credit.output import write_credit
from data_gen.describing.describe import table_of
from data_gen.dials import parse_dials
from data_gen.errors import ConfigurationError
from data_gen.output import write
from data_gen.progress_bar import progress_bar
from data_gen.writing.table_files import FORMATS


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to make.")
@click.option(
    "--preset",
    type=click.Choice(list(ALL_PRESETS)),
    default="small",
    show_default=True,
    help="Configuration to start from; the other options change it.",
)
@click.option("--seed", type=int, help="Name of the data set: same seed, same bytes.")
@click.option("--banks", type=int, help="Number of banks.")
@click.option("--customers", type=int, help="Customers of all banks together.")
@click.option("--days", type=int, help="Length of the period in days.")
@click.option(
    "--fraud-rate", type=float, help="Share of fraudulent transactions, 0 to 0.05; not for credit."
)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any dial of the configuration; may be given several times.",
)
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
def generate_command(
    out: Path,
    preset: str,
    seed: int | None,
    banks: int | None,
    customers: int | None,
    days: int | None,
    fraud_rate: float | None,
    settings: tuple[str, ...],
    file_format: str,
    workers: int,
    force: bool,
    quiet: bool,
) -> None:
    """Generate a data set: one directory per bank, and manifest.json."""
    formats = FORMATS if file_format == "both" else (file_format,)
    named = {
        "seed": seed,
        "banks": banks,
        "customers": customers,
        "days": days,
        "fraud_rate": fraud_rate,
    }
    config = _configured(ALL_PRESETS[preset], preset, named, settings)
    if isinstance(config, CreditConfig):
        # Made by this process in seconds, whatever the number of workers.
        manifest = write_credit(config, out, formats=formats, force=force, preset=preset)
        said = f"{manifest['rows']:,} applications of {len(manifest['banks'])} banks, "
        said += f"{manifest['default_rows']:,} defaults"
    else:
        with progress_bar(Console(stderr=True, quiet=quiet)) as on_progress:
            manifest = write(
                config,
                out,
                formats=formats,
                workers=workers,
                force=force,
                preset=preset,
                on_progress=on_progress,
            )
        said = f"{manifest['rows']:,} transactions of {len(manifest['banks'])} banks, "
        said += f"{manifest['fraud_rows']:,} labelled as fraud"
    if not quiet:
        click.echo(f"{out}: {said}", err=True)


def _configured(
    start: WorldConfig | CreditConfig,
    preset: str,
    named: dict[str, Any],
    settings: tuple[str, ...],
) -> WorldConfig | CreditConfig:
    """Return a preset with the dials that options and ``--set`` name."""
    given = {name: value for name, value in named.items() if value is not None}
    fields = {field.name for field in dataclasses.fields(start)}
    for name in given:
        if name not in fields:
            raise ConfigurationError(
                f"--{name.replace('_', '-')}: does not apply to preset {preset!r}; leave it out"
            )
    dials = parse_dials(type(start), settings)
    for name in dials:
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(f"--set: {name} is given as {option} as well, expected once")
    return dataclasses.replace(start, **given, **dials)


@click.command()
def presets_command() -> None:
    """List the presets with what each is for."""
    rows = {
        name: [str(config.banks), f"{config.customers:,}", str(config.days), PURPOSES[name]]
        for name, config in ALL_PRESETS.items()
    }
    table = table_of("presets of data-gen generate", "preset", _PRESET_HEADS, rows)
    table.columns[-1].justify = "left"
    table_console().print(table)


_PRESET_HEADS = ("banks", "customers", "days", "for")
