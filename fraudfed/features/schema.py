"""What a raw transaction is, and the check that a table of them keeps to it.

One row is one payment as the customer's bank sees it. Times are UTC epoch seconds, amounts are
minor currency units. ``label_time`` is when the bank *learnt* the label: for fraud the report, for
a clean payment the moment from which it counts as clean. No feature uses a label before that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from fraudfed.dtypes import BoolArray
from fraudfed.errors import DataError

__all__ = [
    "CHANNELS",
    "COLUMNS",
    "LABEL_COLUMNS",
    "MAX_AMOUNT_MINOR",
    "MAX_EPOCH_SECONDS",
    "MERCHANT_CATEGORIES",
    "TIME_COLUMNS",
    "Column",
    "ColumnKind",
    "Origin",
    "check_transactions",
    "pandas_dtypes",
]

#: How a payment was made; the order is the order of the category codes.
CHANNELS = ("pos", "ecommerce", "transfer", "atm")

#: What the merchant sells; the order is the order of the category codes.
MERCHANT_CATEGORIES = (
    "grocery",
    "fuel",
    "restaurant",
    "transport",
    "travel",
    "fashion",
    "electronics",
    "home_garden",
    "health",
    "beauty",
    "sports",
    "books_media",
    "digital_goods",
    "gaming",
    "gift_cards",
    "jewellery",
    "entertainment",
    "services",
    "cash",
)

#: 1970 to 2242. A time outside is almost surely in milliseconds or not an epoch time at all.
MAX_EPOCH_SECONDS = 1 << 33
#: 10^10 in a currency with two decimals. Nine million such payments still sum within int64.
MAX_AMOUNT_MINOR = 10**12


class ColumnKind(StrEnum):
    """How a raw column is stored."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"


@dataclass(frozen=True)
class Column:
    """One column of the raw transaction table.

    Attributes
    ----------
    name : str
    kind : ColumnKind
    description : str
        Meaning and unit.
    nullable : bool
        Whether a row may have no value here.
    minimum, maximum : float, or None
        Closed range of the values.
    values : tuple of str, or None
        The only values allowed.
    optional : bool
        Whether the whole column may be absent: other people's data lack it.
    analysis : bool
        Known and checked, and never read by a feature.
    """

    name: str
    kind: ColumnKind
    description: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None
    optional: bool = False
    analysis: bool = False

    @property
    def required(self) -> bool:
        """Whether features cannot be built without the column."""
        return not self.optional and self.name not in LABEL_COLUMNS


#: Absent or null where the label is not known yet, as when new payments are scored.
LABEL_COLUMNS = ("label_time", "is_fraud")
#: UTC epoch seconds.
TIME_COLUMNS = ("event_time", "label_time")

#: Every column of the raw table, in the order in which it is written.
COLUMNS = (
    Column("transaction_id", ColumnKind.STRING, "unique over all banks"),
    Column(
        "event_time",
        ColumnKind.INTEGER,
        "time of payment, UTC epoch seconds",
        minimum=0,
        maximum=MAX_EPOCH_SECONDS - 1,
    ),
    Column(
        "label_time",
        ColumnKind.INTEGER,
        "time at which the bank learns the label, UTC epoch seconds",
        minimum=0,
        maximum=MAX_EPOCH_SECONDS - 1,
    ),
    Column("customer_id", ColumnKind.STRING, "who pays; private to the bank"),
    Column(
        "account_id",
        ColumnKind.STRING,
        "account of the payer, named as payee_id names accounts; never a feature",
        nullable=True,
        optional=True,
        analysis=True,
    ),
    Column(
        "card_id",
        ColumnKind.STRING,
        "card of the payer; private to the bank; never a feature",
        nullable=True,
        optional=True,
        analysis=True,
    ),
    Column(
        "merchant_id",
        ColumnKind.STRING,
        "who is paid; shared by all banks",
        nullable=True,
        optional=True,
    ),
    Column(
        "terminal_id",
        ColumnKind.STRING,
        "card terminal or cash machine; null if the card was not present",
        nullable=True,
        optional=True,
    ),
    Column(
        "payee_id",
        ColumnKind.STRING,
        "receiving account; transfers only",
        nullable=True,
        optional=True,
    ),
    Column(
        "device_id",
        ColumnKind.STRING,
        "customer's phone or computer; null at a terminal",
        nullable=True,
        optional=True,
    ),
    Column("channel", ColumnKind.STRING, "how it was paid", values=CHANNELS, optional=True),
    Column(
        "merchant_category",
        ColumnKind.STRING,
        "what the merchant sells; null for transfers",
        nullable=True,
        optional=True,
        values=MERCHANT_CATEGORIES,
    ),
    Column(
        "amount_minor",
        ColumnKind.INTEGER,
        "amount, minor currency units; 0 verifies a card or an account",
        minimum=0,
        maximum=MAX_AMOUNT_MINOR,
    ),
    Column(
        "latitude",
        ColumnKind.FLOAT,
        "place of the terminal, degrees north",
        nullable=True,
        optional=True,
        minimum=-90.0,
        maximum=90.0,
    ),
    Column(
        "longitude",
        ColumnKind.FLOAT,
        "place of the terminal, degrees east",
        nullable=True,
        optional=True,
        minimum=-180.0,
        maximum=180.0,
    ),
    Column("is_fraud", ColumnKind.INTEGER, "1 fraud, 0 clean", minimum=0, maximum=1),
    Column(
        "is_blocked",
        ColumnKind.INTEGER,
        "1 if the bank stopped the payment, else 0; never a feature",
        minimum=0,
        maximum=1,
        optional=True,
        analysis=True,
    ),
    Column(
        "fraud_kind",
        ColumnKind.STRING,
        "kind of fraud, for analysis only; never a feature",
        nullable=True,
        optional=True,
        analysis=True,
    ),
)

_StringSeries: TypeAlias = "pd.Series[Any]"

#: Tells where a value came from that was made of another table, by column and row (from 0): a text
#: such as ``'amt' -5.0``, or None.
Origin: TypeAlias = Callable[[str, int], str | None]


def pandas_dtypes() -> dict[str, str]:
    """Dtype of every column for ``pandas.read_csv(dtype=...)``.

    Identifiers are text even when they look like numbers. Integer columns are left out: pandas
    reads them as int64, and what it cannot read so is reported by :func:`check_transactions`
    with its row, which a dtype here would turn into an error without one.
    """
    return {column.name: "str" for column in COLUMNS if column.kind is ColumnKind.STRING}


def check_transactions(
    transactions: pd.DataFrame,
    *,
    source: str,
    require_labels: bool = True,
    origin: Origin | None = None,
) -> None:
    """Check a raw transaction table; return if it is fit for :func:`build_features`.

    Parameters
    ----------
    transactions : DataFrame of shape (n_rows, at least the columns of ``COLUMNS``)
        Columns marked ``optional`` may be absent, ``latitude`` and ``longitude`` only together.
        Further columns are ignored. The index does not matter.
    source : str
        Where the rows came from, for the error text: a file name.
    require_labels : bool
        False: ``is_fraud`` and ``label_time`` may be absent, or null in rows whose label is not
        known yet (then both).
    origin : callable or None
        Says of a mapped value what it was in the source, for the error text.

    Raises
    ------
    DataError
        At the first violation, naming source, row (the first data row is 1), column, value, what
        was expected and what to do.
    """
    for column in COLUMNS:
        if column.name not in transactions.columns:
            if column.optional or (not require_labels and column.name in LABEL_COLUMNS):
                continue
            raise DataError(
                f"{source}: column {column.name!r} is missing, expected the columns "
                f"{', '.join(c.name for c in COLUMNS if not c.optional)}; add it ({column.kind}, "
                f"{column.description})"
            )
    rows = _Source(source, origin)
    _check_both(transactions, "latitude", "longitude", source=rows)
    if len(transactions) == 0:
        raise DataError(f"{source}: has no rows, expected at least one transaction")
    for column in COLUMNS:
        if column.name in transactions.columns:
            nullable = column.nullable or (not require_labels and column.name in LABEL_COLUMNS)
            _check_column(transactions[column.name], column, nullable=nullable, source=rows)
    _check_unique(transactions["transaction_id"], source=rows)
    _check_labels(transactions, source=rows)


@dataclass(frozen=True)
class _Source:
    """Where rows came from, as error texts say it."""

    name: str
    origin: Origin | None

    def __str__(self) -> str:
        return self.name

    def column(self, name: str, row: int) -> str:
        """Name a column, and what the value of a row was in the source if it was mapped."""
        before = None if self.origin is None else self.origin(name, row)
        return f"column {name!r}" if before is None else f"column {name!r} (from {before})"


def _violation(
    series: _StringSeries, bad: BoolArray, *, source: _Source, expected: str, advice: str
) -> DataError:
    """Return the error for the first row of ``bad``."""
    row = int(np.argmax(bad))
    value = series.iloc[row]
    plain: object = value.item() if isinstance(value, np.generic) else value
    shown: str = "no value" if pd.isna(value) else repr(plain)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    count = int(np.count_nonzero(bad))
    more = f" ({count - 1} more rows)" if count > 1 else ""
    return DataError(
        f"{source}: row {row + 1}, {source.column(str(series.name), row)}: got {shown}, expected "
        f"{expected}{more}; {advice}"
    )


def _check_column(
    series: _StringSeries, column: Column, *, nullable: bool, source: _Source
) -> None:
    missing = series.isna().to_numpy(dtype=np.bool_)
    if not nullable and missing.any():
        raise _violation(
            series,
            missing,
            source=source,
            expected=f"a value ({column.description})",
            advice="fill it in or leave the row out",
        )
    if missing.all():
        return
    if column.kind is ColumnKind.STRING:
        _check_strings(series, missing, column, source=source)
    else:
        _check_numbers(series, missing, column, source=source)


def _check_strings(
    series: _StringSeries, missing: BoolArray, column: Column, *, source: _Source
) -> None:
    if isinstance(series.dtype, pd.CategoricalDtype):
        text = pd.api.types.is_string_dtype(series.dtype.categories.dtype)
    else:
        # For a column of objects this looks at every value.
        text = pd.api.types.infer_dtype(series, skipna=True) in ("string", "empty")
    if not text:
        wrong = ~missing & ~_rows(series, lambda value: isinstance(value, str))
        raise _violation(
            series,
            wrong,
            source=source,
            expected=f"text, the column has type {series.dtype}",
            advice="read the column as text",
        )
    if column.values is not None:
        unknown = ~missing & ~series.isin(column.values).to_numpy(dtype=np.bool_)
        if unknown.any():
            raise _violation(
                series,
                unknown,
                source=source,
                expected=f"one of {', '.join(column.values)}",
                advice="map the bank's own values to these",
            )


def _check_numbers(
    series: _StringSeries, missing: BoolArray, column: Column, *, source: _Source
) -> None:
    if pd.api.types.is_bool_dtype(series.dtype) or not pd.api.types.is_numeric_dtype(series.dtype):
        wrong = ~missing & ~_rows(series, _is_number)
        raise _violation(
            series,
            wrong if wrong.any() else ~missing,
            source=source,
            expected=f"{column.kind}, the column has type {series.dtype}",
            advice="convert the column to numbers",
        )
    values = series[~missing].to_numpy()
    bad = np.zeros(len(series), dtype=np.bool_)
    if column.kind is ColumnKind.INTEGER and values.dtype.kind == "f":
        bad[~missing] = values != np.floor(values)
        if bad.any():
            raise _violation(
                series,
                bad,
                source=source,
                expected=f"a whole number ({column.description})",
                advice="mend the value or leave the row out",
            )
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    bad[~missing] = ~((values >= low) & (values <= high))
    if bad.any():
        raise _violation(
            series,
            bad,
            source=source,
            expected=f"{low:.15g} to {high:.15g} ({column.description})",
            advice="mend the value or leave the row out",
        )


def _rows(series: _StringSeries, test: Callable[[object], bool]) -> BoolArray:
    """Apply ``test`` to every value; only ever used on the way to an error."""
    return np.fromiter((test(value) for value in series), dtype=np.bool_, count=len(series))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _check_unique(series: _StringSeries, *, source: _Source) -> None:
    repeated = series.duplicated().to_numpy(dtype=np.bool_)
    if repeated.any():
        raise _violation(
            series,
            repeated,
            source=source,
            expected="an identifier that no earlier row has",
            advice="leave the repeated row out",
        )


def _check_both(transactions: pd.DataFrame, *names: str, source: _Source) -> None:
    present = [name for name in names if name in transactions.columns]
    absent = [name for name in names if name not in transactions.columns]
    if present and absent:
        raise DataError(
            f"{source}: column {absent[0]!r} is missing while {present[0]!r} is there, expected "
            "both or neither; add it"
        )


def _check_labels(transactions: pd.DataFrame, *, source: _Source) -> None:
    _check_both(transactions, *LABEL_COLUMNS, source=source)
    if LABEL_COLUMNS[0] not in transactions.columns:
        return
    label, known = transactions["is_fraud"], transactions["label_time"]
    has_label = label.notna().to_numpy(dtype=np.bool_)
    has_time = known.notna().to_numpy(dtype=np.bool_)
    if not np.array_equal(has_label, has_time):
        raise _violation(
            known,
            has_label != has_time,
            source=source,
            expected="a value exactly where is_fraud has one",
            advice="give both or neither",
        )
    early = np.zeros(len(transactions), dtype=np.bool_)
    early[has_time] = (
        known[has_time].to_numpy() < transactions.loc[has_time, "event_time"].to_numpy()
    )
    if early.any():
        event = int(transactions["event_time"].iloc[int(np.argmax(early))])
        raise _violation(
            known,
            early,
            source=source,
            expected=f"at or after the event_time {event}",
            advice="a label cannot be known before the payment; mend the times",
        )
