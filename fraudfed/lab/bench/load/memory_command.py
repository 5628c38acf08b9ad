"""``fraudfed bench aggregator-memory``: the same rounds with few and with many banks."""

import json

import click

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.lab.bench.load.light_banks import MOST_BANKS
from fraudfed.lab.bench.load.memory import (
    DEFAULT_CIPHERTEXTS,
    AggregatorMemory,
    run_aggregator_memory,
)
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import json_option, key_bits_option


@click.command("aggregator-memory")
@click.option(
    "--banks",
    type=click.IntRange(3, MOST_BANKS),
    multiple=True,
    default=(3, 30),
    show_default=True,
    help="Size of the cohort; may be given several times, the first is what others are held to.",
)
@click.option(
    "--ciphertexts",
    type=click.IntRange(min=1),
    default=DEFAULT_CIPHERTEXTS,
    show_default=True,
    help="Ciphertexts of a contribution.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Rounds of each cohort.",
)
@key_bits_option
@json_option
def aggregator_memory_command(
    banks: tuple[int, ...], ciphertexts: int, rounds: int, key_bits: int, as_json: bool
) -> None:
    """Measure an aggregator's memory with few and with many banks, which only send and wait."""
    package = KeyPackage.generate(key_bits)
    found = [
        run_aggregator_memory(count, ciphertexts=ciphertexts, rounds=rounds, package=package)
        for count in banks
    ]
    machine = Machine.here("flask", "gunicorn", "sqlalchemy")
    click.echo(_to_json(found, machine) if as_json else _to_text(found, machine))


def _to_json(found: list[AggregatorMemory], machine: Machine) -> str:
    cohorts = [json.loads(one.to_json()) for one in found]
    ratios = [one.peak_bytes / found[0].peak_bytes for one in found]
    return json.dumps(
        {
            "cohorts": [
                {**cohort, "ratio": ratio} for cohort, ratio in zip(cohorts, ratios, strict=True)
            ],
            "machine": machine.to_json(),
        },
        indent=2,
    )


def _to_text(found: list[AggregatorMemory], machine: Machine) -> str:
    lines = ["banks  peak memory, MiB   ratio   CPU seconds"]
    least = found[0].peak_bytes
    lines += [
        f"{one.banks:5}  {one.peak_bytes / 2**20:16.1f}  {one.peak_bytes / least:6.2f}"
        f"  {one.cpu_seconds:12.2f}"
        for one in found
    ]
    first = found[0]
    lines.append(
        f"rounds    {first.rounds} of {first.ciphertexts} ciphertexts, key {first.key_bits} bits"
    )
    return "\n".join([*lines, *machine.to_lines()])
