"""What a bank agrees to in a monitor run: by rules, and as a person is shown it."""

from typing import Any

import pytest
from examples.drifting import FEATURES, world
from judging.payments import CONTRACT

from bank_node.approval.cost import monitor_cost
from bank_node.approval_rules import ApprovalRules
from bank_node.jobs.monitor import MonitorJob, empty_watch
from bank_node.jobs.registry import JOBS
from bank_node.state.pinned_run import PinnedRun
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ConfigurationError
from fraudfed.evaluation.drift.pooled import pool_watch
from fraudfed.evaluation.drift.rows import DAY
from fraudfed.evaluation.drift.watch import Watch
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.wire.messages import (
    ModelVisibility,
    MonitorSpec,
    PublicKeyMessage,
    RunKind,
    RunSpec,
)

TABLE = {"columns": ["*"], "min_count": 10}


def run(**changes: Any) -> PinnedRun:
    spec = MonitorSpec(model_run="r0", model_sha256="ab" * 32, until=20_000 * 86_400)
    described = RunSpec(
        name="watch",
        key_epoch=1,
        kind=RunKind.MONITOR,
        contract=CONTRACT,
        model_visibility=ModelVisibility.MEMBERS,
        monitor=spec.model_copy(update=changes),
    )
    return PinnedRun.model_construct(
        run_id="r",
        spec=described,
        cohort=("a", "b", "c"),
        public_key=PublicKeyMessage.model_construct(n="ff", fingerprint="1" * 64),
    )


def allowed(table: Any, **changes: Any) -> list[bool]:
    rules = ApprovalRules.model_validate({} if table is None else {"monitor": table})
    return [each.allowed for each in JOBS[RunKind.MONITOR].weigh(run(**changes), rules)]


def test_rules_allow_exactly_what_they_say() -> None:
    assert allowed(None) == [False]
    assert allowed("any") == [True]
    assert all(allowed(TABLE))
    assert not all(allowed(TABLE, min_count=9))
    assert all(allowed(TABLE, min_count=11))
    assert not all(allowed({**TABLE, "columns": ["amount*"]}))
    for wrong in ({"columns": []}, {**TABLE, "min_customers": 3}, "none"):
        with pytest.raises(ValueError, match=r"monitor"):
            ApprovalRules.model_validate({"monitor": wrong})
    rules = ApprovalRules.model_validate({"monitor": TABLE})
    assert rules.to_tables()["approval.monitor"]["min_count"] == 10


def test_facts_say_model_weeks_and_what_they_reveal() -> None:
    facts = MonitorJob().facts(run(), key_bits=2048)
    assert facts.about.kind == "monitor"
    assert (facts.about.weeks, facts.about.reference_weeks) == (13, 12)
    assert (facts.about.model_run, facts.about.until) == ("r0", 20_000 * 86_400)
    text = " ".join(facts.reveals)
    assert "at least 3 of the 3" in text
    assert "below 10 as 0" in text


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


def test_the_cost_is_an_upper_bound() -> None:
    rows, weeks = world(61, customers=200)
    watch = Watch(weeks, FEATURES, slot_seconds=DAY)
    watch.update(rows)
    rounds = Counting(2048)
    pool_watch(watch, rounds)
    estimate = monitor_cost(watch, key_bits=2048)
    assert rounds.rounds == estimate.rounds == 2
    assert 0 < rounds.ciphertexts <= estimate.ciphertexts


def test_another_kind_of_run_is_refused() -> None:
    spec = run().spec.model_copy(update={"kind": RunKind.TRAINING, "monitor": None})
    other = run().model_copy(update={"spec": spec})
    with pytest.raises(ConfigurationError, match="is of kind training, expected monitor"):
        empty_watch(other)
