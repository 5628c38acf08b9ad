"""What a bank agrees to in a training with privacy terms: by rules, and as a person is shown it."""

from typing import Any

import pytest
from judging.payments import CONTRACT

from bank_node.approval_rules import ApprovalRules
from bank_node.jobs.registry import JOBS
from bank_node.run.agreement.partners import check_members
from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium.trust import Trust, TrustKind
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import PrivacySpec, PublicKeyMessage, RunKind, RunSpec

TABLE: dict[str, Any] = {"max_epsilon": 3.0}
EXACT: dict[str, Any] = {"columns": ["*"], "parameters": "any"}


def run(*, min_cohort: int = 5, **changes: Any) -> PinnedRun:
    known = {"epsilon": 3.0, "tolerated_colluders": 1, "declared_rows": 2_000_000}
    privacy = None if changes.pop("none", False) else PrivacySpec(**{**known, **changes})
    spec = RunSpec(name="t", key_epoch=1, contract=CONTRACT, min_cohort=min_cohort, privacy=privacy)
    return PinnedRun.model_construct(
        run_id="r",
        spec=spec,
        cohort=("a", "b", "c"),
        public_key=PublicKeyMessage.model_construct(n="ff", fingerprint="1" * 64),
    )


def refused(table: Any, **changes: Any) -> list[str]:
    rules = EXACT if table is None else {**EXACT, "privacy": table}
    found = JOBS[RunKind.TRAINING].weigh(run(**changes), ApprovalRules.model_validate(rules))
    return [each.subject for each in found if not each.allowed]


def test_rules_allow_exactly_what_they_say() -> None:
    assert refused(None) == ["privacy terms"]
    assert refused("any") == []
    assert refused("any", epsilon=20) == []
    assert refused(TABLE) == []
    assert refused(TABLE, epsilon=3.01) == ["epsilon"]
    assert refused(TABLE, delta=1e-5) == ["delta"]
    assert refused({**TABLE, "max_delta": 1e-5}, delta=1e-5) == []
    assert refused({**TABLE, "units": ["customer"]}) == ["unit of privacy"]
    assert refused({**TABLE, "units": ["customer"]}, unit="customer") == []
    assert refused({**TABLE, "histories": ["none"]}) == ["history under privacy terms"]
    assert refused({**TABLE, "histories": ["none"]}, history="none") == []


def test_a_training_without_terms_needs_a_person_where_they_are_required() -> None:
    for table in (None, "any", TABLE):
        assert refused(table, none=True) == []
    assert refused({**TABLE, "required": True}, none=True) == ["privacy terms"]
    assert refused({**TABLE, "required": True}) == []


def test_terms_approve_nothing_else() -> None:
    rules = ApprovalRules.model_validate({"privacy": "any"})
    found = JOBS[RunKind.TRAINING].weigh(run(), rules)
    assert [each.allowed for each in found] == [False]


@pytest.mark.parametrize(
    "table", [{}, {"max_epsilon": 0}, {"max_epsilon": 3, "units": []}, {"epsilon": 3}, 3]
)
def test_a_table_that_cannot_be_is_named(table: Any) -> None:
    with pytest.raises(ValueError, match="privacy"):
        ApprovalRules.model_validate({"privacy": table})


def test_the_table_is_written_back() -> None:
    rules = ApprovalRules.model_validate({**EXACT, "privacy": {**TABLE, "units": ["row"]}})
    written = rules.to_tables()
    assert written["approval.privacy"]["units"] == ["row"]
    assert ApprovalRules.model_validate({**EXACT, "privacy": written["approval.privacy"]}) == rules
    anything = ApprovalRules.model_validate({**EXACT, "privacy": "any"})
    assert anything.to_tables()["approval"]["privacy"] == "any"


def test_a_person_is_shown_the_bound_and_what_it_does_not_cover() -> None:
    facts = JOBS[RunKind.TRAINING].facts(run(unit="customer"), key_bits=2048)
    assert facts.about.kind == "training"
    assert facts.about.privacy is not None
    assert (facts.about.privacy.epsilon, facts.about.privacy.unit) == (3.0, "customer")
    assert "all training rows of one customer at one bank" in facts.about.privacy.hides
    text = " ".join(facts.reveals)
    for said in (
        "Each sum carries noise of every bank",
        "at most e^3 times as likely",
        "Not covered: traces of a payment in the features of other rows",
        "Not covered: a customer of several banks",
    ):
        assert said in text
    # Nothing that an exact training says.
    assert "which ranges are empty" not in text
    assert "hessians of at least" not in text


def test_of_rows_a_person_is_told_that_customers_are_not_covered() -> None:
    text = " ".join(JOBS[RunKind.TRAINING].facts(run(), key_bits=2048).reveals)
    assert "Not covered: a customer with many rows" in text
    without = " ".join(JOBS[RunKind.TRAINING].facts(run(history="none"), key_bits=2048).reveals)
    assert "traces of a payment" not in without


def test_a_training_without_terms_says_so() -> None:
    facts = JOBS[RunKind.TRAINING].facts(run(none=True), key_bits=2048)
    assert facts.about.kind == "training"
    assert facts.about.privacy is None
    assert "which ranges are empty" in " ".join(facts.reveals)


def trust(tolerated: int) -> Trust:
    owners = {name: name for name in "abcde"}
    return Trust(owners, frozenset(), tolerated, TrustKind.CONFIRMED)


def test_a_run_that_counts_on_more_banks_noise_than_this_bank_does_is_refused() -> None:
    check_members(run(tolerated_colluders=1), trust(1))
    check_members(run(tolerated_colluders=2), trust(1))
    with pytest.raises(ConfigurationError, match=r"without that of 0 banks .* tolerates 1 that"):
        check_members(run(tolerated_colluders=0), trust(1))
