"""``fraudfed bench load``: rounds without a pause against one aggregator."""

import os
from collections.abc import Callable, Sequence
from functools import partial

import click

from fraudfed.console import answers
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import TransportError
from fraudfed.lab.bench.load.light_banks import MOST_BANKS
from fraudfed.lab.bench.load.rounds import (
    LoadResult,
    Percentiles,
    Thirds,
    ciphertexts_of,
    run_load,
)
from fraudfed.lab.bench.load.widths import histogram_rounds
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import FiniteRange, key_bits_option, number_option
from fraudfed.paillier.keys import PublicKey

_MOST_RUNS = 100
#: The aggregator's own limit of threads, less those that no bank holds.
_MOST_WAITING = 900


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


class LoadFigures(LoadResult):
    """``bench load``: ``LoadResult``, what follows from it, and the machine.

    ``last_to_first`` has the ratios of the thirds, ``client_share`` the clients' share of the CPU
    time; ``load_average`` is the machine's at the end.
    """

    last_to_first: dict[str, float]
    client_share: float
    load_average: tuple[float, ...]
    machine: Machine

    @classmethod
    def of(cls, found: LoadResult) -> "LoadFigures":
        """Add what follows from a measurement that has just ended on this machine."""
        thirds = ("round_ms", "resident_bytes", "database_bytes", "wal_bytes")
        cpu = found.client_cpu_seconds + found.aggregator_cpu_seconds
        return cls(
            **vars(found),
            last_to_first={name: round(getattr(found, name).ratio, 4) for name in thirds},
            client_share=found.client_cpu_seconds / cpu if cpu else 0.0,
            load_average=tuple(round(average, 2) for average in os.getloadavg()),
            machine=Machine.here("flask", "gunicorn", "sqlalchemy"),
        )

    def to_text(self) -> str:
        """Return a report for the terminal."""
        lines = [
            f"load      {self.runs} runs of {self.banks} banks, {self.workers} workers; a sum is "
            f"{self.body_bytes} bytes of a bank ({self.ciphertexts} ciphertexts, key "
            f"{self.key_bits} bits) in {self.sum_rounds} rounds",
            f"rounds    {self.rounds} in {self.seconds:.0f} s, {self.rounds_per_second:.2f} a "
            f"second, {len(self.errors)} errors",
            _percentiles("round", self.round),
            _percentiles("request", self.request),
            _percentiles("question", self.question),
            _thirds("round, ms", self.round_ms, 1.0),
            _thirds("memory", self.resident_bytes, 2**20),
            _thirds("database", self.database_bytes, 2**20),
            _thirds("its log", self.wal_bytes, 2**20),
            f"bytes     {self.sent_bytes / 2**20:.1f} MiB to the aggregator, "
            f"{self.received_bytes / 2**20:.1f} MiB back",
            *(
                f"{one.name:9} at most {one.peak_bytes / 2**20:.1f} MiB, CPU {one.cpu_seconds:.1f} "
                "s with its start"
                for one in self.processes
            ),
            f"CPU       aggregator {self.aggregator_cpu_seconds:.1f} s, clients "
            f"{self.client_cpu_seconds:.1f} s ({self.client_share:.0%} of both)",
            f"machine's load average at the end {self.load_average[0]:.2f}",
        ]
        return "\n".join([*lines, *self.machine.to_lines()])


def _failure(figures: LoadFigures) -> TransportError | None:
    if not figures.errors:
        return None
    return TransportError(
        f"{len(figures.errors)} errors under load, expected none: {figures.errors[0]}"
    )


@click.command("load")
@number_option("--banks", 50, "Banks of each run.", least=3, most=MOST_BANKS)
@number_option(
    "--body-bytes",
    1_000_000,
    "Size of a contribution, rounded down to whole ciphertexts.",
    most=60_000_000,
)
@click.option(
    "--features",
    type=click.IntRange(1, 100_000),
    help="Sum histograms of so many features, in as many rounds as banks do, instead of "
    "--body-bytes.",
)
@number_option("--bins", 256, "Bins of each of the features.", least=2, most=65_536)
@click.option(
    "--seconds",
    type=FiniteRange(1.0, 86_400.0),
    default=300.0,
    show_default=True,
    help="How long to begin rounds.",
)
@click.option("--rounds", type=click.IntRange(1), help="Begin no more rounds of each run.")
@number_option("--workers", 1, "Processes of the aggregator; more than 1 with --database.", most=64)
@click.option(
    "--database",
    metavar="URL",
    help="Empty PostgreSQL database of the aggregator, instead of SQLite.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    show_default=True,
    help="Port of the aggregator on this machine; 0 is any.",
)
@click.option(
    "--through",
    metavar="URL",
    help="Where banks call, http://HOST:PORT of a proxy before --port.  [default: the aggregator]",
)
@number_option("--runs", 1, "Runs at once, each of all banks.", most=_MOST_RUNS)
@key_bits_option
@answers(LoadFigures, lambda figures: click.echo(figures.to_text()), fails=_failure)
def load_command(
    banks: int,
    body_bytes: int,
    features: int | None,
    bins: int,
    seconds: float,
    rounds: int | None,
    workers: int,
    database: str | None,
    port: int,
    through: str | None,
    runs: int,
    key_bits: int,
) -> LoadFigures:
    """Load an aggregator with rounds of banks that only send and wait; an error fails."""
    if banks * runs > _MOST_WAITING:
        raise click.UsageError(
            f"--banks {banks} times --runs {runs} wait at once, expected at most {_MOST_WAITING}; "
            "give fewer"
        )
    if workers > 1 and database is None:
        raise click.UsageError(
            f"--workers {workers} need PostgreSQL, as SQLite has one writer; give --database"
        )
    if through is not None and not (port and through.startswith("http://")):
        raise click.UsageError(
            f"--through is {through!r} and --port {port}, expected http://HOST:PORT of a proxy, "
            "and the port that it passes requests on to"
        )
    widths: Callable[[PublicKey], Sequence[int]] = partial(ciphertexts_of, body_bytes=body_bytes)
    if features is not None:
        widths = partial(histogram_rounds, features=features, bins=bins)
    return LoadFigures.of(
        run_load(
            banks=banks,
            runs=runs,
            widths=widths,
            seconds=seconds,
            rounds=rounds,
            workers=workers,
            database=database,
            port=port,
            through=through,
            package=KeyPackage.generate(key_bits),
        )
    )
