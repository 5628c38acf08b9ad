"""Rounds: the same tables however rows are split, and whatever is interrupted."""

import numpy as np
import pytest
from cohorts.exact import CohortCommunicator, run_cohort
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import START, random_table, table
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec, solo_tables, split

from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import SumError
from fraudfed.features.shared_risk import RiskTables, risk_entries, sum_tables
from fraudfed.features.shared_risk.sketch import hash_identifiers, hash_key_id
from fraudfed.wire.messages import RiskSpec

SPEC = risk_spec(first_day=FIRST_DAY, last_day=FIRST_DAY + 40, transaction_width=32, fraud_width=16)


class Recorder(SoloCommunicator):
    """A cohort of one that keeps what it was handed in plain."""

    def __init__(self) -> None:
        self.handed: list[tuple[str, Int64Array]] = []

    def sum(self, values: Int64Array, *, label: str, **bounds: object) -> Int64Array:  # type: ignore[override]
        self.handed.append((label, values.copy()))
        return super().sum(values, label=label, **bounds)  # type: ignore[arg-type]


def begin(spec: RiskSpec) -> RiskTables:
    return RiskTables(spec, hash_key_id(KEY))


@given(seed=st.integers(0, 999), n_banks=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_the_tables_do_not_depend_on_how_payments_are_split(seed: int, n_banks: int) -> None:
    """With a minimum of one customer; a larger one is each bank's own matter."""
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 120, days=40)
    parts = split(frame, n_banks, rng)

    def bank(number: int, communicator: CohortCommunicator) -> bytes:
        entries = risk_entries(parts[number], SPEC, hash_key=KEY)
        return sum_tables(entries, communicator, start=begin(SPEC)).to_bytes()

    assert set(run_cohort(n_banks, bank)) == {solo_tables(frame, SPEC).to_bytes()}


@given(seed=st.integers(0, 999), days_per_step=st.sampled_from([1, 5, 7, 400]))
@settings(max_examples=10, deadline=None)
def test_tables_resumed_from_any_step_are_the_same(seed: int, days_per_step: int) -> None:
    frame = random_table(np.random.default_rng(seed), 60, days=40)
    spec = SPEC.model_copy(update={"days_per_step": days_per_step})
    entries = risk_entries(frame, spec, hash_key=KEY)
    states: list[bytes] = []
    whole = sum_tables(
        entries,
        SoloCommunicator(),
        start=begin(spec),
        on_step=lambda tables: states.append(tables.to_bytes()),
    )
    assert len(states) == whole.n_steps == -(-41 // days_per_step)
    assert states[-1] == whole.to_bytes()
    for number, state in enumerate(states, start=1):
        start = RiskTables.from_bytes(state)
        assert start.n_steps == number
        resumed = sum_tables(entries, SoloCommunicator(), start=start)
        assert resumed.to_bytes() == whole.to_bytes()


def test_days_without_entries_are_not_summed() -> None:
    rows = [
        {"event_time": START, "terminal_id": "t", "customer_id": "c", "is_fraud": fraud}
        for fraud in (0, 1)
    ]
    spec = SPEC.model_copy(update={"last_day": FIRST_DAY + 13})
    recorder = Recorder()
    entries = risk_entries(table(rows), spec, hash_key=KEY)
    tables = sum_tables(entries, recorder, start=begin(spec))
    sizes = [(label, values.size) for label, values in recorder.handed]
    assert sizes == [
        (f"risk_totals:{FIRST_DAY}", 21),
        (f"risk_sketches:{FIRST_DAY}", 0),
        (f"risk_totals:{FIRST_DAY + 7}", 21),
        # One day of payments and frauds.
        (f"risk_sketches:{FIRST_DAY + 7}", 4 * (32 + 16)),
    ]
    assert [int(day.transactions[0].sum()) for day in tables.days] == [0] * 7 + [2] + [0] * 6
    assert [int(day.frauds[0].sum()) for day in tables.days] == [0] * 7 + [1] + [0] * 6


def test_a_bank_below_the_minimum_hands_out_zeros_for_the_entity() -> None:
    """The plaintext before anything is sealed: nobody else can make the bank say more."""

    def paid(customers: int, terminal: str) -> list[dict[str, object]]:
        return [
            {"event_time": START, "terminal_id": terminal, "customer_id": f"{terminal}{i}"}
            for i in range(customers)
        ]

    spec = SPEC.model_copy(update={"min_customers": 3, "transaction_width": 1 << 12})
    recorder = Recorder()
    frame = table([*paid(2, "few"), *paid(3, "many")])
    sum_tables(risk_entries(frame, spec, hash_key=KEY), recorder, start=begin(spec))
    (sketch,) = [values for label, values in recorder.handed if "sketches" in label and values.size]
    (totals,) = [values for label, values in recorder.handed if "totals" in label and values.any()]
    assert totals.sum() == 3
    rows = sketch.reshape(spec.depth, -1)
    columns = {
        name: hash_identifiers("terminal", [name], hash_key=KEY, depth=4)[0] % (1 << 12)
        for name in ("few", "many")
    }
    assert [int(rows[row, columns["few"][row]]) for row in range(4)] == [0] * 4
    assert [int(rows[row, columns["many"][row]]) for row in range(4)] == [3] * 4
    assert np.count_nonzero(rows) == 4


def test_control_without_the_minimum_a_single_customer_shows() -> None:
    """The same payments, the same recorder: only the rule is gone."""
    frame = table([{"event_time": START, "terminal_id": "few", "customer_id": "c"}])
    shown = []
    for least in (3, 1):
        spec = SPEC.model_copy(update={"min_customers": least})
        recorder = Recorder()
        sum_tables(risk_entries(frame, spec, hash_key=KEY), recorder, start=begin(spec))
        shown.append(sum(int(values.sum()) for _, values in recorder.handed))
    # One total, and one counter in each row.
    assert shown == [0, 1 + spec.depth]


class Stuffing(SoloCommunicator):
    """Another bank of the cohort that puts into a sketch what it did not announce."""

    def sum(self, values: Int64Array, *, label: str, **bounds: object) -> Int64Array:  # type: ignore[override]
        total = super().sum(values, label=label, **bounds)  # type: ignore[arg-type]
        if label.startswith("risk_sketches") and total.size:
            total[0] += 1
        return total


def test_a_row_that_does_not_add_up_to_its_total_is_refused() -> None:
    frame = random_table(np.random.default_rng(3), 40, days=20)
    entries = risk_entries(frame, SPEC, hash_key=KEY)
    with pytest.raises(SumError, match="opened sum: the counters of a day"):
        sum_tables(entries, Stuffing(), start=begin(SPEC))


def test_bounds_of_sketches_are_the_announced_totals() -> None:
    """The only public numbers that a round of sketches gives away by its size."""
    rng = np.random.default_rng(5)
    parts = split(random_table(rng, 80, days=20), 3, rng)

    def bank(number: int, communicator: CohortCommunicator) -> list[int]:
        entries = risk_entries(parts[number], SPEC, hash_key=KEY)
        tables = sum_tables(entries, communicator, start=begin(SPEC))
        largest = [
            int(np.frombuffer(call.bound, dtype=np.int64).max())
            for call in communicator.log
            if call.label.startswith("risk_sketches") and call.bound
        ]
        totals = [int(day.transactions[0].sum()) for day in tables.days]
        assert max(largest) == max(totals) > 0
        return totals

    totals = run_cohort(3, bank)
    assert totals[0] == totals[1] == totals[2]
