"""``data-gen generate`` and ``data-gen presets``."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
from data_gen.writing.partitions import PARTITION_ROWS
from data_gen.writing.progress_bar import progress_bar
from data_gen.writing.table_files import FORMATS
from fraudfed.console import answers, examples, stderr_console, stdout_console
from fraudfed.errors import ConfigurationError

if TYPE_CHECKING:
    from data_gen.writing.dask_pool import DaskPool

PROCESSES: Final = "processes"
DASK: Final = "dask"


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
        "data-gen generate --out world --preset retail --engine dask --workers 4",
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
    "--engine",
    type=click.Choice([PROCESSES, DASK]),
    default=PROCESSES,
    show_default=True,
    help="Where it is made: in processes of this machine, or on a Dask cluster, in partitions.",
)
@click.option(
    "--workers",
    type=int,
    help="Processes; the bytes are the same.  [default: 1; with --scheduler, those it has]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="With --engine dask: a cluster that runs already, as tls://host:8786.",
)
@click.option(
    "--dask-tls",
    metavar="CA,CERT,KEY",
    help="With --scheduler: three PEM files, with commas between.",
)
@click.option(
    "--dask-insecure",
    is_flag=True,
    help="With --scheduler: allow a cluster that anybody on the network can run code on.",
)
@click.option(
    "--partition-rows",
    type=int,
    help="Write each bank as Parquet files of whole days, about so many rows each.  "
    f"[default: one file a bank; with --engine dask {PARTITION_ROWS}]",
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
    engine: str,
    workers: int | None,
    scheduler: str | None,
    dask_tls: str | None,
    dask_insecure: bool,
    partition_rows: int | None,
    force: bool,
    quiet: bool,
) -> Generated:
    """Generate a data set: one directory per bank, and manifest.json."""
    pool = _cluster(engine, scheduler, workers, tls=dask_tls, insecure=dask_insecure)
    if pool is not None and partition_rows is None:
        partition_rows = PARTITION_ROWS
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
        if pool is not None or partition_rows is not None:
            raise ConfigurationError(
                f"preset {preset!r} is made in seconds, in one file a bank; leave out "
                "--engine dask and --partition-rows"
            )
        # This process makes it in seconds, so the number of workers does not matter.
        manifest = write_credit(config, out, formats=formats, force=force, preset=preset)
        positive_rows = manifest["default_rows"]
    else:
        with progress_bar(stderr_console(quiet=quiet, own_text=True)) as on_progress:
            manifest = write(
                config,
                out,
                formats=formats,
                workers=1 if workers is None else workers,
                pool=pool,
                partition_rows=partition_rows,
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


def _cluster(
    engine: str, scheduler: str | None, workers: int | None, *, tls: str | None, insecure: bool
) -> "DaskPool | None":
    """Return the cluster that options name; None for processes of this machine."""
    if engine == PROCESSES:
        given = {"--scheduler": scheduler, "--dask-tls": tls, "--dask-insecure": insecure}
        for option, value in given.items():
            if value:
                raise ConfigurationError(
                    f"{option}: is for --engine dask; give it, or leave it out"
                )
        return None
    from data_gen.writing.dask_pool import DaskPool
    from fraudfed.dask_engine.options import ClusterOptions, TlsFiles

    return DaskPool(
        ClusterOptions(
            scheduler=scheduler,
            workers=workers,
            tls=None if tls is None else TlsFiles.parse(tls),
            insecure=insecure,
        )
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
