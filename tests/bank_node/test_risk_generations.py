"""Risk runs while banks are dropped, come late, or come when all is over."""

from collections.abc import Callable
from pathlib import Path

import pytest
from examples.risk import SPEC, expected_tables, payments, risk_run, wait_until_round
from federations.bank_process import Process, finish, start_bank
from federations.bank_states import Banks

from bank_node.state.directory import TABLES_FILE, StateDirectory
from bank_node.state.risk_file import read_risk_file
from bank_node.vault.vault import PlainVault
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.features.shared_risk import RiskTables
from fraudfed.wire.messages import DropRequest, RiskSpec, RunState

pytestmark = pytest.mark.e2e


MakeBanks = Callable[..., Banks]


@pytest.fixture
def make_risk_banks(tmp_path: Path, aggregator, key_package: KeyPackage) -> MakeBanks:
    """Make four banks with their files, and a run that three of them can begin."""

    def make(spec: RiskSpec = SPEC) -> Banks:
        found = Banks(tmp_path, aggregator, key_package, n_banks=4)
        for seed, name in enumerate(found.names):
            payments(seed).to_parquet(tmp_path / f"{name}.parquet")
        epoch = found.key_epoch.epoch
        run = risk_run(epoch, risk=spec, join_deadline_seconds=1, deadline_seconds=30)
        found.run_id = aggregator.create_run(run)
        return found

    return make


def update(banks: Banks, *places: int, options: tuple[str, ...] = ()) -> dict[int, Process]:
    return {
        place: start_bank(
            *("--quiet", "risk", "update", "--state", banks.state(banks.names[place])),
            *("--data", banks.root / f"{banks.names[place]}.parquet", *options),
        )
        for place in places
    }


def assert_ended_well(processes: dict[int, Process]) -> None:
    ended = {place: finish(process) for place, process in processes.items()}
    assert {one.code for one in ended.values()} == {0}, [one.err for one in ended.values()]


def tables_of(banks: Banks, place: int) -> RiskTables:
    path = banks.state(banks.names[place]) / "runs" / banks.run_id / TABLES_FILE
    return read_risk_file(path, vault=PlainVault(), name="risk.tables").keyed.tables


def test_a_bank_that_comes_late_is_counted_from_the_next_days_on(
    make_risk_banks: MakeBanks, key_package: KeyPackage
) -> None:
    # Long enough for a program to start meanwhile.
    spec = SPEC.model_copy(update={"first_day": SPEC.first_day - 100})
    banks = make_risk_banks(spec)
    running = update(banks, 0, 1, 2)
    wait_until_round(banks.aggregator, banks.run_id, 4)
    running |= update(banks, 3)
    assert_ended_well(running)
    status = banks.aggregator.status(banks.run_id)
    assert status.state is RunState.FINISHED
    assert status.generation.number >= 1, "came too late to take part"
    first_step = status.generation.first_step
    assert first_step >= 1
    expected = expected_tables(
        derive_risk_key(key_package),
        spec,
        banks=lambda day: range(4) if day >= first_step else range(3),
    )
    assert {tables_of(banks, place).to_bytes() for place in range(4)} == {expected.to_bytes()}


def test_a_bank_that_comes_when_all_is_over_takes_the_tables_from_the_registry(
    make_risk_banks: MakeBanks, key_package: KeyPackage
) -> None:
    banks = make_risk_banks()
    assert_ended_well(update(banks, 0, 1, 2))
    late = finish(update(banks, 3)[3])
    assert late.code != 0, "a run that is over is open to nobody, unless it is named"
    named = finish(
        start_bank(
            *("risk", "update", "--state", banks.state(banks.names[3]), "--run", banks.run_id),
            *("--data", banks.root / f"{banks.names[3]}.parquet"),
        )
    )
    assert named.code == 0, named.err
    record = StateDirectory(banks.state(banks.names[3])).record(banks.run_id)
    assert record is not None
    assert record["taken_from_registry"]
    assert record["members"] == banks.names[:3]
    assert (record["result"]["first_day"], record["result"]["last_day"]) == (
        SPEC.first_day,
        SPEC.last_day,
    )
    expected = expected_tables(derive_risk_key(key_package), banks=lambda _: range(3))
    assert tables_of(banks, 3).to_bytes() == expected.to_bytes()


def test_the_same_days_are_summed_again_with_the_same_banks_only(
    make_risk_banks: MakeBanks, key_package: KeyPackage
) -> None:
    """Tables of two runs over the same days, with and without a bank, show its counts."""
    banks = make_risk_banks()
    banks.allow_set_changes(0)
    spec = SPEC.model_copy(update={"first_day": SPEC.last_day - 3})
    run = risk_run(banks.key_epoch.epoch, risk=spec)
    expected = expected_tables(derive_risk_key(key_package), spec, banks=lambda _: range(4))
    for _ in range(2):
        banks.run_id = banks.aggregator.create_run(run)
        assert_ended_well(update(banks, 0, 1, 2, 3, options=("--run", banks.run_id)))
        assert {tables_of(banks, place).to_bytes() for place in range(4)} == {expected.to_bytes()}
    banks.run_id = banks.aggregator.create_run(run)
    request = DropRequest(bank=banks.names[3], reason="test")
    banks.aggregator.operator("POST", f"/v1/runs/{banks.run_id}/drops", request)
    ended = finish(update(banks, 0, options=("--run", banks.run_id))[0])
    assert ended.code == 10
    assert f"without {banks.names[3]}" in ended.error()
    assert "set_changes = 0" in ended.error()
    assert banks.aggregator.status(banks.run_id).members == ()


def test_a_bank_with_other_payments_is_refused_when_it_goes_on(
    make_risk_banks: MakeBanks,
) -> None:
    banks = make_risk_banks()
    running = update(banks, 0, 1, 2)
    wait_until_round(banks.aggregator, banks.run_id, 4)
    running[1].kill()
    finish(running[1])
    payments(9).to_parquet(banks.root / f"{banks.names[1]}.parquet")
    refused = finish(update(banks, 1)[1])
    assert refused.code == 5
    assert "the data differ from those that this bank began the run with" in refused.error()
    payments(1).to_parquet(banks.root / f"{banks.names[1]}.parquet")
    running |= update(banks, 1)
    assert_ended_well(running)
    assert len({tables_of(banks, place).to_bytes() for place in range(3)}) == 1
