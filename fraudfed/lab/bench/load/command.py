"""``fraudfed bench load``: rounds without a pause against one aggregator."""

import json
import os

import click

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import TransportError
from fraudfed.lab.bench.load.light_banks import MOST_BANKS
from fraudfed.lab.bench.load.rounds import LoadResult, Percentiles, Thirds, run_load
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import FiniteRange, json_option, key_bits_option

_MOST_RUNS = 100
#: The aggregator's own limit of threads, less those that no bank holds.
_MOST_WAITING = 900


@click.command("load")
@click.option(
    "--banks",
    type=click.IntRange(3, MOST_BANKS),
    default=50,
    show_default=True,
    help="Banks of each run.",
)
@click.option(
    "--body-bytes",
    type=click.IntRange(1, 60_000_000),
    default=1_000_000,
    show_default=True,
    help="Size of a contribution, rounded down to whole ciphertexts.",
)
@click.option(
    "--seconds",
    type=FiniteRange(1.0, 86_400.0),
    default=300.0,
    show_default=True,
    help="No round is begun after that.",
)
@click.option(
    "--runs",
    type=click.IntRange(1, _MOST_RUNS),
    default=1,
    show_default=True,
    help="Runs at once, each of all banks.",
)
@key_bits_option
@json_option
def load_command(
    banks: int, body_bytes: int, seconds: float, runs: int, key_bits: int, as_json: bool
) -> None:
    """Load an aggregator with rounds of banks that only send and wait; an error fails."""
    if banks * runs > _MOST_WAITING:
        raise click.UsageError(
            f"--banks {banks} times --runs {runs} wait at once, expected at most {_MOST_WAITING}; "
            "give fewer"
        )
    package = KeyPackage.generate(key_bits)
    found = run_load(
        banks=banks, runs=runs, body_bytes=body_bytes, seconds=seconds, package=package
    )
    machine = Machine.here("flask", "gunicorn", "sqlalchemy")
    click.echo(_to_json(found, machine) if as_json else _to_text(found, machine))
    if found.errors:
        raise TransportError(
            f"{len(found.errors)} errors under load, expected none: {found.errors[0]}"
        )


def _to_json(found: LoadResult, machine: Machine) -> str:
    load = [round(average, 2) for average in os.getloadavg()]
    return json.dumps(
        {**json.loads(found.to_json()), "load_average": load, "machine": machine.to_json()},
        indent=2,
    )


def _to_text(found: LoadResult, machine: Machine) -> str:
    lines = [
        f"load      {found.runs} runs of {found.banks} banks, {found.body_bytes} bytes "
        f"({found.ciphertexts} ciphertexts, key {found.key_bits} bits) a contribution",
        f"rounds    {found.rounds} in {found.seconds:.0f} s, {found.rounds_per_second:.2f} a "
        f"second, {len(found.errors)} errors",
        _percentiles("round", found.round),
        _percentiles("request", found.request),
        _percentiles("question", found.question),
        _thirds("round, ms", found.round_ms, 1.0),
        _thirds("memory", found.resident_bytes, 2**20),
        _thirds("database", found.database_bytes, 2**20),
        _thirds("its log", found.wal_bytes, 2**20),
        f"CPU       aggregator {found.aggregator_cpu_seconds:.1f} s, clients "
        f"{found.client_cpu_seconds:.1f} s ({found.client_share:.0%} of both)",
        f"machine's load average at the end {os.getloadavg()[0]:.2f}",
    ]
    return "\n".join([*lines, *machine.to_lines()])


def _percentiles(what: str, found: Percentiles) -> str:
    return (
        f"{what:9} p50 {found.p50_ms:.0f} ms, p99 {found.p99_ms:.0f} ms, "
        f"most {found.max_ms:.0f} ms ({found.count})"
    )


def _thirds(what: str, found: Thirds, unit: float) -> str:
    shown = "" if unit == 1.0 else " MiB"
    return (
        f"{what:9} first third {found.first / unit:.1f}{shown}, last third "
        f"{found.last / unit:.1f}{shown}, most {found.most / unit:.1f}{shown}"
    )
