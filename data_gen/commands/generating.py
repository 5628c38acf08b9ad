"""``data-gen generate`` and ``data-gen presets``."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from data_gen.catalogue import ALL_PRESETS, PURPOSES
from data_gen.commands.output import Generated, Preset, Presets
from data_gen.credit.config import CreditConfig
from data_gen.credit.output import write_credit
from data_gen.describing.describe import table_of
from data_gen.schema.rules import CREDIT, TRANSACTIONS
from data_gen.settings.config import WorldConfig
from data_gen.settings.dials import parse_dials
from data_gen.writing.output import write
from data_gen.writing.progress_bar import progress_bar
from data_gen.writing.table_files import FORMATS
from fraudfed.console import answers, examples, stderr_console, stdout_console
from fraudfed.errors import ConfigurationError


def _show_generated(generated: Generated) -> None:
    if click.get_current_context().params["quiet"]:
        return
    rows, labels = {
        TRANSACTIONS: ("transactions", "labelled as fraud"),
        CREDIT: ("applications", "defaults"),
    }[generated.kind]
    click.echo(
        f"{generated.out}: {generated.rows:,} {rows} of {len(generated.banks)} banks, "
        f"{generated.positive_rows:,} {labels}",
        err=True,
    )


@click.command(
    epilog=examples(
        "data-gen generate --out world",
        "data-gen generate --out world --preset retail --workers 2 --format csv",
        "data-gen generate --out world --seed 7 --set fraud_travel=0.25",
    )
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to create.")
@click.option(
    "--preset",
    type=click.Choice(list(ALL_PRESETS)),
    default="small",
    show_default=True,
    help="Configuration to start from; other options override it.",
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
@answers(Generated, _show_generated)
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
) -> Generated:
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
        # This process makes it in seconds, so the number of workers does not matter.
        manifest = write_credit(config, out, formats=formats, force=force, preset=preset)
        positive_rows = manifest["default_rows"]
    else:
        with progress_bar(stderr_console(quiet=quiet, own_text=True)) as on_progress:
            manifest = write(
                config,
                out,
                formats=formats,
                workers=workers,
                force=force,
                preset=preset,
                on_progress=on_progress,
            )
        positive_rows = manifest["fraud_rows"]
    return Generated(
        out=str(out),
        kind=manifest["kind"],
        preset=preset,
        seed=manifest["seed"],
        rows=manifest["rows"],
        positive_rows=positive_rows,
        banks=tuple(bank["name"] for bank in manifest["banks"]),
        content_sha256=manifest["content_sha256"],
    )


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


def _show_presets(presets: Presets) -> None:
    rows = {
        one.name: [str(one.banks), f"{one.customers:,}", str(one.days), one.purpose]
        for one in presets.presets
    }
    heads = ("banks", "customers", "days", "for")
    table = table_of("presets of data-gen generate", "preset", heads, rows)
    table.columns[-1].justify = "left"
    stdout_console(own_text=True).print(table)


@click.command()
@answers(Presets, _show_presets)
def presets_command() -> Presets:
    """List the presets and their purposes."""
    return Presets(
        presets=tuple(
            Preset(
                name=name,
                banks=config.banks,
                customers=config.customers,
                days=config.days,
                purpose=PURPOSES[name],
            )
            for name, config in ALL_PRESETS.items()
        )
    )
