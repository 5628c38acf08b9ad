"""A member turns bounds into thresholds; honest banks must not show on which side they are.

The member shifts a sum by what no rows are, so that the public bounds that follow are of its
choice. What anybody sees then (which sums, how wide, what they open to, which bank ends how) must
be a function of the honest banks' *sum*: the same if one of them holds all rows or each a half.
"""

from collections.abc import Callable

import numpy as np
import pytest
from cohorts.lying import Asked, Member, OwnCheck, Seen, adds, see
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import random_table
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec

from fraudfed.boosting.engine.keys import keys_from_values
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train_checked
from fraudfed.communicator import Communicator, check_bound
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.features.shared_risk import RiskTables, risk_entries, sum_tables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.parameters import BoosterParams

N_ROWS = 600
PARAMS = BoosterParams.parse({"num_boost_round": 2, "max_depth": 2, "max_bin": 8})
SCHEMA = FeatureSchema(names=("amount", "kind", "gap"), n_categories=(0, 3, 0))


def _table() -> TrainingTable:
    rng = np.random.default_rng(5)
    amount = np.round(rng.normal(size=N_ROWS), 1)
    gap = np.where(rng.random(N_ROWS) < 0.3, np.nan, rng.integers(0, 20, N_ROWS))
    features = np.column_stack((amount, rng.integers(0, 3, N_ROWS), gap)).astype(np.float32)
    labels = (amount + rng.normal(size=N_ROWS) > 1).astype(np.float32)
    return TrainingTable(SCHEMA, features, labels, rng.uniform(0.1, 4, N_ROWS).astype("f4"), 4.0)


TABLE = _table()
N_POSITIVES = int(TABLE.labels.sum())
ALL = np.ones(N_ROWS, dtype=np.bool_)
HALF = np.arange(N_ROWS) % 2 == 0
FEW = np.arange(N_ROWS) < 7


def _part(rows: BoolArray, *, is_weighted: bool) -> TrainingTable:
    assert TABLE.weights is not None
    weights = TABLE.weights[rows] if is_weighted else None
    return TrainingTable(SCHEMA, TABLE.features[rows], TABLE.labels[rows], weights, 4.0)


def _training(
    split: BoolArray,
    member: Member,
    own_check: OwnCheck | None = None,
    *,
    is_weighted: bool = True,
) -> Seen:
    def program(bank: int, communicator: Communicator) -> str:
        table = _part(split if bank == 0 else ~split, is_weighted=is_weighted)
        found = train_checked(PARAMS, table, communicator, validation=table, threads=1)
        return found.model.sha256

    return see(2, program, member=member, own_check=own_check)


def _rows(n_rows: int, n_positives: int) -> Callable[[Asked], Int64Array]:
    """Make the pooled rows come out as these, for training and for validation."""

    def rule(asked: Asked) -> Int64Array:
        wanted = np.array([n_rows, n_positives] * 2, dtype=np.int64)
        return wanted[: asked.honest.size] - asked.honest

    return rule


def _into_range(asked: Asked) -> Int64Array:
    """Bring what is out of range to the end of it: the training lives as long as it can."""
    return np.clip(asked.honest, asked.low, asked.bound) - asked.honest


def _anywhere(asked: Asked) -> Int64Array:
    """Open to anything in range, the same whenever the sum of the others is the same."""
    rng = np.random.default_rng(len(asked.label) + asked.honest.size)
    share = rng.random(asked.honest.shape)
    wanted = asked.low + (share * (asked.bound - asked.low)).astype(np.int64)
    return wanted - asked.honest


def _nothing(asked: Asked) -> Int64Array:
    return np.zeros_like(asked.honest)


THEN = {"nothing": _nothing, "into range": _into_range, "anywhere": _anywhere}


def _members(threshold: int, positives: int, then: str) -> Member:
    return adds([("rows", _rows(threshold, positives)), ("", THEN[then])])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 3 * N_ROWS),
    st.floats(0, 1),
    st.sampled_from(sorted(THEN)),
)
def test_every_threshold_looks_the_same_whoever_holds_the_rows(
    threshold: int, share: float, then: str
) -> None:
    member = _members(threshold, max(1, int(share * (threshold - 1))), then)
    seen = _training(ALL, member)
    assert seen == _training(HALF, member) == _training(FEW, member)
    assert len(set(seen.ends)) == 1
    assert not any(str(threshold) in end for end in seen.ends if threshold >= 10 and "sum" in end)


@pytest.mark.parametrize("threshold", [2, 299, 300, 301, 599, 600, 601, 1200])
@pytest.mark.parametrize("then", sorted(THEN))
def test_thresholds_at_the_edges_look_the_same(threshold: int, then: str) -> None:
    member = _members(threshold, 1, then)
    assert _training(ALL, member) == _training(HALF, member)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(-(2**40), 2**40), st.integers(0, 10**6), st.booleans())
def test_any_number_of_any_sum_shifted_looks_the_same(
    at: int, shift: int, position: int, is_clipped: bool
) -> None:
    """Cuts, masses, histograms, metrics: one element of one round, and what follows from it."""
    seen: list[Seen] = []
    for split in (ALL, HALF):
        count = iter(range(10**6))

        def member(asked: Asked, count: object = count) -> Int64Array:
            added = np.zeros_like(asked.honest)
            if next(count) == at:  # type: ignore[call-overload]
                added.reshape(-1)[position % added.size] = shift
            if is_clipped:
                shifted = asked.honest + added
                added += np.clip(shifted, asked.low, asked.bound) - shifted
            return added

        seen.append(_training(split, member))
    assert seen[0] == seen[1]
    assert len(set(seen[0].ends)) == 1


def _refuses_itself(
    values: Int64Array, low: Int64Array, bound: Int64Array, label: str
) -> Int64Array:
    check_bound(values, bound, low=low, label=label)
    return values


def _clamps(values: Int64Array, low: Int64Array, bound: Int64Array, label: str) -> Int64Array:
    del label
    return np.clip(values, low, bound)


def test_control_a_bank_that_checks_its_own_part_is_found_by_bisection() -> None:
    """The bank above the threshold ends alone, and its largest count falls to the member."""

    def is_above(threshold: int) -> bool:
        member = _members(threshold, 1, "into range")
        seen = _training(ALL, member, _refuses_itself, is_weighted=False)
        return seen.ends[0].startswith("BoundError: sum 'cuts:pass 1'")

    low, high = 2, 2 * N_ROWS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_above(middle) else (low, middle)
    assert low < _largest_bucket() == high
    member = _members(200, 1, "into range")
    assert _training(ALL, member, _refuses_itself) != _training(HALF, member, _refuses_itself)


def _largest_bucket() -> int:
    """Return the most rows of the table that share the 8 leading bits of a feature's key."""
    keys = [keys_from_values(TABLE.features[:, feature]) >> 24 for feature in (0, 2)]
    counts = [np.unique(key[key < 255], return_counts=True)[1].max() for key in keys]
    return int(max(counts))


def test_control_clamped_parts_show_who_holds_the_rows() -> None:
    member = _members(200, 1, "nothing")
    assert _training(ALL, member, _clamps) != _training(HALF, member, _clamps)


# Risk runs: the totals of days are the bounds of their counters.

# From the first day on which the payments are entered.
SPEC = risk_spec(first_day=FIRST_DAY + 7, last_day=FIRST_DAY + 27)
PAYMENTS = random_table(np.random.default_rng(2), 300, days=20)


def _risk(is_first: BoolArray, member: Member, own_check: OwnCheck | None = None) -> Seen:
    def program(bank: int, communicator: Communicator) -> str:
        frame = PAYMENTS[is_first if bank == 0 else ~is_first]
        entries = risk_entries(frame, SPEC, hash_key=KEY)
        begin = RiskTables(SPEC, hash_key_id(KEY))
        return sum_tables(entries, communicator, start=begin).to_bytes().hex()

    return see(2, program, member=member, own_check=own_check)


def _all_in_one(asked: Asked) -> Int64Array:
    """Put all entries of a day under the first counter of each row: a sketch that adds up."""
    wanted = np.zeros_like(asked.honest)
    wanted[:: SPEC.transaction_width] = asked.bound[:: SPEC.transaction_width]
    return wanted - asked.honest


EVERYTHING = np.ones(len(PAYMENTS), dtype=np.bool_)
ODD = PAYMENTS["customer_id"].rank(method="dense").to_numpy().astype(np.int64) % 2 == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.sampled_from([*THEN.values(), _all_in_one]))
def test_every_total_of_a_day_looks_the_same_whoever_entered_it(
    total: int, then: Callable[[Asked], Int64Array]
) -> None:
    def day(asked: Asked) -> Int64Array:
        return total - asked.honest

    member = adds([("risk_totals", day), ("", then)])
    seen = _risk(EVERYTHING, member)
    assert seen == _risk(ODD, member)
    assert len(set(seen.ends)) == 1


def test_control_a_day_above_its_total_shows_the_bank_that_checks_its_own_counters() -> None:
    member = adds([("risk_totals", lambda asked: 1 - asked.honest), ("", _into_range)])
    assert _risk(EVERYTHING, member, _refuses_itself) != _risk(ODD, member, _refuses_itself)
