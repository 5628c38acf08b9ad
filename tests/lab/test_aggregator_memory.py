"""The aggregator's memory does not grow with the banks, measured on a real one."""

import json

import pytest
from click.testing import CliRunner

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.lab.bench.load.memory import run_aggregator_memory
from fraudfed.lab.bench.load.memory_command import aggregator_memory_command

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
    # Measured: 1.08 to 1.11. With a heap for each thread and all bodies in memory it is 1.48.
    assert many.peak_bytes < 1.3 * few.peak_bytes


def test_the_command_holds_every_cohort_to_the_first() -> None:
    options = ["--banks", "3", "--banks", "4", "--ciphertexts", "5", "--rounds", "2"]
    ended = CliRunner().invoke(
        aggregator_memory_command,
        [*options, "--key-bits", "2048", "--json"],
        catch_exceptions=False,
    )
    cohorts = json.loads(ended.stdout)["cohorts"]
    assert [(one["banks"], one["rounds"], one["ciphertexts"]) for one in cohorts] == [
        (3, 2, 5),
        (4, 2, 5),
    ]
    assert cohorts[0]["ratio"] == 1.0
    assert cohorts[1]["ratio"] == cohorts[1]["peak_bytes"] / cohorts[0]["peak_bytes"]
    assert json.loads(ended.stdout)["machine"]["cores"] >= 1
