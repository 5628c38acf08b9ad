"""Check that a table of raw transactions keeps to the schema."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from fraudfed.catalogue.code_lists import allowed_text, allowed_values
from fraudfed.catalogue.schema import COLUMNS, LABEL_COLUMNS, Column, ColumnKind
from fraudfed.dtypes import BoolArray
from fraudfed.errors import DataError

_StringSeries: TypeAlias = "pd.Series[Any]"

#: Tells where a mapped value came from, by column and row (from 0): a text such as ``'amt' -5.0``,
#: or None.
Origin: TypeAlias = Callable[[str, int], str | None]


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
        Other columns are ignored. The index does not matter.
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
    allowed = allowed_values(column)
    if allowed is not None:
        unknown = ~missing & ~series.isin(allowed).to_numpy(dtype=np.bool_)
        if unknown.any():
            raise _violation(
                series,
                unknown,
                source=source,
                expected=allowed_text(column),
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
