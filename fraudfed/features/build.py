"""Compute the features of recipe ``fraudfed-card-2`` for a whole table of raw transactions.

Outbound payments are judged, and inbound ones count for nothing.

Law: the features of a payment depend on the payment itself (without its label), on payments of
*strictly earlier seconds*, and on labels that were *known before* its second. It depends on
nothing else, not even on the order of the rows. See
``docs/decisions/0005-features-only-from-the-past.md``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fraudfed.catalogue.recipe import (
    CATEGORIES,
    FAN_IN_DAYS,
    RISK_ENTITIES,
    WINDOW_DAYS,
)
from fraudfed.dtypes import Float32Array, Float64Array, Int64Array
from fraudfed.features.column_store import ColumnStore, require_columns
from fraudfed.features.currency import in_currency
from fraudfed.features.formulas import (
    SECONDS_PER_DAY,
    acquaintance_features,
    category_codes,
    fan_in_features,
    fraud_counts_from,
    payment_features,
    recency_features,
    risk_features,
    spending_features,
    travel_features,
)
from fraudfed.features.own_columns import with_own_columns
from fraudfed.features.shared_risk.columns import shared_features
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.table import (
    LABEL_NOT_KNOWN,
    FeatureTable,
    feature_schema,
    rows_of_direction,
)
from fraudfed.features.windows import KeyedTimeline, running_total
from fraudfed.payments.columns import LABEL_COLUMNS, MAX_EPOCH_SECONDS, OUTBOUND
from fraudfed.wire.messages import Currency, FeatureSpec, RiskEntity


def build_features(
    transactions: pd.DataFrame,
    *,
    risk_delay_days: int = 0,
    shared: SharedRisk | None = None,
    own_columns: Sequence[FeatureSpec] = (),
    currency: Currency | None = None,
    on_group: Callable[[str], None] = lambda _group: None,
) -> FeatureTable:
    """Compute every feature of the recipe for the outbound payments of a table.

    Parameters
    ----------
    transactions : DataFrame
        Raw transactions that :func:`fraudfed.features.check.check_transactions` accepts, with
        or without labels, in any order. The history is what the table holds: give at least 30
        days plus the risk delay before the first row of interest, and every payment that was
        reported as fraud in that time, however old it is. Features that are built on an
        absent column are missing in every row.
    risk_delay_days : int
        A payment enters the windows of terminals, merchants and payees so many days after it was
        made. A fraud enters them then or when it is reported, whichever is later, and stays for
        the width of the window.
    shared : SharedRisk or None
        What all banks entered; with it the recipe's ``SHARED_FEATURES`` are built as well. Days
        that it does not cover count as empty: see ``SharedRisk.missing_days``.
    own_columns : sequence of FeatureSpec
        The contract's own columns, which ``transactions`` has too; the last features.
    currency : Currency or None
        The contract's: amounts are converted to it where ``transactions`` has a column
        ``currency``. None takes them as they stand.
    on_group : callable
        Called with the name of each group of features once it is built, to measure its time.

    Returns
    -------
    FeatureTable

    Raises
    ------
    DataError
        If a required or an own column is missing, or holds a value that has no code, if an amount
        has no rate, or if ``shared`` has another risk delay.
    ValueError
        If ``risk_delay_days`` is negative.
    """
    if risk_delay_days < 0:
        raise ValueError(f"risk_delay_days is {risk_delay_days}, expected 0 or more")
    delay = risk_delay_days * SECONDS_PER_DAY
    require_columns(transactions)
    whole, positions = transactions, rows_of_direction(transactions, OUTBOUND)
    if positions.size < len(transactions):
        transactions = transactions.iloc[positions]
    raw = _Raw.of(in_currency(transactions, currency))
    columns = ColumnStore(raw.n_rows, feature_schema(shared=shared is not None))
    on_group("columns")
    columns.put_all(payment_features(time=raw.time, amount=raw.amount))
    _categories(columns, transactions)
    on_group("payment")
    longest = max(WINDOW_DAYS) * SECONDS_PER_DAY
    timeline = raw.timeline("customer", lookback=longest)
    _customer_history(columns, raw, timeline)
    on_group("customer")
    _travel(columns, raw, timeline, transactions["transaction_id"])
    on_group("travel")
    _acquaintance(columns, raw)
    on_group("acquaintance")
    for entity in RISK_ENTITIES:
        timeline = raw.timeline(entity, lookback=delay + longest)
        _risk(columns, raw, timeline, entity, delay=delay)
        if entity == "payee":
            _fan_in(columns, raw, timeline)
        on_group(entity)
    if shared is not None:
        shared.check_delay(risk_delay_days)
        for entity in RISK_ENTITIES:
            _shared_risk(columns, raw, transactions, RiskEntity(entity), shared)
        on_group("shared")
    built = FeatureTable(
        schema=columns.schema,
        values=columns.finish(),
        labels=raw.labels,
        event_time=raw.time,
        label_time=raw.label_time,
        transaction_id=transactions["transaction_id"].to_numpy(dtype=object),
        positions=positions,
    )
    return with_own_columns(built, own_columns, whole)


@dataclass(frozen=True, eq=False)
class _Raw:
    """Raw columns as arrays; identifiers as codes >= 0, -1 where there is none."""

    n_rows: int
    time: Int64Array
    label_time: Int64Array
    labels: Float32Array
    amount: Int64Array
    latitude: Float64Array
    longitude: Float64Array
    codes: dict[str, Int64Array]

    @classmethod
    def of(cls, transactions: pd.DataFrame) -> "_Raw":
        n_rows = len(transactions)
        labels = np.full(n_rows, np.nan, dtype=np.float32)
        label_time = np.full(n_rows, LABEL_NOT_KNOWN, dtype=np.int64)
        if all(name in transactions.columns for name in LABEL_COLUMNS):
            known = transactions["is_fraud"].notna().to_numpy(dtype=np.bool_)
            labels[known] = transactions["is_fraud"].to_numpy()[known]
            label_time[known] = transactions["label_time"].to_numpy()[known]

        def place(name: str) -> Float64Array:
            if name not in transactions.columns:
                return np.full(n_rows, np.nan)
            return transactions[name].to_numpy(dtype=np.float64)

        def codes(name: str) -> Int64Array:
            if name not in transactions.columns:
                return np.full(n_rows, -1, dtype=np.int64)
            return pd.factorize(transactions[name])[0].astype(np.int64, copy=False)

        return cls(
            n_rows=n_rows,
            time=transactions["event_time"].to_numpy(dtype=np.int64),
            label_time=label_time,
            labels=labels,
            amount=transactions["amount_minor"].to_numpy(dtype=np.int64),
            latitude=place("latitude"),
            longitude=place("longitude"),
            codes={
                entity: codes(f"{entity}_id") for entity in ("customer", "device", *RISK_ENTITIES)
            },
        )

    def timeline(self, entity: str, *, lookback: int) -> KeyedTimeline:
        """Lay the rows that have the entity on a time axis; its order leads back to all rows."""
        rows = np.flatnonzero(self.codes[entity] >= 0)
        timeline = KeyedTimeline.of(self.codes[entity][rows], self.time[rows], lookback=lookback)
        return replace(timeline, order=rows[timeline.order])


def _categories(columns: ColumnStore, transactions: pd.DataFrame) -> None:
    """Put codes for the payment's texts; a text that occurs a million times is looked up once."""
    for name, categories in CATEGORIES.items():
        if name not in transactions.columns:
            columns.put(name, np.full(len(transactions), np.nan, dtype=np.float32))
            continue
        numbers, values = pd.factorize(transactions[name])
        # The last entry is what number -1, no value, picks.
        columns.put(name, category_codes(name, [*values, None], categories)[numbers])


def _customer_history(columns: ColumnStore, raw: _Raw, timeline: KeyedTimeline) -> None:
    """Count, mean amount and recency of the customer's own payments."""
    rows = timeline.order
    previous = timeline.previous()
    known = np.flatnonzero(previous >= 0)
    since = timeline.times[known] - timeline.times[previous[known]]
    columns.put_all(recency_features(seconds_since_previous=since), rows[known])

    amount = raw.amount[rows]
    total = running_total(amount)
    widths = [days * SECONDS_PER_DAY for days in WINDOW_DAYS]
    for days, window in zip(WINDOW_DAYS, timeline.windows(widths), strict=True):
        features = spending_features(
            days, amount=amount, count=window.count(), total=window.sum(total)
        )
        columns.put_all(features, rows)


def _acquaintance(columns: ColumnStore, raw: _Raw) -> None:
    """Whether the customer knows the payee, the device, and since when the latter."""
    for entity in ("payee", "device"):
        rows, age = _seconds_since_first(raw, entity)
        columns.put_all(acquaintance_features(entity, age_seconds=age), rows)


def _seconds_since_first(raw: _Raw, entity: str) -> tuple[Int64Array, Int64Array]:
    """Time since customer and entity first met; 0 if it is now.

    Returns
    -------
    rows : ndarray of shape (n_with_entity,), dtype=int64
        Rows that have the entity.
    age : ndarray of shape (n_with_entity,), dtype=int64
        Seconds.
    """
    rows = np.flatnonzero(raw.codes[entity] >= 0)
    time = raw.time[rows]
    if rows.size == 0:
        return rows, time
    customer, other = raw.codes["customer"][rows], raw.codes[entity][rows]
    pairs, _ = pd.factorize(customer * (int(other.max()) + 1) + other)
    first = np.full(int(pairs.max()) + 1, MAX_EPOCH_SECONDS, dtype=np.int64)
    np.minimum.at(first, pairs, time)
    return rows, time - first[pairs]


def _travel(
    columns: ColumnStore, raw: _Raw, timeline: KeyedTimeline, transaction_id: "pd.Series[str]"
) -> None:
    """Distance and speed from the customer's previous known place."""
    placed = ~(np.isnan(raw.latitude) | np.isnan(raw.longitude))
    timeline = timeline.only(placed).with_ties_by(transaction_id)
    rows = timeline.order
    previous = timeline.previous()
    here = np.flatnonzero(previous >= 0)
    there = previous[here]
    features = travel_features(
        latitude=raw.latitude[rows[here]],
        longitude=raw.longitude[rows[here]],
        previous_latitude=raw.latitude[rows[there]],
        previous_longitude=raw.longitude[rows[there]],
        seconds=timeline.times[here] - timeline.times[there],
    )
    columns.put_all(features, rows[here])


def _fan_in(columns: ColumnStore, raw: _Raw, timeline: KeyedTimeline) -> None:
    """Distinct customers who paid the payee."""
    rows = timeline.order
    customers = raw.codes["customer"][rows]
    for days in FAN_IN_DAYS:
        seen = timeline.distinct(customers, width=days * SECONDS_PER_DAY)
        columns.put_all(fan_in_features(days, customers=seen), rows)


def _risk(
    columns: ColumnStore, raw: _Raw, timeline: KeyedTimeline, entity: str, *, delay: int
) -> None:
    """Payments and reported frauds at a terminal, merchant or payee, not before the risk delay."""
    rows = timeline.order
    fraud = np.flatnonzero(raw.labels[rows] == 1)
    keys, happened = timeline.codes[fraud], timeline.times[fraud]
    counts_from = fraud_counts_from(happened, raw.label_time[rows[fraud]], delay_seconds=delay)
    widths = [days * SECONDS_PER_DAY for days in WINDOW_DAYS]
    for days, width, window in zip(
        WINDOW_DAYS, widths, timeline.windows(widths, delay=delay), strict=True
    ):
        frauds = timeline.covering(keys, counts_from, counts_from + width)
        features = risk_features(entity, days, count=window.count(), frauds=frauds)
        columns.put_all(features, rows)


def _shared_risk(
    columns: ColumnStore,
    raw: _Raw,
    transactions: pd.DataFrame,
    entity: RiskEntity,
    shared: SharedRisk,
) -> None:
    """Payments and frauds at a terminal, merchant or payee that all banks entered."""
    rows = np.flatnonzero(raw.codes[entity] >= 0)
    codes = raw.codes[entity][rows]
    identifiers: list[str] = []
    if rows.size:
        _, first = np.unique(codes, return_index=True)
        identifiers = transactions[f"{entity}_id"].iloc[rows[first]].tolist()
    columns.put_all(shared_features(shared, entity, identifiers, codes, raw.time[rows]), rows)
