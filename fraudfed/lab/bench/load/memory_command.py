"""``fraudfed bench aggregator-memory``: the same rounds with few and with many banks."""

import click

from fraudfed.console import Answer
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.lab.bench.load.light_banks import MOST_BANKS
from fraudfed.lab.bench.load.memory import (
    DEFAULT_CIPHERTEXTS,
    AggregatorMemory,
    run_aggregator_memory,
)
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import figures_of, key_bits_option, number_option


class CohortMemory(AggregatorMemory):
    """``AggregatorMemory`` of one cohort, and its peak divided by that of the first cohort."""

    ratio: float


class MemoryFigures(Answer):
    """``bench aggregator-memory``."""

    cohorts: tuple[CohortMemory, ...]
    machine: Machine

    @classmethod
    def of(cls, found: list[AggregatorMemory]) -> "MemoryFigures":
        """Hold every cohort to the first."""
        first = found[0].peak_bytes
        return cls(
            cohorts=tuple(CohortMemory(**vars(one), ratio=one.peak_bytes / first) for one in found),
            machine=Machine.here("flask", "gunicorn", "sqlalchemy"),
        )

    def to_text(self) -> str:
        """Return a report for the terminal."""
        lines = ["banks  peak memory, MiB   ratio   CPU seconds"]
        lines += [
            f"{one.banks:5}  {one.peak_bytes / 2**20:16.1f}  {one.ratio:6.2f}"
            f"  {one.cpu_seconds:12.2f}"
            for one in self.cohorts
        ]
        first = self.cohorts[0]
        lines.append(
            f"rounds    {first.rounds} of {first.ciphertexts} ciphertexts, "
            f"key {first.key_bits} bits"
        )
        return "\n".join([*lines, *self.machine.to_lines()])


@click.command("aggregator-memory")
@click.option(
    "--banks",
    type=click.IntRange(3, MOST_BANKS),
    multiple=True,
    default=(3, 30),
    show_default=True,
    help="Size of the cohort; may be given several times, the first is what others are held to.",
)
@number_option("--ciphertexts", DEFAULT_CIPHERTEXTS, "Ciphertexts of a contribution.")
@number_option("--rounds", 20, "Rounds of each cohort.")
@key_bits_option
@figures_of(MemoryFigures)
def aggregator_memory_command(
    banks: tuple[int, ...], ciphertexts: int, rounds: int, key_bits: int
) -> MemoryFigures:
    """Measure an aggregator's memory with few and with many banks, which only send and wait."""
    package = KeyPackage.generate(key_bits)
    return MemoryFigures.of(
        [
            run_aggregator_memory(count, ciphertexts=ciphertexts, rounds=rounds, package=package)
            for count in banks
        ]
    )
