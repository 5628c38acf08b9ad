"""What a bank agrees to in a statistics run: by rules, and as a person is shown it."""

from dataclasses import replace
from typing import Any

import pytest
from examples.statistics import KEY, counted, layout, payments, statistics_run

from bank_node.approval.cost import statistics_cost
from bank_node.approval_rules import ApprovalRules
from bank_node.config import BankConfig, CohortRules
from bank_node.jobs.registry import JOBS
from bank_node.jobs.statistics import StatisticsJob, layout_of
from bank_node.run.progress import RunProgress
from bank_node.state.pinned_run import PinnedRun
from fraudfed.communicator import SoloCommunicator
from fraudfed.console import stderr_console
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.statistics.rounds import pool
from fraudfed.wire.messages import ModelVisibility, PublicKeyMessage, RunKind

PUBLIC_KEY = PublicKeyMessage.model_construct(n="ff", fingerprint="1" * 64)
TABLE = {"columns": ["amount", "hour_*", "is_*"], "min_count": 10, "min_customers": 3}


def run(**changes: Any) -> PinnedRun:
    return PinnedRun.model_construct(
        run_id="r",
        spec=statistics_run(1, **changes),
        cohort=("a", "b", "c"),
        public_key=PUBLIC_KEY,
    )


def objections(table: Any, **changes: Any) -> list[str]:
    rules = ApprovalRules.model_validate({} if table is None else {"statistics": table})
    found = JOBS[RunKind.STATISTICS].weigh(run(**changes), rules)
    assert found
    return [f"{each.subject} {each.reason}" for each in found if not each.allowed]


def asked(**changes: Any) -> dict[str, Any]:
    return {"statistics": statistics_run(1).statistics.model_copy(update=changes)}


@pytest.mark.parametrize(
    ("table", "changes", "against"),
    [
        (None, {}, ["approved by no rule"]),
        ("any", {}, []),
        (TABLE, {}, []),
        ({**TABLE, "columns": ["amount"]}, {}, ["hour_of_day", "is_night", "is_fraud"]),
        (TABLE, asked(min_count=9), ["min_count is 9, below the 10"]),
        (TABLE, asked(min_customers=2), ["min_customers is 2, below the 3"]),
        (TABLE, asked(min_count=11, min_customers=4), []),
        ({**TABLE, "entities": ["merchant"]}, {}, ["compares each terminal", "each payee"]),
    ],
)
def test_rules_approve_exactly_what_they_name(
    table: Any, changes: dict[str, Any], against: list[str]
) -> None:
    found = objections(table, **changes)
    assert len(found) == len(against)
    assert all(part in text for part, text in zip(against, found, strict=True))


def test_rules_for_statistics_approve_no_training_and_are_written_back() -> None:
    approval = ApprovalRules.model_validate({"statistics": TABLE})
    assert not approval.columns
    config = BankConfig(
        name="a",
        aggregator="https://a.example",
        signing_key="1" * 64,
        agreement_key="2" * 64,
        approval=approval,
        rules=CohortRules(min_statistics_count=25),
    )
    assert BankConfig.from_toml(config.to_toml(), source="test") == config
    for wrong in (True, {"columns": []}, {**TABLE, "min_count": 0}, {**TABLE, "entities": ["x"]}):
        with pytest.raises(ValueError, match=r"statistics|columns|min_count|entities"):
            ApprovalRules.model_validate({"statistics": wrong})


def test_a_person_is_shown_columns_thresholds_cost_and_what_is_revealed() -> None:
    facts = StatisticsJob().facts(run(), key_bits=3072)
    assert facts.about.kind == "statistics"
    assert [column.name for column in facts.about.columns] == [
        *("amount", "hour_of_day", "is_night", "is_fraud"),
    ]
    assert {"amount_minor", "payee_id", "merchant_id:case"} <= set(facts.about.counted)
    assert facts.cost is not None
    assert facts.cost.rounds == 3
    said = " ".join(facts.reveals)
    for part in ("below 10 as 0", "terminal, merchant, payee", "3 or more customers", "sealed"):
        assert part in said


class Counting:
    """Counts rounds and ciphertexts as the secure sum would need them."""

    def __init__(self, key_bits: int) -> None:
        self.key_bits, self.rounds, self.ciphertexts = key_bits, 0, 0

    def sum(self, values: Int64Array, *, bound: Any, low: Any = None, label: str) -> Int64Array:
        total = SoloCommunicator().sum(values, bound=bound, low=low, label=label)
        slots = SlotLayout.for_bounds(
            bound, values.shape, plaintext_bits=self.key_bits - 2, low=low
        )
        self.rounds, self.ciphertexts = self.rounds + 1, self.ciphertexts + slots.n_plaintexts
        return total


def test_the_run_of_another_kind_and_of_other_readers_is_refused() -> None:
    job, rules = StatisticsJob(), CohortRules()
    job.accept(run(), rules, None)  # type: ignore[arg-type]
    only = CohortRules(model_visibility=(ModelVisibility.AGGREGATOR,))
    with pytest.raises(ConfigurationError, match="model_visibility is 'members'"):
        job.accept(run(), only, None)  # type: ignore[arg-type]
    training = run().model_copy(
        update={
            "spec": run().spec.model_copy(update={"kind": RunKind.TRAINING, "statistics": None})
        }
    )
    with pytest.raises(ConfigurationError, match="is of kind training, expected statistics"):
        job.accept(training, rules, None)  # type: ignore[arg-type]


def test_a_handover_of_another_key_or_run_is_refused() -> None:
    from bank_node.jobs.statistics import StatisticsWork

    at = layout_of(run())
    counts = counted(payments(0, n_rows=300), at)
    kept: list[bytes] = []
    with RunProgress(stderr_console(), enabled=False) as progress:
        work = StatisticsWork(
            counts=counts,
            layout=at,
            least=10,
            hash_key=KEY,
            row_keys=("k",),
            keep_own=kept.append,
            progress=progress,
        )
        steps = []
        outcome = work.run(SoloCommunicator(), start=None, on_step=steps.append)
        (state,) = steps
        assert work.decode(state.to_bytes()).to_bytes() == outcome.content
        assert kept == [outcome.content], "alone, a bank's part is the sum"
        again = work.run(SoloCommunicator(), start=state, on_step=steps.append)
        assert (again.content, len(steps), len(kept)) == (outcome.content, 1, 1)
    other_key = pool(counts, at, SoloCommunicator(), least=10, hash_key=bytes(32)).pooled
    with pytest.raises(StateError, match="another hash key"):
        work.decode(other_key.to_bytes())
    with pytest.raises(StateError, match=r"cannot be read|canonical"):
        work.decode(outcome.content.replace(b'"amount_minor"', b'"amount"'))
    other_rows = replace(work, counts=counted(payments(0, n_rows=301), at))
    assert work.data_sha256 != other_rows.data_sha256
    assert work.data_sha256 != replace(work, least=11).data_sha256
    assert work.sources(None) == work.sources(0) == ("k",)


def test_the_cost_is_an_upper_bound() -> None:
    at = layout(3)
    counted_rounds = Counting(2048)
    pool(counted(payments(0), at), at, counted_rounds, least=1, hash_key=KEY)
    estimate = statistics_cost(at, key_bits=2048)
    assert counted_rounds.rounds == estimate.rounds == 3
    assert 0 < counted_rounds.ciphertexts <= estimate.ciphertexts
