"""Which runs a bank takes part in when it wants noise: exact ones, and histories in tables."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bank_node.approval.facts import RiskFacts, RiskPrivacyFacts
from bank_node.approval.risk import risk_facts, weigh_risk
from bank_node.approval_rules import ApprovalRules
from bank_node.config import BankConfig, CohortRules, ExactRuns, PrivacyRules
from bank_node.jobs.risk.history import fitting_files
from bank_node.jobs.risk.private_history import check_private_history
from bank_node.jobs.risk.report import risk_report
from bank_node.jobs.risk.run import check_risk_run
from bank_node.run.agreement.exactness import check_exact
from bank_node.run.budget import RiskBudget
from bank_node.state.directory import TABLES_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.risk_file import RiskFile
from fraudfed.catalogue.privacy_check import check_history_features
from fraudfed.catalogue.recipe import FEATURES, SHARED_FEATURES, Others
from fraudfed.catalogue.recipes import contract_features
from fraudfed.consortium.identity import Identity
from fraudfed.errors import ConfigurationError, ProtocolError, RunDescriptionError
from fraudfed.features import RECIPE
from fraudfed.features.shared_risk import RiskTables
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.noise import RiskNoise
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.features.shared_risk.tables import DayTable
from fraudfed.privacy.events import Blocks
from fraudfed.privacy.terms import History
from fraudfed.wire.messages import DataContract, PublicKeyMessage, RiskSpec, RunSpec, parse

KEY = bytes(range(32))
RISK: dict[str, Any] = {"first_day": 19_506, "last_day": 19_507, "delay_days": 0}
NOISED: dict[str, Any] = {
    **RISK,
    "depth": 1,
    "min_customers": 1,
    "privacy": {"epsilon": 3.0, "tolerated_colluders": 1},
}
TABLE: dict[str, Any] = {"kind": "table", "features": [{"name": "amount"}]}
PRIVACY: dict[str, Any] = {"epsilon": 3.0, "tolerated_colluders": 1, "declared_rows": 1000}


def pinned(**fields: Any) -> PinnedRun:
    spec = RunSpec(name="r", key_epoch=1, **fields)
    key = PublicKeyMessage(n="1f", hs="3", fingerprint="0" * 64)
    return PinnedRun(run_id="run", spec=spec, cohort=("a", "b", "c"), public_key=key)


def risk_run(risk: dict[str, Any]) -> PinnedRun:
    return pinned(kind="risk", risk=risk, model_visibility="members")


EXACT = (
    pinned(contract=TABLE),
    risk_run(RISK),
    pinned(kind="statistics", contract=TABLE, statistics={}, model_visibility="members"),
)


@pytest.mark.parametrize("run", EXACT, ids=[run.spec.kind.value for run in EXACT])
def test_a_bank_may_refuse_runs_whose_sums_are_exact(run: PinnedRun) -> None:
    check_exact(run, PrivacyRules())
    with pytest.raises(ConfigurationError, match="without privacy terms, and this bank takes part"):
        check_exact(run, PrivacyRules(exact_runs=ExactRuns.REFUSE))


def test_runs_with_terms_are_no_matter_of_that_rule() -> None:
    rules = PrivacyRules(exact_runs=ExactRuns.REFUSE)
    check_exact(pinned(contract=TABLE, privacy=PRIVACY), rules)
    check_exact(risk_run(NOISED), rules)


def test_the_rule_is_read_from_bank_toml(tmp_path: Path) -> None:
    config = config_of()
    assert config.privacy.exact_runs is ExactRuns.ALLOW
    text = config.to_toml().replace('exact_runs = "allow"', 'exact_runs = "refuse"')
    assert text != config.to_toml()
    assert BankConfig.from_toml(text, source="t").privacy.exact_runs is ExactRuns.REFUSE


@pytest.mark.parametrize("kind", ["search", "statistics", "monitor"])
def test_other_kinds_cannot_have_terms(kind: str) -> None:
    """Refused when the run is created: the description cannot be written."""
    with pytest.raises(ProtocolError):
        parse(
            RunSpec,
            {"name": "r", "key_epoch": 1, "kind": kind, "contract": TABLE, "privacy": PRIVACY},
            source="t",
        )
    with pytest.raises(ProtocolError, match=r"of risk tables they stand in risk\.privacy"):
        parse(
            RunSpec,
            {
                **{"name": "r", "key_epoch": 1, "kind": "risk", "risk": RISK},
                **{"privacy": PRIVACY, "model_visibility": "members"},
            },
            source="t",
        )


def test_tables_with_noise_need_as_many_banks_as_a_training() -> None:
    risk = {**NOISED, "privacy": {"epsilon": 3.0, "tolerated_colluders": 2}}
    with pytest.raises(ValueError, match="min_cohort is 3, expected at least 4"):
        risk_run(risk)
    terms = risk_run(NOISED).spec.noise_terms
    assert terms is not None
    assert terms.tolerated_colluders == 1
    assert risk_run(RISK).spec.noise_terms is None


def test_a_minimum_of_customers_does_not_go_with_noise() -> None:
    check_risk_run(risk_run(NOISED), CohortRules())
    check_risk_run(risk_run(RISK), CohortRules(min_risk_customers=3))
    with pytest.raises(ConfigurationError, match="which the noise does not cover"):
        check_risk_run(risk_run(NOISED), CohortRules(min_risk_customers=3))


def test_a_step_is_charged_to_its_whole_months() -> None:
    # 2023-05-29 .. 2023-06-11, in steps of a week.
    spec = RiskSpec.model_validate({**NOISED, "last_day": 19_519})
    run = risk_run(spec.model_dump())
    terms = run.spec.noise_terms
    assert terms is not None
    budget = RiskBudget(terms, spec)
    (first, both), (second, june) = budget.costs()
    assert both == Blocks.of_days(
        date.fromisoformat("2023-05-01"), date.fromisoformat("2023-06-30")
    )
    assert june == Blocks.of_days(
        date.fromisoformat("2023-06-01"), date.fromisoformat("2023-06-30")
    )
    noise = RiskNoise.of(spec)
    assert first >= noise.moved(range(19_506, 19_513)) / 2
    assert second >= noise.moved(range(19_513, 19_520)) / 2
    assert budget.blocks_of("noised-risk:19506") == both
    assert budget.blocks_of("noised-risk:19513") == june


def config_of() -> BankConfig:
    identity = Identity.generate().public
    return BankConfig(
        name="bank-a",
        aggregator="https://a.example",
        signing_key=identity.signing_key,
        agreement_key=identity.agreement_key,
    )


def test_a_person_is_shown_what_the_noise_hides_and_decides() -> None:
    run = risk_run(NOISED)
    facts = risk_facts(run, key_bits=3072)
    assert isinstance(facts.about, RiskFacts)
    noise = RiskNoise.of(run.risk)
    assert facts.about.privacy == RiskPrivacyFacts(
        epsilon=3.0,
        delta=1e-6,
        tolerated_colluders=1,
        payment_noise=noise.payment_sigma,
        fraud_noise=noise.fraud_sigma,
    )
    text = " ".join(facts.reveals)
    assert "no more than epsilon 3 allows" in text
    assert "at an entity that only this bank knows" not in text
    assert facts.cost is not None
    # One release a step; exact tables open totals as well.
    assert facts.cost.rounds == 1
    table = {"max_days": 10, "min_customers": 1, "entities": ["terminal", "merchant", "payee"]}
    (found,) = [
        each
        for each in weigh_risk(run, ApprovalRules.model_validate({"risk": table}))
        if not each.allowed
    ]
    assert found.subject == "noise in risk tables"
    exact = risk_facts(risk_run(RISK), key_bits=3072)
    assert isinstance(exact.about, RiskFacts)
    assert exact.about.privacy is None


def test_what_a_bank_holds_is_shown_with_its_noise(state: StateDirectory) -> None:
    exact, noised = risk_report(state)["runs"]
    assert exact["frauds"]["noise"] == 0.0
    sigma = RiskNoise.of(RiskSpec.model_validate(NOISED)).fraud_sigma
    assert noised["frauds"]["noise"] == pytest.approx(sigma)
    assert noised["frauds"]["depth"] == 1


def tables(risk: dict[str, Any]) -> KeyedTables:
    spec = RiskSpec.model_validate({**risk, "transaction_width": 16, "fraud_width": 16})
    kind = np.uint8 if spec.privacy is None else np.int8
    empty = np.zeros((spec.n_rows, 16), dtype=kind)
    return KeyedTables(
        RiskTables(spec, hash_key_id(KEY), (DayTable(empty, empty, empty),) * 2), KEY
    )


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    """Return a directory with exact tables "1..." and noised ones "2..."."""
    made = StateDirectory.create(tmp_path / "bank", config_of(), Identity.generate())
    for name, risk in (("1", RISK), ("2", NOISED)):
        file = RiskFile(run_id=f"run{name}", registry_sha256=name * 64, keyed=tables(risk))
        path = made.run_directory(f"run{name}") / TABLES_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.to_bytes())
    return made


def contract_of(*shared: str, kept: Any = None) -> DataContract:
    features = contract_features(RECIPE, shared=bool(shared))
    if kept is not None:
        features = tuple(spec for spec in features if spec.name in kept)
    return DataContract(
        kind="transactions",
        recipe=RECIPE,
        features=features,
        shared_risk=tuple(name * 64 for name in shared),
        risk_delay_days=0,
    )


def training(contract: DataContract, history: str) -> PinnedRun:
    privacy = {**PRIVACY, "unit": "customer", "history": history}
    return pinned(contract=contract, privacy=privacy)


def test_dp_tables_are_tables_that_carry_noise(state: StateDirectory) -> None:
    check_private_history(training(contract_of("2"), "dp-tables"), state)
    check_private_history(training(contract_of("1"), "declared"), state)
    with pytest.raises(ConfigurationError, match="risk tables of run run1 are exact"):
        check_private_history(training(contract_of("2", "1"), "dp-tables"), state)
    with pytest.raises(ConfigurationError, match="does not hold the risk tables 333"):
        check_private_history(training(contract_of("3"), "dp-tables"), state)


def test_a_model_scores_with_tables_of_the_kind_that_it_was_trained_with() -> None:
    files = [
        RiskFile(run_id=f"run{name}", registry_sha256=name * 64, keyed=tables(risk))
        for name, risk in (("1", RISK), ("2", NOISED), ("3", RISK), ("4", NOISED))
    ]
    assert [file.run_id for file in fitting_files(files, contract_of("1"))] == ["run1", "run3"]
    assert [file.run_id for file in fitting_files(files, contract_of("2"))] == ["run2", "run4"]


OWN = {each.name for each in FEATURES if each.others is Others.NOBODY}
SHARED = {each.name for each in SHARED_FEATURES}


@pytest.mark.parametrize(
    ("history", "contract", "is_allowed"),
    [
        (History.NONE, contract_of(kept=OWN), True),
        (History.NONE, contract_of("2", kept=OWN | SHARED), False),
        (History.NONE, contract_of(kept=OWN | {"terminal_fraud_rate_7d"}), False),
        (History.NONE, contract_of(kept=OWN | {"payee_customers_7d"}), False),
        (History.DP_TABLES, contract_of("2", kept=OWN | SHARED), True),
        (History.DP_TABLES, contract_of("2"), False),
        (History.DECLARED, contract_of("1"), True),
        (History.NONE, DataContract.model_validate(TABLE), True),
    ],
)
def test_features_that_hold_others_are_refused_where_there_are_to_be_none(
    history: History, contract: DataContract, is_allowed: bool
) -> None:
    if is_allowed:
        check_history_features(history, contract)
        return
    with pytest.raises(RunDescriptionError, match="hold payments of other customers"):
        check_history_features(history, contract)


def test_which_features_hold_others_is_marked() -> None:
    """By their names: what is about a terminal, merchant or payee is about others, too."""
    about_customers = ("new_payee",)
    for each in FEATURES:
        is_about_place = each.name.startswith(("terminal_", "merchant_", "payee_"))
        is_about_place &= each.name != "merchant_category" and each.name not in about_customers
        assert (each.others is Others.OF_BANK) == is_about_place
    assert {each.others for each in SHARED_FEATURES} == {Others.IN_TABLES}
