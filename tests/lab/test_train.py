"""``fraudfed bench train``: what it measures is what happened; the figures are not tested."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.train.command import same_trees_as_xgboost, train_command
from fraudfed.lab.bench.train.own_machine import own_machines
from fraudfed.lab.bench.train.result import BankCost, TrainFigures
from fraudfed.lab.bench.train.round_cost import RoundCost
from fraudfed.lab.bench.workload import LABEL, synthetic_table, table_contract, write_shares
from fraudfed.lab.oracle.same_trees import installed_rules
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import PublicKeyMessage

SMALL = ("--rows", "2000", "--features", "4", "--trees", "3", "--max-depth", "3", "--max-bin", "16")
KEY_BITS = 2048


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """One real run: three banks, an aggregator, an emulated network."""
    arguments = (*SMALL, "--key-bits", str(KEY_BITS), "--shares", "60,30,10", "--threads", "2")
    network = ("--rtt", "1", "--mbit", "1000")
    done = CliRunner().invoke(train_command, [*arguments, *network, "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.e2e
def test_every_field_is_there(figures: dict[str, Any]) -> None:
    assert set(figures) == {field.name for field in dataclasses.fields(TrainFigures)}
    for bank in figures["banks"]:
        assert set(bank) == {field.name for field in dataclasses.fields(BankCost)}


@pytest.mark.e2e
def test_the_trees_are_those_of_xgboost(figures: dict[str, Any]) -> None:
    assert figures["identical_trees"] == figures["trees"] == 3
    assert figures["max_leaf_difference"] < 1e-5


@pytest.mark.e2e
def test_ratios_are_of_what_was_timed(figures: dict[str, Any]) -> None:
    reference = figures["reference"]
    assert len(reference["all_seconds"]) >= 4
    assert reference["seconds"] == pytest.approx(float(np.median(reference["all_seconds"])))
    assert figures["encrypted_seconds"] == max(b["training_seconds"] for b in figures["banks"])
    assert figures["ratio"] == pytest.approx(figures["encrypted_seconds"] / reference["seconds"])
    own = figures["own_machines"]
    assert figures["ratio_own_machines"] == pytest.approx(own["seconds"] / reference["seconds"])
    assert own["cores"] == 2
    assert set(own["bank_seconds"]) == {bank["name"] for bank in figures["banks"]}
    assert 0 < max(own["bank_seconds"].values()) <= own["seconds"]
    assert min(figures["set_up_seconds"].values()) > 0


@pytest.mark.e2e
def test_each_bank_has_its_share_and_the_same_work(figures: dict[str, Any]) -> None:
    banks = figures["banks"]
    assert [bank["rows"] for bank in banks] == [1200, 600, 200]
    assert len({(bank["ciphertexts"], bank["values"]) for bank in banks}) == 1
    for bank in banks:
        phases = bank["wall_seconds"]
        assert {"encrypt", "sum", "open", "wait", "histogram", "accept"} <= set(phases)
        assert set(phases) == set(bank["cpu_seconds"]) == set(bank["main_cpu_seconds"])
        # Each is rounded to a millisecond.
        assert bank["training_seconds"] == pytest.approx(sum(phases.values()), abs=0.01)
        assert bank["process_cpu_seconds"] > sum(bank["cpu_seconds"].values()) > 0
        assert bank["ciphertexts_per_tree"] * 3 == pytest.approx(bank["ciphertexts"])
        assert bank["bytes_sent_per_tree"] * 3 == pytest.approx(bank["bytes_sent"])
        assert bank["bytes_received_per_tree"] * 3 == pytest.approx(bank["bytes_received"])
        assert bank["bytes_per_value"] == pytest.approx(bank["bytes_sent"] / bank["values"])


@pytest.mark.e2e
def test_a_round_takes_two_round_trips_and_a_run_a_few_more(figures: dict[str, Any]) -> None:
    """Contribution and opening, each with what it waits for: docs/decisions/0077."""
    for bank in figures["banks"]:
        requests = dict(bank["requests"])
        # Answers wait for the other banks; an aggregator that has no room to wait says so at once.
        asked = requests.pop("product", 0) + requests.pop("openings", 0)
        assert requests.pop("contribution") == requests.pop("opening") == figures["rounds"]
        assert asked <= figures["rounds"]
        # The vote, its acceptance and signatures, and what was asked before the first round.
        assert sum(requests.values()) <= 8
    most = max(sum(bank["requests"].values()) for bank in figures["banks"])
    assert figures["round_trips_per_round"] == pytest.approx(most / figures["rounds"])


@pytest.mark.e2e
def test_bytes_are_ciphertexts_openings_and_frames(figures: dict[str, Any]) -> None:
    banks, rounds = figures["banks"], figures["rounds"]
    count = banks[0]["ciphertexts"]
    width = KEY_BITS // 4
    sent = sum(bank["bytes_sent"] for bank in banks) - len(banks) * count * width
    # Every ciphertext of the product is opened by one bank, to a number below N.
    openings = count * KEY_BITS // 8
    frames = sent - openings
    assert 0 < frames < rounds * len(banks) * 2 * 1024
    received = sum(bank["bytes_received"] for bank in banks)
    # Each gets its part of the product, and all openings.
    expected = count * width + len(banks) * openings
    assert expected < received < expected + rounds * len(banks) * 4 * 1024


@pytest.mark.e2e
def test_the_emulated_network_saw_all_of_it(figures: dict[str, Any]) -> None:
    assert [link["bank"] for link in figures["network"]] == [b["name"] for b in figures["banks"]]
    for link, bank in zip(figures["network"], figures["banks"], strict=True):
        assert link["bytes_up"] > bank["bytes_sent"]
        assert link["bytes_down"] > bank["bytes_received"]
        assert link["connections"] >= 1
    assert (figures["case"]["rtt_ms"], figures["case"]["mbit"]) == (1.0, 1000.0)


@pytest.mark.e2e
def test_it_says_what_it_ran_on(figures: dict[str, Any]) -> None:
    case = figures["case"]
    assert (case["rows"], case["features"], case["trees"], case["max_bin"]) == (2000, 4, 3, 16)
    assert case["shares"] == [60.0, 30.0, 10.0]
    assert case["key_bits"] == KEY_BITS
    assert figures["kernel"]
    machine = figures["machine"]
    assert machine == dataclasses.asdict(Machine.here("xgboost", "numpy", "gmpy2"))
    assert {"python", "fraudfed", "xgboost"} <= set(machine["versions"])
    # A whole bank with its libraries takes more than these 32 MiB, and this case less than a GiB.
    peaks = [bank["peak_memory_bytes"] for bank in figures["banks"]]
    for peak in (*peaks, figures["aggregator_peak_memory_bytes"]):
        assert 2**25 < peak < 2**30
    assert figures["aggregator_cpu_seconds"] > 0
    cost = figures["round_cost"]
    assert cost["aggregator_arithmetic_ms"] > 0
    assert cost["bank_beside_ms"].keys() == {bank["name"] for bank in figures["banks"]}
    assert min(cost["bank_beside_ms"].values()) > 0


@pytest.mark.e2e
def test_text_shows_the_same_run() -> None:
    done = CliRunner().invoke(train_command, [*SMALL, "--key-bits", "2048", "--trees", "1"])
    assert done.exit_code == 0, done.output
    for shown in ("x pooled xgboost", "1 of 1", "bank_03", "aggregator", "histogram", "2048 bits"):
        assert shown in done.stdout
    assert "Mbit/s" not in done.stdout


def test_other_rows_give_other_trees() -> None:
    """The control of "identical": a model of rows with a few labels turned does not pass."""
    settings = {
        "num_boost_round": 4,
        "max_depth": 3,
        "max_bin": 16,
        "xgboost_version": installed_rules(),
    }
    params = BoosterParams.parse(settings)
    table = synthetic_table(2000, 4, np.random.default_rng(0))
    turned = table.labels.copy()
    turned[:40] = 1 - turned[:40]
    other = dataclasses.replace(table, labels=turned)
    for trained, identical in ((table, {4}), (other, {0, 1, 2, 3})):
        model = train(params, trained, SoloCommunicator()).model.to_json()
        assert same_trees_as_xgboost(model, table, settings, 1).identical in identical


def test_shares_are_files_of_all_rows_in_order(tmp_path: Path) -> None:
    table = synthetic_table(1000, 3, np.random.default_rng(1))
    files = write_shares(table, (5, 3, 2), tmp_path)
    frames = [pd.read_parquet(file) for file in files.values()]
    assert [len(frame) for frame in frames] == [500, 300, 200]
    whole = pd.concat(frames)
    np.testing.assert_array_equal(whole[list(table.schema.names)].to_numpy(), table.features)
    np.testing.assert_array_equal(whole[LABEL].to_numpy(), table.labels)
    contract = table_contract(table)
    assert [spec.name for spec in contract.features] == list(table.schema.names)
    assert contract.label == LABEL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--banks", "4", "--shares", "1,1,1"], "3 shares for 4 banks"),
        (["--shares", "50,x,20"], "expected numbers"),
        (["--shares", "50,-1,20"], "above 0"),
        (["--banks", "2"], "--banks"),
        (["--key-bits", "1024"], "--key-bits"),
        (["--mbit", "0"], "--mbit"),
    ],
)
def test_impossible_options_are_refused(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(train_command, arguments)
    assert done.exit_code == 2
    assert said in done.output


def process(work: tuple[float, float], exchange: tuple[float, float]) -> dict[str, Any]:
    """Make figures with one phase of work (main, all threads) and one of exchange (main, wall)."""
    return {
        "wall_seconds": {"open": 99.0, "sum": exchange[1]},
        "cpu_seconds": {"open": work[1], "sum": exchange[0]},
        "main_cpu_seconds": {"open": work[0], "sum": exchange[0]},
    }


def test_own_machines_wait_for_the_slowest() -> None:
    banks = {"a": process((2.0, 4.0), (0.5, 3.0)), "b": process((5.0, 6.0), (0.2, 1.0))}
    found = own_machines(banks, aggregator_cpu_seconds=0.25, cores=2)
    # Work: max(max(2, 4 / 2), max(5, 6 / 2)); exchange 0.5; aggregator 0.25.
    assert found.seconds == pytest.approx(5.0 + 0.5 + 0.25)
    # Work: max(2 + 2 / 2, 5 + 1 / 2); exchange: the least wall time.
    assert found.at_most_seconds == pytest.approx(5.5 + 1.0)
    assert found.bank_seconds == {"a": pytest.approx(2.5), "b": pytest.approx(5.2)}


def test_own_machines_cannot_compute_more_than_their_cores() -> None:
    """Noise made ahead during an exchange is no part of the exchange, but takes cores."""
    busy = process((1.0, 2.0), (0.1, 9.0))
    busy["cpu_seconds"]["sum"] = 40.0
    found = own_machines({"a": busy}, aggregator_cpu_seconds=0.0, cores=2)
    assert found.seconds == pytest.approx(21.0)


def test_round_cost_leaves_out_products_noise_and_work() -> None:
    key = PrivateKey.generate(512, insecure_allow_small_key=True).public
    message = PublicKeyMessage.model_validate(key.to_hex())
    one = {**process((1.0, 2.0), (0.3, 9.0)), "ciphertexts": 40}
    one["main_cpu_seconds"] |= {"sum": 0.2, "wait": 0.1, "accept": 5.0}
    cost = RoundCost.of({"a": one, "b": one}, message, aggregator_cpu_seconds=0.5, rounds=10)
    assert cost.aggregator_ms == pytest.approx(50.0)
    assert cost.aggregator_beside_ms + cost.aggregator_arithmetic_ms == pytest.approx(50.0)
    assert cost.bank_beside_ms == {"a": pytest.approx(30.0), "b": pytest.approx(30.0)}
