"""What one bank enters for a day: against exact counts, and whenever it looks."""

from collections import Counter

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, START, random_table, table
from oracles.shared_risk import FIRST_DAY, KEY, Exact, exact_entries, risk_spec

from fraudfed.features.shared_risk import Entries, RiskEntries, risk_entries
from fraudfed.features.shared_risk.sketch import hash_identifiers
from fraudfed.wire.messages import RiskEntity, RiskSpec

seeds = st.integers(0, 2**32 - 1)
minima = st.sampled_from([1, 2, 3])


def hashed(exact: Exact, spec: RiskSpec) -> Counter[tuple[int, bytes]]:
    """Name entities as entries do."""
    found: Counter[tuple[int, bytes]] = Counter()
    for (day, entity, identifier), count in exact.items():
        (row,) = hash_identifiers(entity, [identifier], hash_key=KEY, depth=spec.depth)
        found[day, row.tobytes()] += count
    return found


def counted(entries: Entries) -> Counter[tuple[int, bytes]]:
    found: Counter[tuple[int, bytes]] = Counter()
    for day, count, row in zip(entries.days, entries.counts, entries.hashes, strict=True):
        found[int(day), row.tobytes()] += int(count)
    return found


def entered(frame: pd.DataFrame, spec: RiskSpec) -> RiskEntries:
    return risk_entries(frame, spec, hash_key=KEY)


@given(seed=seeds, least=minima, delay=st.sampled_from([0, 1, 7]))
@settings(max_examples=25, deadline=None)
def test_entries_equal_exact_counts(seed: int, least: int, delay: int) -> None:
    frame = random_table(np.random.default_rng(seed), 80, days=60)
    spec = risk_spec(min_customers=least, delay_days=delay)
    found = entered(frame, spec)
    payments, frauds = exact_entries(frame, spec)
    assert counted(found.transactions) == hashed(payments, spec)
    assert counted(found.frauds) == hashed(frauds, spec)


@given(seed=seeds, least=minima, offset=st.integers(0, 70))
@settings(max_examples=25, deadline=None)
def test_a_day_is_the_same_at_its_end_and_later(seed: int, least: int, offset: int) -> None:
    """A daily update and a backfill: what is known at the end of a day is all that it needs."""
    frame = random_table(np.random.default_rng(seed), 80, days=60)
    day = FIRST_DAY + offset
    end = (day + 1) * DAY
    then = frame[frame["event_time"] < end].copy()
    unknown = then["label_time"] >= end
    then["is_fraud"] = then["is_fraud"].astype(object).mask(unknown, None).astype("Int64")
    then["label_time"] = then["label_time"].astype(object).mask(unknown, None).astype("Int64")
    daily = entered(then, risk_spec(first_day=day, last_day=day, min_customers=least))
    backfill = entered(frame, risk_spec(min_customers=least))
    for kind in ("transactions", "frauds"):
        of_day, of_all = getattr(daily, kind), getattr(backfill, kind)
        np.testing.assert_array_equal(
            of_day.sketch(day, width=64), of_all.sketch(day, width=64), err_msg=kind
        )


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_each_payment_and_each_fraud_is_entered_once(seed: int) -> None:
    frame = random_table(np.random.default_rng(seed), 100, days=60)
    found = entered(frame, risk_spec())
    has = frame[["terminal_id", "merchant_id", "payee_id"]].notna()
    assert found.transactions.counts.sum() == has.to_numpy().sum()
    assert found.frauds.counts.sum() == has[frame["is_fraud"] == 1].to_numpy().sum()
    days = range(FIRST_DAY - 1, FIRST_DAY + 201)
    assert found.transactions.totals(days).sum() == found.transactions.counts.sum()


@given(seed=seeds, least=minima)
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_does_not_matter(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 60)
    spec = risk_spec(min_customers=least)
    mixed = entered(frame.iloc[rng.permutation(len(frame))], spec)
    for kind in ("transactions", "frauds"):
        assert counted(getattr(mixed, kind)) == counted(getattr(entered(frame, spec), kind))


def at(day: int, customer: str, **more: object) -> dict[str, object]:
    return {"event_time": START + day * DAY, "customer_id": customer, "terminal_id": "t", **more}


def test_days_of_entry_by_hand() -> None:
    frame = table(
        [
            at(0, "c1"),
            # Reported within the delay: entered with its payment.
            at(0, "c2", is_fraud=1, label_time=START + 3 * DAY),
            # Reported after months: entered on the day of the report.
            at(1, "c3", is_fraud=1, label_time=START + 100 * DAY + DAY - 1),
            # Outside the run.
            at(90, "c4"),
        ]
    )
    found = entered(frame, risk_spec(first_day=FIRST_DAY, last_day=FIRST_DAY + 100 - 4))
    assert (found.transactions.days - FIRST_DAY).tolist() == [7, 8]
    assert found.transactions.counts.tolist() == [2, 1]
    assert (found.frauds.days - FIRST_DAY).tolist() == [7]
    later = entered(frame, risk_spec(first_day=FIRST_DAY + 97, last_day=FIRST_DAY + 100))
    assert (later.transactions.days - FIRST_DAY).tolist() == [97]
    assert (later.frauds.days - FIRST_DAY).tolist() == [100]


def test_an_entity_with_too_few_customers_is_not_counted_but_its_frauds_are() -> None:
    rows = [at(0, "c1"), at(0, "c1"), at(29, "c2"), at(30, "c3"), at(31, "c2", is_fraud=1)]
    spec = risk_spec(delay_days=0)
    three, two, one = (
        entered(table(rows), spec.model_copy(update={"min_customers": least}))
        for least in (3, 2, 1)
    )
    # On no day did three customers pay within 30 days: c1's last day is day 29.
    assert three.transactions.counts.size == 0
    assert three.frauds.counts.tolist() == [1]
    assert (two.transactions.days - FIRST_DAY).tolist() == [29, 30, 31]
    assert one.transactions.counts.sum() == len(rows)


def test_without_labels_there_are_no_frauds() -> None:
    frame = table([at(0, "c1", is_fraud=1)]).drop(columns=["is_fraud", "label_time"])
    found = entered(frame, risk_spec())
    assert found.frauds.counts.size == 0
    assert found.transactions.counts.tolist() == [1]


def test_columns_of_entities_may_be_absent_or_not_asked_for() -> None:
    frame = table([at(0, "c1", merchant_id="m")])
    assert entered(frame, risk_spec()).transactions.counts.sum() == 2
    only = risk_spec(entities=[RiskEntity.MERCHANT])
    assert entered(frame, only).transactions.counts.sum() == 1
    assert entered(frame.drop(columns="terminal_id"), risk_spec()).transactions.counts.sum() == 1
