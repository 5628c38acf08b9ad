"""An aggregator under load: rounds without a pause, and what they take as time goes on.

Light banks send contributions of a real size to one ``aggregator serve``, every run in lock-step
and all runs at once. Memory, files and round times of the first third of the time are held against
those of the last: what leaks or slows down shows there.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fraudfed.console import Answer
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import TransportError
from fraudfed.lab.bench.load.light_banks import LightBank, LightCohort
from fraudfed.lab.bench.load.served_aggregator import (
    ProcessUsed,
    ServedAggregator,
    served_aggregator,
)
from fraudfed.paillier.keys import DEFAULT_KEY_BITS, PublicKey

_SAMPLE_SECONDS = 1.0
_QUESTION_SECONDS = 0.2
#: Threads beyond one for each bank of each run: for the questions, and for those that come and go.
_SPARE_THREADS = 14


@dataclass(frozen=True)
class Percentiles:
    """Of durations, in milliseconds.

    Attributes
    ----------
    count : int
    p50_ms, p99_ms, max_ms : float
    """

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Percentiles":
        """Summarise at least one duration in seconds."""
        p50, p99 = np.percentile(seconds, [50, 99])
        found = (1e3 * float(value) for value in (p50, p99, max(seconds)))
        return cls(len(seconds), *(round(value, 2) for value in found))


@dataclass(frozen=True)
class Thirds:
    """A quantity in the first and the last third of the time.

    Attributes
    ----------
    first, last : float
        Means.
    most : float
        Of the whole time.
    """

    first: float
    last: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Thirds":
        """Summarise at least one value; they are in the order of time."""
        third = max(1, len(values) // 3)
        first, last = float(np.mean(values[:third])), float(np.mean(values[-third:]))
        return cls(first, last, float(max(values)))

    @property
    def ratio(self) -> float:
        """Last third to first."""
        return self.last / self.first if self.first else float("inf")


class LoadResult(Answer):
    """What a load was and what it took.

    Attributes
    ----------
    banks, runs, workers, key_bits : int
        Banks of each run; processes of the aggregator that serve.
    sum_rounds : int
        Rounds of one sum: a wide histogram is summed in several.
    ciphertexts : int
        Of a bank's contributions to one sum.
    body_bytes : int
        Of those ciphertexts, in all rounds of the sum together.
    largest_body_bytes : int
        Of them, in its largest round.
    seconds : float
        How long rounds were begun, and the last ones ended.
    rounds : int
        Of all runs.
    rounds_per_second : float
    errors : tuple of str
        A run ends with its first; expected none.
    round : Percentiles
        From the first contribution of a round to the last bank's openings.
    request : Percentiles
        Contributions and openings, with what each waits for the other banks.
    question : Percentiles
        A signed question that waits for nothing, asked all the time beside the rounds.
    round_ms : Thirds
        Duration of a round in the order of time: what slows down as rounds add up.
    resident_bytes : Thirds
        Memory of the aggregator.
    database_bytes, wal_bytes : Thirds
        Its database, and the write-ahead log beside it.
    sent_bytes, received_bytes : int
        Bodies of all banks' requests, and of the answers to them.
    processes : tuple of ProcessUsed
        Of the aggregator; peaks of the rounds alone.
    aggregator_cpu_seconds, client_cpu_seconds : float
        The second is what this measurement itself took: all banks and the sampling.
    """

    banks: int
    runs: int
    workers: int
    sum_rounds: int
    ciphertexts: int
    key_bits: int
    body_bytes: int
    largest_body_bytes: int
    seconds: float
    rounds: int
    rounds_per_second: float
    errors: tuple[str, ...]
    round: Percentiles
    request: Percentiles
    question: Percentiles
    round_ms: Thirds
    resident_bytes: Thirds
    database_bytes: Thirds
    wal_bytes: Thirds
    sent_bytes: int
    received_bytes: int
    processes: tuple[ProcessUsed, ...]
    aggregator_cpu_seconds: float
    client_cpu_seconds: float


def ciphertexts_of(key: PublicKey, *, body_bytes: int) -> tuple[int, ...]:
    """Return the ciphertexts of a sum of one round with a body of that size, at least one."""
    return (max(1, body_bytes // key.ciphertext_bytes),)


def run_load(
    *,
    banks: int,
    runs: int = 1,
    widths: Callable[[PublicKey], Sequence[int]],
    seconds: float,
    rounds: int | None = None,
    workers: int = 1,
    database: str | None = None,
    port: int = 0,
    through: str | None = None,
    package: KeyPackage | None = None,
) -> LoadResult:
    """Load a real ``aggregator serve`` with rounds until the time is over.

    Parameters
    ----------
    banks : int
        Of each run; the banks of all runs are the same, each run has connections of its own.
    runs : int
        At once.
    widths : callable
        Returns the ciphertexts of each round of a sum under a key; one sum follows the other.
    seconds : float
        No round is begun after that.
    rounds : int or None
        Nor after so many of each run.
    workers, database, port
        As ``served_aggregator``.
    through : str or None
        URL that the banks call, of a proxy before that port; None is the aggregator's own.
    package : KeyPackage or None
        None makes one with a key of the default size.

    Raises
    ------
    TransportError
        If the aggregator does not start, or no run came to a round.
    """
    package = KeyPackage.generate(DEFAULT_KEY_BITS) if package is None else package
    with (
        tempfile.TemporaryDirectory(prefix="fraudfed-load-") as work,
        served_aggregator(
            Path(work),
            threads=banks * runs + _SPARE_THREADS,
            workers=workers,
            database=database,
            port=port,
        ) as served,
    ):
        cohorts = LightCohort.enrol_for_runs(
            through or served.url, served.operator_token, package, banks=banks, runs=runs
        )
        counts = tuple(widths(package.public_key))
        largest = cohorts[0].payload(max(counts))
        width = package.public_key.ciphertext_bytes
        payloads = [largest[: count * width] for count in counts]
        return _load(served, cohorts, payloads, seconds=seconds, rounds=rounds)


def _load(
    served: ServedAggregator,
    cohorts: tuple[LightCohort, ...],
    payloads: Sequence[bytes],
    *,
    seconds: float,
    rounds: int | None,
) -> LoadResult:
    first = cohorts[0]
    banks, key = len(first.banks), first.public_key
    for cohort in cohorts:
        for bank in cohort.banks:
            bank.forget()
    served.forget_peak()
    samples = _Samples(served)
    asking = LightBank(first.banks[0].name, first.banks[0].url, first.banks[0].identity)
    asker = _Repeated(
        lambda: asking.send("GET", f"/v1/runs/{first.run_id}"), every_seconds=_QUESTION_SECONDS
    )
    sampler = _Repeated(samples.take, every_seconds=_SAMPLE_SECONDS)
    cpu, own = served.cpu_seconds(), time.process_time()
    started = time.monotonic()
    with sampler, asker, ThreadPoolExecutor(max_workers=len(cohorts)) as drivers:
        drives = [
            drivers.submit(_drive, cohort, payloads, until=started + seconds, rounds=rounds)
            for cohort in cohorts
        ]
        driven = [drive.result() for drive in drives]
    elapsed = time.monotonic() - started
    own, cpu = time.process_time() - own, served.cpu_seconds() - cpu
    used = served.used()
    asking.close()
    for cohort in cohorts:
        cohort.close()
    # In the order in which they ended, over all runs.
    durations = [took for _, took in sorted(one for done, _ in driven for one in done)]
    errors = [error for _, error in driven if error is not None]
    errors += [error for error in (asker.error, sampler.error) if error is not None]
    if not durations:
        raise TransportError(f"no round came to its end: {errors[0]}; the aggregator cannot do it")
    everybody = [bank for cohort in cohorts for bank in cohort.banks]
    body_bytes = sum(map(len, payloads))
    return LoadResult(
        banks=banks,
        runs=len(cohorts),
        workers=served.workers,
        sum_rounds=len(payloads),
        ciphertexts=body_bytes // key.ciphertext_bytes,
        key_bits=key.key_bits,
        body_bytes=body_bytes,
        largest_body_bytes=max(map(len, payloads)),
        seconds=round(elapsed, 3),
        rounds=len(durations),
        rounds_per_second=round(len(durations) / elapsed, 3),
        errors=tuple(errors),
        round=Percentiles.of(durations),
        request=Percentiles.of([took for bank in everybody for took in bank.request_seconds]),
        question=Percentiles.of(asking.request_seconds),
        round_ms=Thirds.of([1e3 * took for took in durations]),
        resident_bytes=Thirds.of(samples.resident),
        database_bytes=Thirds.of(samples.database),
        wal_bytes=Thirds.of(samples.wal),
        sent_bytes=sum(bank.sent_bytes for bank in everybody),
        received_bytes=sum(bank.received_bytes for bank in everybody),
        processes=used,
        aggregator_cpu_seconds=round(cpu, 2),
        client_cpu_seconds=round(own, 2),
    )


def _drive(
    cohort: LightCohort, payloads: Sequence[bytes], *, until: float, rounds: int | None
) -> tuple[list[tuple[float, float]], str | None]:
    """Do rounds of one run; return (end, duration) of each, in seconds, and what ended it early."""
    done: list[tuple[float, float]] = []
    with ThreadPoolExecutor(max_workers=len(cohort.banks)) as pool:
        while not done or (time.monotonic() < until and (rounds is None or len(done) < rounds)):
            started = time.monotonic()
            try:
                cohort.sum_round(len(done), payloads[len(done) % len(payloads)], pool)
            except Exception as error:  # counted, whatever it is
                return done, f"run {cohort.run_id}, round {len(done)}: {error!r}"
            ended = time.monotonic()
            done.append((ended, ended - started))
    return done, None


class _Samples:
    """Sizes of an aggregator over time, in bytes."""

    def __init__(self, served: ServedAggregator) -> None:
        self._served = served
        self.resident: list[float] = []
        self.database: list[float] = []
        self.wal: list[float] = []

    def take(self) -> None:
        database, log = self._served.stored_bytes()
        self.resident.append(self._served.resident_bytes())
        self.database.append(database)
        self.wal.append(log)


class _Repeated:
    """Does something at once and then again and again, in a thread of its own.

    Attributes
    ----------
    error : str or None
        What ended it early.
    """

    def __init__(self, step: Callable[[], object], *, every_seconds: float) -> None:
        self._step = step
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: str | None = None

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._step()
            while not self._stop.wait(self._every_seconds):
                self._step()
        except Exception as error:  # counted, whatever it is
            self.error = repr(error)
