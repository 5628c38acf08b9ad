"""Risk counts of payments that are divided by key: those of all payments, in the same order."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, random_table
from oracles.shared_risk import KEY, risk_spec

from fraudfed.features.shared_risk.counting import Counted, RiskRows, count_rows, risk_entries
from fraudfed.features.shared_risk.divided import Division
from fraudfed.features.shared_risk.entries import Correction, RiskEntries
from fraudfed.wire.messages import RiskEntity, RiskPrivacy, RiskSpec

DAYS = 60


def frame_of(seed: int, rows: int = 90) -> pd.DataFrame:
    frame = random_table(np.random.default_rng(seed), rows, days=DAYS)
    frame["transaction_id"] = [f"t{row}" for row in range(len(frame))]
    return frame


def corrections_of(frame: pd.DataFrame) -> list[Correction]:
    frauds = frame[frame["is_fraud"] == 1].iloc[:3]
    return [
        Correction(
            transaction_id=row["transaction_id"],
            event_day=int(row["event_time"]) // DAY,
            report_day=int(row["label_time"]) // DAY,
            day=int(row["label_time"]) // DAY + 2,
            identifiers={
                entity: row[f"{entity}_id"]
                for entity in RiskEntity
                if not pd.isna(row[f"{entity}_id"])
            },
        )
        for _, row in frauds.iterrows()
    ]


def same(found: RiskEntries, expected: RiskEntries) -> None:
    for name in ("transactions", "frauds", "corrections"):
        np.testing.assert_equal(vars(getattr(found, name)), vars(getattr(expected, name)))


def private(spec: RiskSpec) -> RiskSpec:
    return RiskSpec.model_validate(
        {
            **spec.model_dump(),
            "depth": 1,
            "min_customers": 1,
            "days_per_step": 7,
            "privacy": RiskPrivacy(epsilon=3.0, tolerated_colluders=1),
        }
    )


def divided(
    frame: pd.DataFrame, spec: RiskSpec, edges: list[int], n_buckets: int, **how: object
) -> list[Counted]:
    """Count bucket by bucket what has come piece by piece."""
    corrections: list[Correction] = how.pop("corrections", [])  # type: ignore[assignment]
    seed = how.pop("seed", None)
    cuts = [0, *sorted(min(edge, len(frame)) for edge in edges), len(frame)]
    counted = []
    for division in Division.of(spec, bounded=seed is not None):
        buckets: list[list[pa.Table]] = [[] for _ in range(n_buckets)]
        for start, stop in itertools.pairwise(cuts):
            rows = RiskRows.of(
                frame.iloc[start:stop], spec, corrections=corrections, first_place=start
            )
            for bucket, table in enumerate(division.divide(rows, n_buckets=n_buckets)):
                buckets[bucket].append(table)
        draw = None if seed is None else np.random.default_rng(seed)  # type: ignore[arg-type]
        counted += [division.count(pa.concat_tables(each), spec, draw=draw) for each in buckets]
    return counted


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    edges=st.lists(st.integers(0, 90), max_size=4),
    n_buckets=st.integers(1, 4),
    min_customers=st.sampled_from([1, 2]),
    turned=st.booleans(),
    is_private=st.booleans(),
)
def test_counts_of_buckets_are_those_of_all_payments_in_the_same_order(
    seed: int,
    edges: list[int],
    n_buckets: int,
    min_customers: int,
    turned: bool,
    is_private: bool,
) -> None:
    frame, spec = frame_of(seed), risk_spec(min_customers=min_customers)
    if is_private:
        spec = private(spec)
    corrections = corrections_of(frame)
    expected = risk_entries(frame, spec, hash_key=KEY, corrections=corrections)
    parts = divided(frame, spec, edges, n_buckets, corrections=corrections)
    together = Counted.together(parts[::-1] if turned else parts)
    same(together.entries(spec, hash_key=KEY, corrections=corrections), expected)
    # In whatever grouping.
    nested = Counted.together([Counted.together(parts[:1]), Counted.together(parts[1:])])
    same(nested.entries(spec, hash_key=KEY, corrections=corrections), expected)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), n_buckets=st.integers(1, 4))
def test_with_privacy_a_customer_is_bounded_in_one_bucket(seed: int, n_buckets: int) -> None:
    spec = private(risk_spec())
    frame = frame_of(seed)
    parts = divided(frame, spec, [30], n_buckets, seed=seed)
    found = Counted.together(parts).entries(spec, hash_key=KEY)
    whole = count_rows(RiskRows.of(frame, spec), spec, draw=np.random.default_rng(seed)).entries(
        spec, hash_key=KEY
    )
    # What is drawn is another payment; how many payments of each day count is not.
    days = range(spec.first_day, spec.last_day + 1)
    np.testing.assert_array_equal(found.transactions.totals(days), whole.transactions.totals(days))


def test_control_buckets_of_identifiers_do_not_bound_a_customer() -> None:
    spec = private(risk_spec(entities=(RiskEntity.TERMINAL,)))
    frame = frame_of(1).assign(customer_id="c", event_time=lambda of: of["event_time"].min())
    frame["terminal_id"] = [f"t{row}" for row in range(len(frame))]
    rows = RiskRows.of(frame, spec)

    def entered(division: Division) -> int:
        parts = [
            division.count(each, spec, draw=np.random.default_rng(0))
            for each in division.divide(rows, n_buckets=4)
        ]
        found = Counted.together(parts).entries(spec, hash_key=KEY)
        return int(found.transactions.counts.sum())

    assert entered(Division(spec.entities, by_customer=True)) == 1
    # By identifier the customer is in each bucket, and counts in each.
    assert entered(Division(spec.entities)) > 1
