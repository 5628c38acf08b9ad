"""The columns of recipe ``fraudfed-card-2`` that look at other payments, group by group.

Every such column looks at the payments of *one* customer, terminal, merchant or payee. So the rows
of a table can be divided by the value of that key: whatever else is divided from them, the columns
of a group come out the same, bit by bit.

Law: for any division of the rows that keeps those with one key together, the columns of each part
are those of the whole table. Order of rows does not matter: counts and sums are of whole numbers,
windows end at an earlier second, and of several payments of one second the one with the greatest
``transaction_id`` was the last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Protocol

import numpy as np
import pandas as pd

from fraudfed.catalogue.recipe import FAN_IN_DAYS, RISK_ENTITIES, SHARED_FEATURES, WINDOW_DAYS
from fraudfed.dtypes import Float32Array, Float64Array, Int64Array
from fraudfed.features.formulas import (
    SECONDS_PER_DAY,
    FeatureColumns,
    acquaintance_features,
    fan_in_features,
    fraud_counts_from,
    recency_features,
    risk_features,
    spending_features,
    travel_features,
)
from fraudfed.features.shared_risk.columns import shared_features
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.table import LABEL_NOT_KNOWN
from fraudfed.features.windows import KeyedTimeline, running_total
from fraudfed.payments.columns import LABEL_COLUMNS, MAX_EPOCH_SECONDS
from fraudfed.wire.messages import RiskEntity

_TIME: Final = "event_time"
CUSTOMER: Final = "customer"


class Columns(Protocol):
    """Where columns are put."""

    def put_all(self, features: FeatureColumns, rows: Int64Array | None = None) -> None:
        """Store features: of all rows, or of ``rows`` with the others missing."""
        ...


@dataclass(frozen=True)
class KeyGroup:
    """Columns that look at the payments with the same value in one column.

    Attributes
    ----------
    name : str
    key : str
        The column.
    columns : tuple of str
        What is looked at, with the key; those that a table lacks are left out.
    """

    name: str
    key: str
    columns: tuple[str, ...]


KEY_GROUPS: Final = (
    KeyGroup(
        CUSTOMER,
        "customer_id",
        (
            "customer_id",
            _TIME,
            "amount_minor",
            "latitude",
            "longitude",
            "transaction_id",
            "payee_id",
            "device_id",
        ),
    ),
    *(
        KeyGroup(
            entity,
            f"{entity}_id",
            (
                f"{entity}_id",
                _TIME,
                *LABEL_COLUMNS,
                *(("customer_id",) if entity == "payee" else ()),
            ),
        )
        for entity in RISK_ENTITIES
    ),
)


class GroupColumns:
    """The columns of one group for some rows, by name."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._values: dict[str, Float32Array] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of what was put so far."""
        return tuple(self._values)

    def put_all(self, features: FeatureColumns, rows: Int64Array | None = None) -> None:
        """Store features: of all rows, or of ``rows`` with the others missing."""
        for name, values in features:
            column = np.full(self._n_rows, np.nan, dtype=np.float32)
            column[slice(None) if rows is None else rows] = values.astype(np.float32, copy=False)
            self._values[name] = column

    def finish(self, names: Sequence[str]) -> Float32Array:
        """Return the columns of some names; shape (n_rows, n_names), row-major."""
        values = np.empty((self._n_rows, len(names)), dtype=np.float32)
        for number, name in enumerate(names):
            values[:, number] = self._values[name]
        return values


def group_columns(
    group: KeyGroup,
    transactions: pd.DataFrame,
    *,
    risk_delay_days: int = 0,
    shared: SharedRisk | None = None,
) -> Float32Array:
    """Compute the columns of a group.

    Parameters
    ----------
    group : KeyGroup
    transactions : DataFrame
        The group's columns of outbound payments, amounts in the contract's currency, in any order:
        all payments with the keys that occur in it.
    risk_delay_days, shared
        As for ``build_features``.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), dtype=float32
        In the order of the rows, row-major; columns as in ``group_names``.
    """
    columns = GroupColumns(len(transactions))
    raw = RawColumns.of(transactions)
    put_group(columns, group.name, raw, transactions, risk_delay_days=risk_delay_days)
    if shared is not None and group.name != CUSTOMER:
        put_shared(columns, group.name, raw, transactions, shared)
    return columns.finish(group_names(group, shared=shared is not None))


@cache
def group_names(group: KeyGroup, *, shared: bool) -> tuple[str, ...]:
    """Return the names of a group's columns.

    Parameters
    ----------
    group : KeyGroup
    shared : bool
        With those that come from other banks.
    """
    empty, columns = pd.DataFrame({name: [] for name in group.columns}), GroupColumns(0)
    put_group(columns, group.name, RawColumns.of(empty), empty, risk_delay_days=0)
    more = (feature.name for feature in SHARED_FEATURES) if shared else ()
    return (*columns.names, *(name for name in more if name.startswith(f"shared_{group.name}_")))


def put_group(
    columns: Columns,
    name: str,
    raw: "RawColumns",
    transactions: pd.DataFrame,
    *,
    risk_delay_days: int,
    on_group: Callable[[str], None] = lambda _group: None,
) -> None:
    """Put the columns of a group; what other banks entered is put by ``put_shared``."""
    longest = max(WINDOW_DAYS) * SECONDS_PER_DAY
    if name == CUSTOMER:
        timeline = raw.timeline(name, lookback=longest)
        _customer_history(columns, raw, timeline)
        on_group("customer")
        _travel(columns, raw, timeline, transactions["transaction_id"])
        on_group("travel")
        _acquaintance(columns, raw)
        on_group("acquaintance")
        return
    delay = risk_delay_days * SECONDS_PER_DAY
    timeline = raw.timeline(name, lookback=delay + longest)
    _risk(columns, raw, timeline, name, delay=delay)
    if name == "payee":
        _fan_in(columns, raw, timeline)
    on_group(name)


@dataclass(frozen=True, eq=False)
class RawColumns:
    """Raw columns as arrays; identifiers as codes >= 0, -1 where there is none.

    Only times are required of the rows of a key group; what else there is not is missing, and no
    amount is 0.
    """

    n_rows: int
    time: Int64Array
    label_time: Int64Array
    labels: Float32Array
    amount: Int64Array
    latitude: Float64Array
    longitude: Float64Array
    codes: dict[str, Int64Array]

    @classmethod
    def of(cls, transactions: pd.DataFrame) -> "RawColumns":
        """Take the columns of raw transactions that features are built on."""
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

        def amounts() -> Int64Array:
            if "amount_minor" not in transactions.columns:
                return np.zeros(n_rows, dtype=np.int64)
            return transactions["amount_minor"].to_numpy(dtype=np.int64)

        def codes(name: str) -> Int64Array:
            if name not in transactions.columns:
                return np.full(n_rows, -1, dtype=np.int64)
            return pd.factorize(transactions[name])[0].astype(np.int64, copy=False)

        return cls(
            n_rows=n_rows,
            time=transactions["event_time"].to_numpy(dtype=np.int64),
            label_time=label_time,
            labels=labels,
            amount=amounts(),
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


def _customer_history(columns: Columns, raw: RawColumns, timeline: KeyedTimeline) -> None:
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


def _acquaintance(columns: Columns, raw: RawColumns) -> None:
    """Whether the customer knows the payee, the device, and since when the latter."""
    for entity in ("payee", "device"):
        rows, age = _seconds_since_first(raw, entity)
        columns.put_all(acquaintance_features(entity, age_seconds=age), rows)


def _seconds_since_first(raw: RawColumns, entity: str) -> tuple[Int64Array, Int64Array]:
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
    columns: Columns, raw: RawColumns, timeline: KeyedTimeline, transaction_id: "pd.Series[str]"
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


def _fan_in(columns: Columns, raw: RawColumns, timeline: KeyedTimeline) -> None:
    """Distinct customers who paid the payee."""
    rows = timeline.order
    customers = raw.codes["customer"][rows]
    for days in FAN_IN_DAYS:
        seen = timeline.distinct(customers, width=days * SECONDS_PER_DAY)
        columns.put_all(fan_in_features(days, customers=seen), rows)


def _risk(
    columns: Columns, raw: RawColumns, timeline: KeyedTimeline, entity: str, *, delay: int
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


def put_shared(
    columns: Columns,
    name: str,
    raw: RawColumns,
    transactions: pd.DataFrame,
    shared: SharedRisk,
) -> None:
    """Put payments and frauds at a terminal, merchant or payee that all banks entered."""
    entity = RiskEntity(name)
    rows = np.flatnonzero(raw.codes[entity] >= 0)
    codes = raw.codes[entity][rows]
    identifiers: list[str] = []
    if rows.size:
        _, first = np.unique(codes, return_index=True)
        identifiers = transactions[f"{entity}_id"].iloc[rows[first]].tolist()
    columns.put_all(shared_features(shared, entity, identifiers, codes, raw.time[rows]), rows)
