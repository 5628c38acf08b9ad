"""``fraudfed bench generate``: what `data-gen generate` takes, beside pyarrow's writing alone.

The reference writes the same rows, ready in memory, to Parquet with the same compression: no
generator that ends in Parquet takes less.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import pyarrow.parquet as pq

from fraudfed.errors import ConfigurationError
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import figures_of, number_option
from fraudfed.lab.bench.process_tree import run_command_measured

_DATA_GEN = (sys.executable, "-c", "from data_gen.cli import main; main()")


@dataclass(frozen=True)
class GenerateFigures:
    """Everything measured.

    Attributes
    ----------
    preset : str
    rows, banks, customers, days, seed, workers : int
    bytes_written : int
        Of all Parquet files.
    seconds, cpu_seconds : float
        Of the whole command, start-up included; CPU time of all processes.
    rows_per_second, rows_per_second_and_core : float
        By wall time, and by CPU time.
    peak_memory_bytes : int
        Of all processes together.
    reference_seconds : float
        CPU time in which pyarrow writes the same rows to Parquet.
    ratio : float
        ``cpu_seconds`` over ``reference_seconds``.
    date : str
        When it began, ISO 8601, UTC.
    load_average : float
        Of the minute before.
    machine : Machine
    """

    preset: str
    rows: int
    banks: int
    customers: int
    days: int
    seed: int
    workers: int
    bytes_written: int
    seconds: float
    cpu_seconds: float
    rows_per_second: float
    rows_per_second_and_core: float
    peak_memory_bytes: int
    reference_seconds: float
    ratio: float
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a report for the terminal."""
        lines = [
            f"world     {self.preset}, seed {self.seed}: {self.rows:,} rows of {self.banks} banks, "
            f"{self.customers:,} customers, {self.days} days, {self.bytes_written / 1e6:.0f} MB",
            f"time      {self.seconds:.1f} s with {self.workers} workers, {self.cpu_seconds:.1f} s "
            "of CPU, start-up included",
            f"speed     {self.rows_per_second:,.0f} rows a second, "
            f"{self.rows_per_second_and_core:,.0f} a second and core",
            f"memory    {self.peak_memory_bytes / 2**20:.0f} MiB at the peak, all processes",
            f"pyarrow   writes the same rows in {self.reference_seconds:.1f} s of CPU: "
            f"ratio {self.ratio:.1f}",
            f"before    {self.date}, load average {self.load_average:.2f}",
        ]
        return "\n".join([*lines, *self.machine.to_lines()])


def run_generate(
    *, preset: str, customers: int | None, days: int | None, seed: int, workers: int, work: Path
) -> GenerateFigures:
    """Generate a world in ``work`` and measure it.

    Parameters
    ----------
    preset : str
    customers, days : int or None
        None takes those of the preset.
    seed, workers : int
    work : Path
        An empty directory with room for the world twice.

    Raises
    ------
    ConfigurationError
        ``data-gen`` refuses the options; with its message.
    """
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    world = work / "world"
    options = ["--preset", preset, "--seed", str(seed), "--workers", str(workers)]
    options += [] if customers is None else ["--customers", str(customers)]
    options += [] if days is None else ["--days", str(days)]
    cost = run_command_measured([*_DATA_GEN, "generate", *options, "--quiet", "--out", str(world)])
    if cost.exit_code:
        raise ConfigurationError(cost.error_text.strip() or f"data-gen ended with {cost.exit_code}")
    manifest = json.loads((world / "manifest.json").read_text())
    files = [world / file["path"] for bank in manifest["banks"] for file in bank["files"]]
    reference = sum(_writing_seconds(path, work / "reference.parquet") for path in files)
    return GenerateFigures(
        preset=preset,
        rows=manifest["rows"],
        banks=len(files),
        customers=manifest["config"]["customers"],
        days=manifest["config"]["days"],
        seed=seed,
        workers=workers,
        bytes_written=sum(path.stat().st_size for path in files),
        seconds=cost.seconds,
        cpu_seconds=cost.cpu_seconds,
        rows_per_second=manifest["rows"] / cost.seconds,
        rows_per_second_and_core=manifest["rows"] / cost.cpu_seconds,
        peak_memory_bytes=cost.peak_memory_bytes,
        reference_seconds=reference,
        ratio=cost.cpu_seconds / reference,
        date=date,
        load_average=load,
        machine=Machine.here("numpy", "pyarrow"),
    )


def _writing_seconds(path: Path, copy: Path) -> float:
    """Return the CPU seconds that writing a file's row groups takes; reading is not counted."""
    seconds = 0.0
    with (
        pq.ParquetFile(path) as file,
        pq.ParquetWriter(
            copy, file.schema_arrow, compression="zstd", compression_level=1, store_schema=False
        ) as writer,
    ):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            begin = time.process_time()
            writer.write_table(table)
            seconds += time.process_time() - begin
    return seconds


@click.command("generate")
@click.option("--preset", default="retail", show_default=True, help="Of `data-gen presets`.")
@click.option(
    "--customers",
    type=click.IntRange(min=1),
    help="Customers of all banks.  [default: the preset's]",
)
@click.option(
    "--days", type=click.IntRange(min=1), help="Length of the period.  [default: the preset's]"
)
@number_option("--seed", 42, "Seed of the world.", least=0)
@number_option("--workers", 1, "Processes of the generator.")
@figures_of(GenerateFigures)
def generate_command(
    preset: str, customers: int | None, days: int | None, seed: int, workers: int
) -> GenerateFigures:
    """Measure rows per second and core, and memory, of `data-gen generate`."""
    with tempfile.TemporaryDirectory(prefix="fraudfed-generate-") as work:
        return run_generate(
            preset=preset,
            customers=customers,
            days=days,
            seed=seed,
            workers=workers,
            work=Path(work),
        )
