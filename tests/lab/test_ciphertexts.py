"""``fraudfed bench ciphertexts``: it counts what a bank would send."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from fraudfed.cli import cli
from fraudfed.errors import BoundError
from fraudfed.lab.bench.ciphertexts import (
    CountedCiphertexts,
    CountingCommunicator,
    SlotFigures,
    run_ciphertexts,
)
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.secure_sum.header import HEADER_BITS


def test_slots_and_ciphertexts_of_one_sum() -> None:
    communicator = CountingCommunicator(1024)
    values = np.array([[-3, 5, 0, 7], [0, 1, 8, 0]], dtype=np.int64)
    low = np.array([[-4, 0, 0, -100], [0, 0, 0, 0]], dtype=np.int64)
    bound = np.array([[3, 8, 0, 155], [9, 1, 15, 3]], dtype=np.int64)
    total = communicator.sum(values, bound=bound, low=low, label="histogram:tree 7 step 2")
    np.testing.assert_array_equal(total, values)
    figures = communicator.figures
    assert figures.by_step == {"histogram step 2": 1}
    assert figures.values == 8
    # -4 .. 3 and -100 .. 155; -3 and 7 need two and three bits, and a sign.
    assert figures.signed == SlotFigures(slots=2, bits=3 + 8, needed_bits=3 + 4)
    # 0 .. 8, 9, 1, 15 and 3, which hold 5, 0, 1, 8 and 0.
    assert figures.unsigned == SlotFigures(slots=5, bits=15, needed_bits=3 + 0 + 1 + 4 + 0)


def test_it_counts_whole_plaintexts() -> None:
    communicator = CountingCommunicator(1024)
    per_plaintext = (1024 - 3 - HEADER_BITS) // 10
    values = np.zeros(2 * per_plaintext + 1, dtype=np.int64)
    communicator.sum(values, bound=1023, low=0, label="cuts:pass 1")
    communicator.sum(values, bound=1023, low=0, label="cuts:pass 2")
    assert communicator.figures.by_step == {"cuts": 6}
    assert communicator.figures.histogram == 0
    assert communicator.figures.ciphertexts == 6


def test_a_value_outside_its_bounds_is_refused() -> None:
    with pytest.raises(BoundError):
        CountingCommunicator(1024).sum(np.array([-1]), bound=4, low=0, label="rows")


def test_the_command_reports_what_was_counted() -> None:
    options = ["--rows", "600", "--features", "3", "--trees", "2", "--max-depth", "2"]
    options += ["--max-bin", "8", "--missing", "0.1", "--subsample", "0.8", "--key-bits", "2048"]
    run = CliRunner().invoke(cli, ["bench", "ciphertexts", *options, "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.output)
    table = synthetic_table(600, 3, np.random.default_rng(0), missing=0.1)
    parameters = {"num_boost_round": 2, "max_depth": 2, "max_bin": 8, "subsample": 0.8}
    expected = run_ciphertexts(table, parameters, key_bits=2048)
    assert found == CountedCiphertexts.of(expected, 2).model_dump(mode="json")
    assert found["ciphertexts"] == sum(found["by_step"].values())
    assert found["signed"]["needed_bits"] < found["signed"]["bits"]
    text = CliRunner().invoke(cli, ["bench", "ciphertexts", *options]).output
    assert f"{found['ciphertexts']:,}" in text
    assert f"{expected.histogram / 2:.1f} a tree" in text
