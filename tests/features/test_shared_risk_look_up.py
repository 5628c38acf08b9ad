"""Look-ups: the counts of the features, and intervals that hold what was entered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import random_table
from oracles.shared_risk import FIRST_DAY, KEY, exact_entries, risk_spec, solo_history, solo_tables

from fraudfed.errors import DataError
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.look_up import RiskLookup, likely_excess
from fraudfed.features.shared_risk.sketch import hash_identifiers, sketch_of
from fraudfed.wire.messages import RiskEntity

WIDTHS = (1, 7, 30)
LAST = FIRST_DAY + 60


@given(seed=st.integers(0, 2**32 - 1), last=st.integers(FIRST_DAY, LAST))
@settings(max_examples=10, deadline=None)
def test_a_look_up_says_what_the_features_say(seed: int, last: int) -> None:
    frame = random_table(np.random.default_rng(seed), 60, days=60)
    # Narrow, so that most counters are shared.
    spec = risk_spec(transaction_width=32, fraud_width=16, depth=2, last_day=LAST)
    shared = solo_history(frame, spec)
    lookup = RiskLookup(shared, widths=WIDTHS, last_day=last)
    payments, frauds = exact_entries(frame, spec)
    for entity in RiskEntity:
        for identifier in frame[f"{entity}_id"].dropna().unique():
            found = lookup.windows(entity, identifier)
            asked = np.array([last + 2])
            expected = shared.windows(
                entity, [identifier], np.zeros(1, dtype=np.int64), asked, widths=WIDTHS
            )
            assert [w.payments.count for w in found] == expected.transactions[:, 0].tolist()
            assert [w.frauds.count for w in found] == expected.frauds[:, 0].tolist()
            for window in found:
                days = range(last - window.days + 1, last + 1)
                for exact, part in ((payments, window.payments), (frauds, window.frauds)):
                    true = sum(exact[day, str(entity), identifier] for day in days)
                    assert true <= part.upper
                    assert 0 <= part.lower <= part.count <= part.upper


def drawn_counts(kind: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    counts = {
        "zipf 1.6": lambda: rng.zipf(1.6, 10_000).clip(max=5_000),
        "zipf 1.3": lambda: rng.zipf(1.3, 20_000).clip(max=5_000),
        "lognormal": lambda: np.ceil(rng.lognormal(1, 1.5, 10_000)),
        "equal": lambda: np.full(10_000, 5),
    }[kind]()
    return counts.astype(np.int64)


@pytest.mark.parametrize("kind", ["zipf 1.6", "zipf 1.3", "lognormal", "equal"])
def test_lower_ends_hold_as_often_as_is_said_and_are_no_empty_words(kind: str) -> None:
    """Ten thousand identifiers in a full sketch of few columns, under several keys."""
    counts, width, n_keys = drawn_counts(kind), 2048, 4
    held = known = 0
    for key in range(n_keys):
        hashes = hash_identifiers(
            "payee", map(str, range(counts.size)), hash_key=bytes([key]) * 32, depth=4
        )
        sketch = sketch_of(hashes, counts, width=width)
        excess = likely_excess(sketch, failure=0.05)
        estimates = np.min([sketch[row, hashes[:, row] % width] for row in range(4)], axis=0)
        lower = np.maximum(estimates - excess, 0)
        held += int((lower <= counts).sum())
        known += int((lower[counts > 100] > 0).sum())
        # Theorem 1 with the same certainty, by Markov's inequality in each row: 1.5 to 20 times.
        assert 1.5 < 0.05 ** (-1 / 4) * counts.sum() / width / excess < 30
    asked = n_keys * counts.size
    # By chance a little less than 0.95: four standard errors.
    assert held >= (0.95 - 4 * (0.05 * 0.95 / asked) ** 0.5) * asked
    if kind == "zipf 1.6":
        assert known > 0.9 * n_keys * int((counts > 100).sum())


@pytest.mark.parametrize("kind", ["zipf 1.6", "lognormal"])
def test_half_of_that_excess_does_not_hold(kind: str) -> None:
    counts, width = drawn_counts(kind), 2048
    hashes = hash_identifiers("payee", map(str, range(counts.size)), hash_key=bytes(32), depth=4)
    sketch = sketch_of(hashes, counts, width=width)
    estimates = np.min([sketch[row, hashes[:, row] % width] for row in range(4)], axis=0)
    excess = likely_excess(sketch, failure=0.05) // 2
    assert np.mean(estimates - excess <= counts) < 0.9


def test_days_without_a_table_are_said() -> None:
    frame = random_table(np.random.default_rng(1), 60, days=60)
    parts = [
        risk_spec(first_day=first, last_day=last, delay_days=0)
        for first, last in ((FIRST_DAY, FIRST_DAY + 20), (FIRST_DAY + 24, FIRST_DAY + 30))
    ]
    shared = SharedRisk([KeyedTables(solo_tables(frame, spec), KEY) for spec in parts])
    lookup = RiskLookup(shared, widths=WIDTHS)
    assert lookup.last_day == FIRST_DAY + 30
    missing = [w.missing for w in lookup.windows(RiskEntity.PAYEE, "x")]
    assert missing == [(), (), ((FIRST_DAY + 21, FIRST_DAY + 23),)]
    assert not lookup.windows(RiskEntity.PAYEE, "x")[0].frauds.is_known


def test_an_entity_that_is_not_counted_is_refused() -> None:
    frame = random_table(np.random.default_rng(1), 20, days=10)
    shared = solo_history(frame, risk_spec(entities=(RiskEntity.PAYEE,)))
    with pytest.raises(DataError, match="do not count by terminal"):
        RiskLookup(shared, widths=WIDTHS).windows(RiskEntity.TERMINAL, "t")


def test_lower_ends_of_windows_hold_in_a_crowded_sketch() -> None:
    frame = random_table(np.random.default_rng(3), 300, days=60)
    spec = risk_spec(transaction_width=16, fraud_width=16, depth=2, last_day=LAST, delay_days=0)
    lookup = RiskLookup(solo_history(frame, spec), widths=(30,), last_day=FIRST_DAY + 45)
    held, above = [], 0
    for number in range(400):
        (found,) = lookup.windows(RiskEntity.PAYEE, f"never entered {number}")
        held.append(found.payments.lower == 0)
        above += found.payments.count > 0
    assert np.mean(held) >= 0.93
    assert above > 50
