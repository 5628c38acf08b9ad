"""What a bank agrees to in a risk run, which tables it uses, and how far they must reach."""

import logging
from pathlib import Path

import numpy as np
import pytest

from bank_node.config import BankConfig, CohortRules
from bank_node.data.risk_days import check_scoring_days, check_training_days, day_text, shown_days
from bank_node.jobs.risk.history import scoring_tables, training_tables
from bank_node.jobs.risk.run import RiskWork, check_risk_run, counted_spec
from bank_node.jobs.training import check_run
from bank_node.state.directory import TABLES_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.risk_file import RiskFile, read_risk_file
from bank_node.vault.vault import PlainVault
from fraudfed.catalogue.run_check import check_contract, needs_tables
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.errors import ConfigurationError, DataError, StateError
from fraudfed.features import RECIPE, contract_features
from fraudfed.features.shared_risk import RiskTables, SharedRisk
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.features.shared_risk.tables import DayTable
from fraudfed.wire.messages import (
    DataContract,
    ModelVisibility,
    PublicKeyMessage,
    RiskEntity,
    RiskSpec,
    RunKind,
)

DAY = 86400
#: 2023-05-29.
FIRST = 19_506
KEY = bytes(range(32))


def spec_of(first: int, last: int, **changes: object) -> RiskSpec:
    settings: dict[str, object] = {
        "first_day": FIRST + first,
        "last_day": FIRST + last,
        "delay_days": 7,
        "depth": 1,
        "transaction_width": 16,
        "fraud_width": 16,
        **changes,
    }
    return RiskSpec.model_validate(settings)


def keyed(first: int, last: int, *, key: bytes = KEY, **changes: object) -> KeyedTables:
    spec = spec_of(first, last, **changes)
    empty = np.zeros((1, 16), dtype=np.uint8)
    days = tuple(DayTable(empty, empty, empty) for _ in range(last - first + 1))
    return KeyedTables(RiskTables(spec, hash_key_id(key), days), key)


def times(*days: float) -> np.ndarray:
    return np.array([int((FIRST + day) * DAY) for day in days], dtype=np.int64)


@pytest.fixture
def make_risk_run(make_spec, small_package):
    def make(cohort: tuple[str, ...] = ("a", "b", "c"), **changes: object) -> PinnedRun:
        spec = make_spec(
            kind=RunKind.RISK,
            parameters={},
            contract=None,
            risk=spec_of(0, 20),
            model_visibility=ModelVisibility.MEMBERS,
            **changes,
        )
        public_key = PublicKeyMessage.model_validate(small_package.public_key.to_hex())
        return PinnedRun(run_id="r", spec=spec, cohort=cohort, public_key=public_key)

    return make


def test_a_bank_may_ask_for_more_customers_and_never_for_fewer(make_risk_run) -> None:
    run = make_risk_run()
    assert counted_spec(run, CohortRules()) == run.risk
    for own, expected in ((5, 5), (3, 3), (1, 3)):
        rules = CohortRules(min_risk_customers=own)
        check_risk_run(run, rules)
        assert counted_spec(run, rules).min_customers == expected
    # What all banks must agree on stays the run's.
    assert run.risk.min_customers == 3


def test_rules_of_the_result_hold_for_risk_runs(make_risk_run) -> None:
    only = CohortRules(model_visibility=(ModelVisibility.AGGREGATOR,))
    with pytest.raises(ConfigurationError, match="model_visibility is 'members'"):
        check_risk_run(make_risk_run(), only)


def test_each_step_is_about_its_days_alone() -> None:
    spec = spec_of(0, 20)
    keys = tuple(f"{day:032x}" for day in range(21))
    begin = RiskTables(spec, hash_key_id(KEY))
    work = RiskWork(entries=None, begin=begin, day_keys=keys, progress=None)
    steps = -(-len(keys) // spec.days_per_step)
    assert sum((work.sources(step) for step in range(steps)), ()) == keys
    assert len(work.sources(0)) == spec.days_per_step
    assert work.sources(steps) == ()
    assert work.sources(None) == keys


def test_a_run_of_the_other_kind_is_refused(make_risk_run, make_spec) -> None:
    risk_run = make_risk_run()
    training = risk_run.model_copy(update={"spec": make_spec()})
    with pytest.raises(ConfigurationError, match="is a risk run and has no model"):
        check_run(risk_run, CohortRules())
    with pytest.raises(ConfigurationError, match="is of kind training, expected a risk run"):
        check_risk_run(training, CohortRules())


def test_a_state_of_another_run_or_key_is_refused() -> None:
    begin = RiskTables(spec_of(0, 20), hash_key_id(KEY))
    work = RiskWork(entries=None, begin=begin, day_keys=(), progress=None)
    assert work.decode(begin.to_bytes()).to_bytes() == begin.to_bytes()
    assert work.regroup(begin, more_rows=8) is begin
    for other in (
        RiskTables(spec_of(0, 21), hash_key_id(KEY)),
        RiskTables(spec_of(0, 20, delay_days=6), hash_key_id(KEY)),
        RiskTables(spec_of(0, 20), hash_key_id(KEY[::-1])),
    ):
        with pytest.raises(StateError, match="another run description or hash key"):
            work.decode(other.to_bytes())
    with pytest.raises(StateError, match="damaged"):
        work.decode(begin.to_bytes()[:-1])


def test_the_hash_key_is_the_consortiums_and_for_nothing_else(small_package) -> None:
    key = derive_risk_key(small_package)
    assert key == derive_risk_key(small_package)
    assert len(key) == 32
    assert key != small_package.expose_secret()


def test_training_needs_every_day_behind_the_first_table() -> None:
    whole = SharedRisk([keyed(0, 20)])

    def periods(*spans: tuple[float, float]) -> list[tuple[int, int]]:
        return [(int(first), int(last)) for first, last in (times(*span) for span in spans)]

    # Payments of day 22 look back to day 20; days before the first table count as empty.
    check_training_days(whole, periods((-3, 5), (6, 22.9)))
    with pytest.raises(DataError, match=r"2023-06-19 missing, expected .* to 2023-06-19; take"):
        check_training_days(whole, periods((5, 7), (8, 23)))
    # Published on the morning after, they serve payments a day later.
    at_once = SharedRisk([keyed(0, 20)], publication_lag_days=0)
    check_training_days(at_once, periods((5, 21)))
    with pytest.raises(DataError, match="2023-06-19 missing"):
        check_training_days(at_once, periods((5, 22)))
    holed = SharedRisk([keyed(0, 3), keyed(6, 20)])
    with pytest.raises(DataError, match=r"2023-06-02\.\.2023-06-03 missing"):
        check_training_days(holed, periods((22, 22)))
    # 36 days later no window reaches the hole.
    check_training_days(SharedRisk([keyed(0, 3), keyed(6, 40)]), periods((37, 37)))


def test_scoring_warns_of_a_missing_end_and_refuses_holes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = SharedRisk([keyed(0, 20)])
    with caplog.at_level(logging.WARNING):
        check_scoring_days(whole, times(22))
        assert not caplog.records
        check_scoring_days(whole, times(23))
    assert "risk tables end on 2023-06-18, the newest payment looks back to 2023-06-19" in (
        caplog.text
    )
    with pytest.raises(DataError, match=r"2023-06-02\.\.2023-06-03 missing between others"):
        check_scoring_days(SharedRisk([keyed(0, 3), keyed(6, 20)]), times(21))


def test_days_are_shown_as_dates() -> None:
    assert day_text(0) == "1970-01-01"
    ranges = [(FIRST + i, FIRST + i + i % 2) for i in range(0, 10, 2)]
    assert shown_days(ranges) == "2023-05-29, 2023-05-31, 2023-06-02 and 2 more"


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    identity = Identity.generate()
    config = BankConfig(
        name="a",
        aggregator="http://127.0.0.1:1",
        signing_key=identity.public.signing_key,
        agreement_key=identity.public.agreement_key,
    )
    return StateDirectory.create(tmp_path / "state", config, identity)


def keep(state: StateDirectory, run_id: str, tables: KeyedTables) -> str:
    """Keep tables and return the name that a contract has for them."""
    sha256 = f"{len(state.tables_paths()):064x}"
    path = state.run_directory(run_id) / TABLES_FILE
    path.write_bytes(RiskFile(run_id, sha256, tables).to_bytes())
    return sha256


def contract(*named: str, **changes: object) -> DataContract:
    settings: dict[str, object] = {
        "kind": "transactions",
        "recipe": RECIPE,
        "features": contract_features(shared=True),
        "risk_delay_days": 7,
        "shared_risk": named,
        **changes,
    }
    return DataContract.model_validate(settings)


def test_training_uses_the_tables_that_the_contract_names_and_no_others(state) -> None:
    names = [keep(state, f"r{i}", keyed(10 * i, 10 * i + 9)) for i in range(3)]
    found = training_tables(state, contract(names[0], names[2]))
    assert found is not None
    assert found.missing_days(FIRST, FIRST + 29) == [(FIRST + 10, FIRST + 19)]
    with pytest.raises(ConfigurationError, match=f"names risk tables {'f' * 64}"):
        training_tables(state, contract(names[0], "f" * 64))


def test_scoring_uses_all_tables_of_its_delay(state) -> None:
    for number, key in enumerate((KEY, KEY[::-1])):
        keep(state, f"r{number}", keyed(10 * number, 10 * number + 9, key=key))
    keep(state, "other", keyed(20, 29, delay_days=6))
    keep(state, "fewer", keyed(30, 39, entities=[RiskEntity.PAYEE]))
    found = scoring_tables(state, contract("0" * 64))
    assert found is not None
    assert (found.first_day, found.last_day) == (FIRST, FIRST + 19)
    with pytest.raises(ConfigurationError, match="no risk tables with a delay of 5 days"):
        scoring_tables(state, contract("0" * 64, risk_delay_days=5))


def test_tables_must_fit_the_contract(state) -> None:
    name = keep(state, "r", keyed(0, 9, entities=[RiskEntity.PAYEE]))
    with pytest.raises(
        DataError, match=r"features of each merchant, the risk tables .* count by payee"
    ):
        training_tables(state, contract(name))
    payee = [spec for spec in contract_features(shared=True) if "shared_payee" in spec.name]
    assert training_tables(state, contract(name, features=payee)) is not None
    with pytest.raises(DataError, match="expected the 8 of risk_delay_days"):
        training_tables(state, contract(name, features=payee, risk_delay_days=8))


def test_without_shared_features_no_tables_are_looked_for(state) -> None:
    (state.run_directory("r") / TABLES_FILE).write_bytes(b"damaged")
    plain = contract(features=contract_features())
    assert not needs_tables(plain)
    assert training_tables(state, plain) is scoring_tables(state, plain) is None
    check_contract(plain)
    with pytest.raises(StateError, match=f"{TABLES_FILE}: damaged"):
        scoring_tables(state, contract("0" * 64))


@pytest.mark.parametrize(
    "wrong", [{"features": contract_features()}, {"shared_risk": ()}], ids=["named", "unnamed"]
)
def test_tables_are_named_exactly_for_shared_features(wrong) -> None:
    check_contract(contract("0" * 64))
    with pytest.raises(ConfigurationError, match="expected them exactly for features 'shared_"):
        check_contract(contract("0" * 64, **wrong))


@pytest.mark.parametrize("position", [0, 9, 40, -40, -1])
def test_a_damaged_file_is_named_and_shows_no_key(tmp_path: Path, position: int) -> None:
    path = tmp_path / TABLES_FILE
    data = bytearray(RiskFile("r", "0" * 64, keyed(0, 9)).to_bytes())
    path.write_bytes(data)
    assert read_risk_file(path, vault=PlainVault(), name="risk.tables").keyed.tables.is_complete
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(StateError, match=f"{TABLES_FILE}: damaged") as caught:
        read_risk_file(path, vault=PlainVault(), name="risk.tables")
    assert KEY.hex() not in str(caught.value)
    path.unlink()
    with pytest.raises(StateError, match="cannot be read"):
        read_risk_file(path, vault=PlainVault(), name="risk.tables")


def test_the_last_training_and_the_last_risk_run_are_kept_apart() -> None:
    config = BankConfig(name="a", aggregator="x", signing_key="0" * 64, agreement_key="1" * 64)
    both = config.with_last_run(RunKind.RISK, "q").with_last_run(RunKind.TRAINING, "t")
    again = BankConfig.from_toml(both.to_toml(), source="test")
    assert (again.last_run(RunKind.RISK), again.last_run(RunKind.TRAINING)) == ("q", "t")
    assert config.last_run(RunKind.RISK) is None
