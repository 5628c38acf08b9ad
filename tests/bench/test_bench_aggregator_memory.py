"""The aggregator's memory does not grow with the banks, measured on a real one."""

import json

import pytest

from fraudfed.bench.aggregator_memory import run_aggregator_memory
from fraudfed.consortium.key_package import KeyPackage

pytestmark = pytest.mark.e2e


def test_ten_times_the_banks_need_no_more_memory() -> None:
    package = KeyPackage.generate(2048)
    few, many = (
        run_aggregator_memory(banks, ciphertexts=600, rounds=3, package=package)
        for banks in (3, 30)
    )
    assert (many.banks, many.ciphertexts, many.rounds, many.key_bits) == (30, 600, 3, 2048)
    assert many.before_bytes <= many.peak_bytes
    assert many.cpu_seconds > few.cpu_seconds
    # Measured: 1.08. With a heap for each thread and all bodies in memory it is 1.4 and more.
    assert many.peak_bytes < 1.2 * few.peak_bytes
    assert json.loads(few.to_json())["peak_bytes"] == few.peak_bytes
