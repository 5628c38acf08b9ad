"""What one bank brings: its columns as numbers or cells, its labels, and its identifiers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.payments.columns import CHANNELS, ColumnKind
from fraudfed.payments.columns import COLUMNS as RAW_COLUMNS
from fraudfed.statistics.layout import (
    AMOUNT,
    DAY_NAMES,
    ENDINGS,
    HOUR_CHANNELS,
    HOURS,
    WEEKDAYS,
    Column,
    Layout,
)
from fraudfed.wire.messages import RiskEntity

#: Code of a missing value of a column with cells.
MISSING: Final = -1
#: 1970-01-01 was a Thursday.
_FIRST_WEEKDAY: Final = 3
_SECONDS_PER_HOUR: Final = 3600
_SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, eq=False)
class Identifiers:
    """Distinct identifiers of one kind, as they enter the hash.

    Attributes
    ----------
    all : list of str
    with_customers : list of str
        Those at which enough customers of the bank paid.
    """

    all: list[str]
    with_customers: list[str]


@dataclass(frozen=True, eq=False)
class Contents:
    """Rows of one bank. They never leave it.

    Attributes
    ----------
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1; NaN where the label is not known, or not mature.
    numbers : dict of Column to ndarray of shape (n_rows,), dtype=float32
        NaN is missing.
    codes : dict of Column to ndarray of shape (n_rows,), dtype=int64
        Index of the cell, ``MISSING`` for a missing value; of a column without cells 0 for any
        value.
    identifiers : dict of RiskEntity to Identifiers
    """

    labels: Float32Array
    numbers: Mapping[Column, Float32Array]
    codes: Mapping[Column, Int64Array]
    identifiers: Mapping[RiskEntity, Identifiers] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.labels.size)


def contents_of(
    layout: Layout,
    *,
    features: Mapping[str, Float32Array],
    labels: Float32Array,
    transactions: pd.DataFrame | None,
    min_customers: int | None,
) -> Contents:
    """Collect what a layout counts.

    Parameters
    ----------
    layout : Layout
    features : mapping of str to ndarray of shape (n_rows,), dtype=float32
        By name; categories as codes, NaN is missing.
    labels : ndarray of shape (n_rows,), dtype=float32
    transactions : DataFrame or None
        The same rows as they were read; None for a plain table.
    min_customers : int or None
        Distinct customers that make an identifier one of ``with_customers``. None leaves
        identifiers out: these are some rows of many, of which ``identifiers_of`` is asked together.
    """
    raw = {} if transactions is None else _raw_codes(transactions)
    numbers: dict[Column, Float32Array] = {}
    codes: dict[Column, Int64Array] = {}
    for column in layout.columns:
        if column.group == "identifier":
            continue
        if column.group == "feature":
            values = features[column.name]
            if column.cells is None:
                numbers[column] = values
            else:
                codes[column] = _codes_of(values)
        elif column.cells is None:
            numbers[column] = _numbers(transactions, column.name, labels.size)
        else:
            absent = np.full(labels.size, MISSING, dtype=np.int64)
            codes[column] = raw.get(column.name, absent)
    identifiers = {}
    if transactions is not None:
        identifiers = {
            entity: Identifiers([], [])
            if min_customers is None
            else identifiers_of(payers_of(transactions, entity), min_customers)
            for entity in layout.entities
        }
    return Contents(labels, numbers, codes, identifiers)


def _codes_of(values: Float32Array) -> Int64Array:
    codes = np.full(values.size, MISSING, dtype=np.int64)
    known = ~np.isnan(values)
    codes[known] = values[known].astype(np.int64)
    return codes


def _numbers(rows: pd.DataFrame | None, name: str, n_rows: int) -> Float32Array:
    if rows is None or name not in rows.columns:
        return np.full(n_rows, np.nan, dtype=np.float32)
    values: Float32Array = rows[name].to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32)
    return values


def _raw_codes(rows: pd.DataFrame) -> dict[str, Int64Array]:
    found = {
        column.name: _coded(rows[column.name], column.values)
        for column in RAW_COLUMNS
        if column.kind is ColumnKind.STRING and column.name in rows.columns
    }
    seconds = rows["event_time"].to_numpy(dtype=np.int64)
    days = seconds // _SECONDS_PER_DAY
    hours = (seconds % _SECONDS_PER_DAY) // _SECONDS_PER_HOUR
    channel = np.full(seconds.size, MISSING, dtype=np.int64)
    if "channel" in rows.columns:
        channel = _coded(rows["channel"], CHANNELS)
    channel = np.where(channel == MISSING, len(HOUR_CHANNELS) - 1, channel)
    found[HOURS] = channel * 24 + hours
    found[WEEKDAYS] = (days + _FIRST_WEEKDAY) % len(DAY_NAMES)
    amount = rows[AMOUNT].to_numpy(dtype=np.int64)
    zeros = sum((amount % base == 0).astype(np.int64) for base in (10, 100, 1000))
    found[ENDINGS] = np.where(amount == 0, MISSING, zeros).astype(np.int64)
    return found


def _coded(series: "pd.Series[str]", values: tuple[str, ...] | None) -> Int64Array:
    present: BoolArray = series.notna().to_numpy(dtype=np.bool_)
    if values is None:
        return np.where(present, 0, MISSING).astype(np.int64)
    codes = pd.Index(values).get_indexer(pd.Index(series.astype(object)))
    return codes.astype(np.int64)


def payers_of(rows: pd.DataFrame, entity: RiskEntity) -> pd.DataFrame:
    """Return who paid at which identifiers, each pair once.

    Returns
    -------
    DataFrame of shape (n_pairs, 2)
        ``identifier`` and ``customer``; empty if there is no such column.
    """
    name = f"{entity.value}_id"
    if name not in rows.columns:
        return pd.DataFrame({"identifier": [], "customer": []}, dtype=object)
    pairs = rows[[name, "customer_id"]].dropna().drop_duplicates()
    return pairs.set_axis(["identifier", "customer"], axis="columns")


def identifiers_of(pairs: pd.DataFrame, min_customers: int) -> Identifiers:
    """Return distinct identifiers, sorted, of ``payers_of`` rows that have all of their payers."""
    customers = (
        pairs.drop_duplicates().groupby("identifier", sort=True, observed=True)["customer"].size()
    )
    enough = customers[customers >= min_customers]
    return Identifiers([str(i) for i in customers.index], [str(i) for i in enough.index])
