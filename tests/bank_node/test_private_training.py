"""A training with privacy terms by real processes: one model, every release charged, kill -9."""

import hashlib
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from federations.bank_process import ENVIRONMENT, Process, finish
from federations.bank_states import Banks

from bank_node.state.directory import StateDirectory
from bank_node.state.outbox import Kept
from bank_node.state.privacy_ledger import Charge, ChargeState
from fraudfed.privacy.accounting import rho_of
from fraudfed.privacy.declared import SUMS, Under, kind_of
from fraudfed.wire.messages import AuditLog, DropRequest, PrivacySpec, parse

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PARAMETERS = {"num_boost_round": 3, "max_depth": 2, "max_bin": 8, "eta": 0.4}
PRIVACY = PrivacySpec(epsilon=3.0, tolerated_colluders=1, declared_rows=1000, metric_share=0.0)
#: Noised counts, and three features of two kinds; a tree takes one.
TREES = 3


@pytest.fixture
def files(tmp_path: Path, make_rows) -> list[Path]:
    paths = [tmp_path / f"rows-{place}.parquet" for place in range(4)]
    for place, path in enumerate(paths):
        make_rows(place, n_rows=60 + 40 * place).to_parquet(path)
    return paths


def private_banks(make_banks, n_banks: int = 3) -> Banks:
    banks: Banks = make_banks(n_banks, parameters=PARAMETERS, privacy=PRIVACY)
    # Noised sums cost rho in place of set_changes.
    banks.allow_set_changes(0)
    return banks


def killed_at(banks: Banks, place: int, data: Path, contribution: int) -> subprocess.Popen[str]:
    """Start a bank that is killed where it would send its contribution of this number."""
    name = banks.names[place]
    command = [sys.executable, "-m", "tests.support.killed_bank_child", str(contribution)]
    arguments = ["--quiet", "train", "--state", banks.state(name), "--data", data]
    return subprocess.Popen(
        [*command, *map(str, arguments), "--run", banks.run_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=ROOT,
    )


def directory(banks: Banks, place: int) -> StateDirectory:
    return StateDirectory(banks.state(banks.names[place]))


def charges(banks: Banks, place: int) -> list[Charge]:
    return directory(banks, place).privacy_ledger().charges()


def models(banks: Banks, places: tuple[int, ...]) -> set[bytes]:
    paths = [banks.state(banks.names[one]) / "runs" / banks.run_id for one in places]
    return {(path / "model.json").read_bytes() for path in paths}


def ended_well(running: dict[int, Process]) -> None:
    ended = {place: finish(process, 240) for place, process in running.items()}
    assert {one.code for one in ended.values()} == {0}, [one.err for one in ended.values()]


def unsent(banks: Banks, place: int) -> Kept:
    """Return what a killed bank has sealed last: it holds no opening of it."""
    outbox = directory(banks, place).outbox(banks.run_id)
    kept = [outbox.find(context.hex()) or Kept() for context in outbox._places]
    found = [one for one in kept if one.contribution is not None and one.opening is None]
    assert len(found) == 1
    return found[0]


def bodies_taken(banks: Banks) -> set[str]:
    """Return the digests of all bodies that the aggregator took, as its log has them."""
    answer = banks.aggregator.operator("GET", f"/v1/audit?run={banks.run_id}")
    return {one.body_sha256 for one in parse(AuditLog, answer, source="test").entries}


def labels(found: list[Charge]) -> Counter[str]:
    return Counter(kind_of(one.event.label) for one in found)


def test_all_banks_end_with_one_model_and_every_release_is_charged(make_banks, files) -> None:
    banks = private_banks(make_banks)
    running = {place: banks.train(banks.names[place], files[place]) for place in range(3)}
    ended_well(running)
    assert len(models(banks, (0, 1, 2))) == 1
    found = [charges(banks, place) for place in range(3)]
    told = [[one.event.model_dump(exclude={"blocks"}) for one in each] for each in found]
    assert told[0] == told[1] == told[2]
    for each in found:
        assert {one.state for one in each} == {ChargeState.COMMITTED}
        assert labels(each)["noised-counts"] == 1
        assert labels(each)["noised-bins"] == TREES
        assert all(SUMS[kind].under is Under.NOISED for kind in labels(each))
        # The plan is not exceeded, and is used up but for roundings and the share of no metrics.
        spent, allowed = sum(one.event.rho for one in each), rho_of(3.0, 1e-6)
        assert 0.8 * allowed < spent <= allowed
    rounds = banks.aggregator.status(banks.run_id).round_number
    assert rounds == len(found[0])
    # Sets are noted, apart from those of exact sums.
    assert directory(banks, 0).ledger().summary().sets == 1


def test_a_bank_killed_between_draw_and_send_sends_the_same_bytes(make_banks, files) -> None:
    banks = private_banks(make_banks)
    running: dict[int, Any] = {
        place: banks.train(banks.names[place], files[place]) for place in (1, 2)
    }
    killed = killed_at(banks, 0, files[0], 2)
    assert finish(killed, 240).code == -9
    kept = unsent(banks, 0)
    assert kept.contribution is not None
    assert kept.noise_key is not None
    digest = hashlib.sha256(kept.contribution).hexdigest()
    assert digest not in bodies_taken(banks)
    before = charges(banks, 0)
    assert before[-1].state is ChargeState.RESERVED
    running[0] = banks.train(banks.names[0], files[0])
    ended_well(running)
    assert digest in bodies_taken(banks)
    assert len(models(banks, (0, 1, 2))) == 1
    # Nothing is charged twice.
    assert labels(charges(banks, 0)) == labels(charges(banks, 1))
    assert {one.state for one in charges(banks, 0)} == {ChargeState.COMMITTED}


def test_control_without_the_outbox_a_killed_bank_draws_other_noise(make_banks, files) -> None:
    banks = private_banks(make_banks)
    running: dict[int, Any] = {
        place: banks.train(banks.names[place], files[place]) for place in (1, 2)
    }
    assert finish(killed_at(banks, 0, files[0], 1), 240).code == -9
    kept = unsent(banks, 0)
    assert kept.contribution is not None
    (banks.state(banks.names[0]) / "runs" / banks.run_id / "sealed").unlink()
    running[0] = banks.train(banks.names[0], files[0])
    ended_well(running)
    assert hashlib.sha256(kept.contribution).hexdigest() not in bodies_taken(banks)
    assert len(models(banks, (0, 1, 2))) == 1


def test_a_step_done_again_with_other_banks_has_other_noise_and_both_are_charged(
    make_banks, files
) -> None:
    banks = private_banks(make_banks, 4)
    running = {place: banks.train(banks.names[place], files[place]) for place in range(3)}
    # The first sum is opened by all four; the second never is.
    assert finish(killed_at(banks, 3, files[3], 2), 240).code == -9
    deadline = time.monotonic() + 120
    while len(banks.aggregator.status(banks.run_id).contributed) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    drop = DropRequest(bank=banks.names[3], reason="test")
    banks.aggregator.operator("POST", f"/v1/runs/{banks.run_id}/drops", drop)
    ended_well(running)
    assert len(models(banks, (0, 1, 2))) == 1
    for place in range(3):
        found = charges(banks, place)
        first = [one for one in found if one.event.generation == 0]
        again = [one for one in found if one.event.generation > 0]
        assert {len(one.event.banks) for one in first} == {4}
        assert {len(one.event.banks) for one in again} == {3}
        # What was opened before is charged, and the same sum once more; what was not is given back.
        assert [one.state for one in first] == [ChargeState.COMMITTED, ChargeState.RELEASED]
        assert {one.state for one in again} == {ChargeState.COMMITTED}
        assert first[0].event.label == again[0].event.label
        ledger = directory(banks, place).privacy_ledger()
        spent = ledger.spent(first[0].event.blocks)
        assert spent == first[0].event.rho + sum(one.event.rho for one in again)
        # The noise of three banks has to suffice as that of four did.
        assert first[0].event.least_variance <= again[0].event.least_variance
        assert directory(banks, place).ledger().summary().sets == 2
