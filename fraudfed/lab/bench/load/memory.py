"""The aggregator's memory over the number of banks: one product, however many there are."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fraudfed.console import Answer
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.lab.bench.load.light_banks import LightCohort
from fraudfed.lab.bench.load.served_aggregator import served_aggregator
from fraudfed.paillier.keys import DEFAULT_KEY_BITS

#: Of a level of a tree in `fraudfed bench train`: 720 in a tree of 5 rounds.
DEFAULT_CIPHERTEXTS = 150


class AggregatorMemory(Answer):
    """Memory of the process that serves, in one run.

    Attributes
    ----------
    banks, ciphertexts, rounds, key_bits : int
    before_bytes, peak_bytes : int
        Resident when all banks have joined, and the most during the rounds.
    cpu_seconds : float
        Of the rounds.
    """

    banks: int
    ciphertexts: int
    rounds: int
    key_bits: int
    before_bytes: int
    peak_bytes: int
    cpu_seconds: float


def run_aggregator_memory(
    banks: int,
    *,
    ciphertexts: int = DEFAULT_CIPHERTEXTS,
    rounds: int = 20,
    package: KeyPackage | None = None,
) -> AggregatorMemory:
    """Run rounds of light banks against a real ``aggregator serve``, all banks at once.

    Parameters
    ----------
    banks : int
    ciphertexts : int
        In each contribution.
    rounds : int
    package : KeyPackage or None
        None makes one with a key of the default size.
    """
    package = KeyPackage.generate(DEFAULT_KEY_BITS) if package is None else package
    with (
        tempfile.TemporaryDirectory(prefix="fraudfed-memory-") as work,
        served_aggregator(Path(work), threads=banks + 8) as served,
    ):
        cohort = LightCohort.enrol(served.url, served.operator_token, package, banks=banks)
        payload = cohort.payload(ciphertexts)
        served.forget_peak()
        before, cpu = served.resident_bytes(), served.cpu_seconds()
        with ThreadPoolExecutor(max_workers=banks) as pool:
            for number in range(rounds):
                cohort.sum_round(number, payload, pool)
        peak, cpu = served.peak_bytes(), served.cpu_seconds() - cpu
        cohort.close()
    return AggregatorMemory(
        banks=banks,
        ciphertexts=ciphertexts,
        rounds=rounds,
        key_bits=package.public_key.key_bits,
        before_bytes=before,
        peak_bytes=peak,
        cpu_seconds=round(cpu, 3),
    )
