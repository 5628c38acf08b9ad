"""Compute the recipe's features for a whole table of raw transactions.

Law: the features of a payment depend on the payment itself (without its label), on payments of
*strictly earlier seconds*, and on labels that were *known before* its second - and on nothing
else, the order of the rows included. See ``docs/decisions/0005-features-only-from-the-past.md``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import BoolArray, Float32Array, Float64Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.features.recipe import FAN_IN_DAYS, RISK_ENTITIES, WINDOW_DAYS, feature_schema
from fraudfed.features.schema import (
    CHANNELS,
    COLUMNS,
    LABEL_COLUMNS,
    MAX_EPOCH_SECONDS,
    MERCHANT_CATEGORIES,
)
from fraudfed.features.windows import KeyedTimeline, running_total

__all__ = ["LABEL_NOT_KNOWN", "FeatureTable", "build_features"]

SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 86400
#: 1970-01-01 was a Thursday, day 3 of a week that starts on Monday.
EPOCH_WEEKDAY = 3
SATURDAY = 5
NIGHT_ENDS_HOUR = 6
#: Mean Earth radius R1 (IUGG): distances are right to about 0.5 %.
EARTH_RADIUS_KM = 6371.0088
#: ``label_time`` of a row whose label is not known yet: later than every event.
LABEL_NOT_KNOWN = MAX_EPOCH_SECONDS


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of one bank's transactions, in the row order of the raw table.

    Attributes
    ----------
    schema : FeatureSchema
    values : ndarray of shape (n_rows, n_features), dtype=float32
        NaN is missing. Column-major: a feature's column is contiguous.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1; NaN where the label is not known.
    event_time : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds.
    label_time : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds; ``LABEL_NOT_KNOWN`` where the label is not known.
    transaction_id : ndarray of shape (n_rows,), dtype=object
    """

    schema: FeatureSchema
    values: Float32Array
    labels: Float32Array
    event_time: Int64Array
    label_time: Int64Array
    transaction_id: npt.NDArray[np.object_]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.labels.size)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the feature columns."""
        return self.schema.names

    @property
    def n_categories(self) -> tuple[int, ...]:
        """0 for a numeric column, else its number of categories."""
        return self.schema.n_categories

    def rows_between(
        self, *, start: int | None, stop: int | None, labels_before: int | None = None
    ) -> BoolArray:
        """Choose rows by time.

        Parameters
        ----------
        start, stop : int or None
            Events in ``[start, stop)``, epoch seconds; None is no limit.
        labels_before : int or None
            Only rows whose label was known before this time.

        Returns
        -------
        ndarray of shape (n_rows,), dtype=bool
        """
        chosen = np.ones(self.n_rows, dtype=np.bool_)
        if start is not None:
            chosen &= self.event_time >= start
        if stop is not None:
            chosen &= self.event_time < stop
        if labels_before is not None:
            chosen &= self.label_time < labels_before
        return chosen

    def training_rows(
        self, *, start: int | None, until: int | None, label_delay_seconds: int
    ) -> BoolArray:
        """Choose the rows that may be trained on at a time: the rule of bank and demo alike.

        Events end one label delay before ``until``. Closer to it the known labels are a biased
        sample: a fraud is often reported at once, while a clean payment counts as clean only
        after the delay, so the last days would be all fraud.

        Parameters
        ----------
        start : int or None
            First event time, epoch seconds; None is no limit.
        until : int or None
            Time of training, epoch seconds: nothing that became known from here on is used.
            None takes every row whose label is known.
        label_delay_seconds : int
            As in the data contract.

        Returns
        -------
        ndarray of shape (n_rows,), dtype=bool
        """
        if until is None:
            return self.rows_between(start=start, stop=None, labels_before=LABEL_NOT_KNOWN)
        return self.rows_between(start=start, stop=until - label_delay_seconds, labels_before=until)

    def take(self, rows: BoolArray | Int64Array) -> "FeatureTable":
        """Return the chosen rows as a table of their own."""
        return FeatureTable(
            schema=self.schema,
            values=self.values.T[:, rows].T,
            labels=self.labels[rows],
            event_time=self.event_time[rows],
            label_time=self.label_time[rows],
            transaction_id=self.transaction_id[rows],
        )

    def training_table(self) -> TrainingTable:
        """Return the rows as training wants them.

        Raises
        ------
        DataError
            If the label of a row is not known.
        """
        unknown = np.isnan(self.labels)
        if unknown.any():
            row = int(np.argmax(unknown))
            raise DataError(
                f"transaction {self.transaction_id[row]!r}: label is not known, expected 0 or 1 in "
                "every row that is trained on; choose rows by training_rows"
            )
        return TrainingTable(schema=self.schema, features=self.values, labels=self.labels)


def build_features(transactions: pd.DataFrame, *, label_delay_seconds: int) -> FeatureTable:
    """Compute every feature of the recipe.

    Parameters
    ----------
    transactions : DataFrame
        Raw transactions that :func:`fraudfed.features.schema.check_transactions` accepts, with
        or without labels, in any order. The history is what the table holds: give at least 30
        days plus the label delay before the first row of interest.
    label_delay_seconds : int
        The windows of counts, fraud counts and fraud rates end this long before the payment,
        because later payments have too few known labels. Independent of it, a fraud counts only
        once its own ``label_time`` has passed.

    Returns
    -------
    FeatureTable

    Raises
    ------
    DataError
        If a column is missing or holds a value that has no code.
    """
    if label_delay_seconds < 0:
        raise ValueError(f"label_delay_seconds is {label_delay_seconds}, expected 0 or more")
    for column in COLUMNS:
        if not (column.optional or column.name in LABEL_COLUMNS) and (
            column.name not in transactions.columns
        ):
            raise DataError(
                f"transactions: column {column.name!r} is missing; run check_transactions first"
            )
    raw = _Raw.of(transactions)
    columns = _Columns(raw.n_rows)
    _payment(columns, raw, transactions)
    _customer_history(columns, raw)
    _acquaintance(columns, raw)
    _travel(columns, raw, transactions)
    _fan_in(columns, raw)
    for entity in RISK_ENTITIES:
        _risk(columns, raw, entity, delay=label_delay_seconds)
    return FeatureTable(
        schema=columns.schema,
        values=columns.finish(),
        labels=raw.labels,
        event_time=raw.time,
        label_time=raw.label_time,
        transaction_id=transactions["transaction_id"].to_numpy(dtype=object),
    )


class _Columns:
    """The output, filled by feature name; stored feature by feature."""

    def __init__(self, n_rows: int) -> None:
        self.schema = feature_schema()
        self._index = {name: i for i, name in enumerate(self.schema.names)}
        self._pending = set(self.schema.names)
        self._values = np.empty((self.schema.n_features, n_rows), dtype=np.float32)

    def put(
        self,
        name: str,
        values: npt.NDArray[np.floating | np.integer | np.bool_],
        rows: Int64Array | None = None,
    ) -> None:
        """Store a feature: of all rows, or of ``rows`` with the others missing."""
        target = self._values[self._index[name]]
        self._pending.remove(name)
        if rows is None:
            target[:] = values
            return
        if rows.size < target.size:
            target.fill(np.nan)
        target[rows] = values

    def finish(self) -> Float32Array:
        """Return shape (n_rows, n_features)."""
        if self._pending:
            raise RuntimeError(f"no values for features of the recipe: {sorted(self._pending)}")
        return self._values.T


@dataclass(frozen=True, eq=False)
class _Raw:
    """Raw columns as arrays; identifiers as codes >= 0, -1 where there is none."""

    n_rows: int
    time: Int64Array
    label_time: Int64Array
    labels: Float32Array
    amount: Int64Array
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
        entities = ("customer", "device", *RISK_ENTITIES)
        return cls(
            n_rows=n_rows,
            time=transactions["event_time"].to_numpy(dtype=np.int64),
            label_time=label_time,
            labels=labels,
            amount=transactions["amount_minor"].to_numpy(dtype=np.int64),
            codes={
                name: pd.factorize(transactions[f"{name}_id"])[0].astype(np.int64, copy=False)
                for name in entities
            },
        )


def _payment(columns: _Columns, raw: _Raw, transactions: pd.DataFrame) -> None:
    """Features of the payment alone."""
    columns.put("amount", raw.amount)
    second = raw.time % SECONDS_PER_DAY
    columns.put("hour_of_day", second / SECONDS_PER_HOUR)
    columns.put("is_night", second < NIGHT_ENDS_HOUR * SECONDS_PER_HOUR)
    columns.put("is_weekend", (raw.time // SECONDS_PER_DAY + EPOCH_WEEKDAY) % 7 >= SATURDAY)
    for name, categories in (("channel", CHANNELS), ("merchant_category", MERCHANT_CATEGORIES)):
        columns.put(name, _category_codes(transactions[name], categories))


def _category_codes(series: "pd.Series[str]", categories: tuple[str, ...]) -> Float32Array:
    """Return the code of each value, NaN where there is none."""
    numbers, values = pd.factorize(series)
    code_of = {category: code for code, category in enumerate(categories)}
    unknown = sorted(set(values) - code_of.keys())
    if unknown:
        raise DataError(
            f"transactions: column {series.name!r} holds {unknown[0]!r}, expected one of "
            f"{', '.join(categories)}; run check_transactions first"
        )
    # The last entry is what number -1, no value, picks.
    codes = np.array([*(code_of[value] for value in values), np.nan], dtype=np.float32)
    return codes[numbers]


def _customer_history(columns: _Columns, raw: _Raw) -> None:
    """Count, mean amount and recency of the customer's own payments."""
    timeline = KeyedTimeline.of(
        raw.codes["customer"], raw.time, lookback=max(WINDOW_DAYS) * SECONDS_PER_DAY
    )
    rows = timeline.order
    previous = timeline.previous()
    since = (timeline.times - timeline.times[previous]).astype(np.float32)
    since[previous < 0] = np.nan
    columns.put("customer_seconds_since_previous", since, rows)

    amount = raw.amount[rows]
    total = running_total(amount)
    widths = [days * SECONDS_PER_DAY for days in WINDOW_DAYS]
    for days, window in zip(WINDOW_DAYS, timeline.windows(widths), strict=True):
        count = window.count()
        mean = _ratio(window.sum(total), count)
        columns.put(f"customer_count_{days}d", count, rows)
        columns.put(f"customer_mean_amount_{days}d", mean, rows)
        if days == max(WINDOW_DAYS):
            columns.put(f"amount_over_customer_mean_{days}d", amount / mean, rows)


def _ratio(numerator: Int64Array, denominator: Int64Array) -> Float64Array:
    """Divide, NaN where the denominator is 0."""
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _acquaintance(columns: _Columns, raw: _Raw) -> None:
    """Whether the customer knows the payee, the device, and since when the latter."""
    rows, age = _seconds_since_first(raw, "payee")
    columns.put("new_payee", age == 0, rows)
    rows, age = _seconds_since_first(raw, "device")
    columns.put("new_device", age == 0, rows)
    columns.put("device_age_seconds", age, rows)


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


def _travel(columns: _Columns, raw: _Raw, transactions: pd.DataFrame) -> None:
    """Distance and speed from the customer's previous known place."""
    latitude = np.radians(transactions["latitude"].to_numpy(dtype=np.float64))
    longitude = np.radians(transactions["longitude"].to_numpy(dtype=np.float64))
    placed = np.flatnonzero(~(np.isnan(latitude) | np.isnan(longitude)))
    timeline = KeyedTimeline.of(
        raw.codes["customer"][placed], raw.time[placed], lookback=0
    ).with_ties_by(transactions["transaction_id"].iloc[placed])
    rows = placed[timeline.order]
    previous = timeline.previous()
    here = np.flatnonzero(previous >= 0)
    there = previous[here]
    distance = great_circle_km(
        latitude[rows[there]], longitude[rows[there]], latitude[rows[here]], longitude[rows[here]]
    )
    hours = (timeline.times[here] - timeline.times[there]) / SECONDS_PER_HOUR
    columns.put("distance_km", distance, rows[here])
    columns.put("speed_kmh", distance / hours, rows[here])


def great_circle_km(
    latitude_a: Float64Array,
    longitude_a: Float64Array,
    latitude_b: Float64Array,
    longitude_b: Float64Array,
) -> Float64Array:
    """Return distances on the sphere by the haversine formula, km; all angles in radians.

    R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (2), 1984, page 159.
    """
    chord = (
        np.sin((latitude_b - latitude_a) / 2) ** 2
        + np.cos(latitude_a) * np.cos(latitude_b) * np.sin((longitude_b - longitude_a) / 2) ** 2
    )
    # Rounding can lift antipodes a hair above 1.
    distance: Float64Array = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return distance


def _fan_in(columns: _Columns, raw: _Raw) -> None:
    """Distinct customers who paid the payee."""
    rows = np.flatnonzero(raw.codes["payee"] >= 0)
    timeline = KeyedTimeline.of(
        raw.codes["payee"][rows], raw.time[rows], lookback=max(FAN_IN_DAYS) * SECONDS_PER_DAY
    )
    rows = rows[timeline.order]
    customers = raw.codes["customer"][rows]
    for days in FAN_IN_DAYS:
        seen = timeline.distinct(customers, width=days * SECONDS_PER_DAY)
        columns.put(f"payee_customers_{days}d", seen, rows)


def _risk(columns: _Columns, raw: _Raw, entity: str, *, delay: int) -> None:
    """Payments and known frauds at a terminal, merchant or payee, shifted by the label delay.

    A fraud at ``e`` reported at ``r`` lies in the window ``[t - delay - width, t - delay)`` and is
    known at ``t`` exactly if ``max(e + delay, r) < t <= e + delay + width``: an interval of ``t``.
    """
    rows = np.flatnonzero(raw.codes[entity] >= 0)
    timeline = KeyedTimeline.of(
        raw.codes[entity][rows],
        raw.time[rows],
        lookback=delay + max(WINDOW_DAYS) * SECONDS_PER_DAY,
    )
    rows = rows[timeline.order]
    fraud = np.flatnonzero(raw.labels[rows] == 1)
    keys, happened = timeline.codes[fraud], timeline.times[fraud]
    counts_from = np.maximum(happened + delay, raw.label_time[rows[fraud]])
    widths = [days * SECONDS_PER_DAY for days in WINDOW_DAYS]
    for days, width, window in zip(
        WINDOW_DAYS, widths, timeline.windows(widths, delay=delay), strict=True
    ):
        count = window.count()
        frauds = timeline.covering(keys, counts_from, happened + delay + width)
        columns.put(f"{entity}_count_{days}d", count, rows)
        columns.put(f"{entity}_fraud_count_{days}d", frauds, rows)
        columns.put(f"{entity}_fraud_rate_{days}d", _ratio(frauds, count), rows)
