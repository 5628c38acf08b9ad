"""Check that a table of raw transactions keeps to the schema."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from fraudfed.dtypes import BoolArray
from fraudfed.payments.code_lists import allowed_text, allowed_values
from fraudfed.payments.columns import COLUMNS, LABEL_COLUMNS, Column, ColumnKind
from fraudfed.reading.problems import Problems

#: Numbers of checks (``Problems.begin``), behind those of the module that has read the rows.
CHECK_COLUMNS: Final = 2
_CHECK_ROWS: Final = 3
#: What is said of a column, in the order in which it is looked for.
_KINDS: Final = (
    "missing_value",
    "not_a_text",
    "unknown_value",
    "not_a_number",
    "not_a_whole_number",
    "out_of_range",
    "repeated_value",
    "half_a_label",
    "label_before_payment",
)
#: Those that look at more than one column, or at more than one row; behind all others.
OF_LABELS: Final = ("half_a_label", "label_before_payment")
REPEATED: Final = "repeated_value"
_PLACES: Final = {column.name: place for place, column in enumerate(COLUMNS)}

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
    problems: Problems | None = None,
    known_wrong: Mapping[str, BoolArray] | None = None,
    repeated: BoolArray | None = None,
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
    problems : Problems or None
        Takes every violation, instead of an exception.
    known_wrong : mapping of str to ndarray of shape (n_rows,), dtype=bool, or None
        By column: cells with a problem already, of which no more is said.
    repeated : ndarray of shape (n_rows,), dtype=bool, or None
        Rows whose identifier an earlier row has, where these are some rows of many; None: these are
        all.

    Raises
    ------
    DataError
        With every violation; the text names the first: source, row (the first data row is 1),
        column, value, what was expected and what to do.
    """
    found = Problems(source) if problems is None else problems
    rows = _Rows(found, origin, known_wrong or {})
    found.begin(CHECK_COLUMNS, -1)
    for column in COLUMNS:
        if column.name not in transactions.columns:
            if column.optional or (not require_labels and column.name in LABEL_COLUMNS):
                continue
            rows.add_whole(
                "missing_column",
                column.name,
                f"column {column.name!r} is missing, expected the columns "
                f"{', '.join(c.name for c in COLUMNS if not c.optional)}; add it ({column.kind}, "
                f"{column.description})",
            )
    _check_both(transactions, "latitude", "longitude", rows=rows)
    if not require_labels:
        _check_both(transactions, *LABEL_COLUMNS, rows=rows)
    if len(transactions) == 0:
        rows.add_whole("no_rows", None, "has no rows, expected at least one transaction")
    else:
        for column in COLUMNS:
            if column.name in transactions.columns:
                nullable = column.nullable or (not require_labels and column.name in LABEL_COLUMNS)
                _check_column(transactions[column.name], column, nullable=nullable, rows=rows)
        if "transaction_id" in transactions.columns:
            _check_unique(transactions["transaction_id"], repeated, rows=rows)
        if {"event_time", *LABEL_COLUMNS} <= set(transactions.columns):
            _check_labels(transactions, rows=rows)
    if problems is None:
        found.raise_any()


@dataclass(frozen=True)
class _Rows:
    """Where rows came from, and what is wrong with them."""

    problems: Problems
    origin: Origin | None
    known_wrong: Mapping[str, BoolArray]
    #: Cells by column that hold no number, or none in its range: they are not compared.
    wrong: dict[str, BoolArray] = field(default_factory=dict)

    def add_whole(self, kind: str, column: str | None, sentence: str) -> None:
        """Add a problem of a column or of all rows."""
        self.problems.add_whole(kind, None if column is None else repr(column), sentence)

    def add(
        self,
        kind: str,
        series: _StringSeries,
        bad: BoolArray,
        *,
        expected: str,
        advice: str,
        beside: "_StringSeries | None" = None,
    ) -> None:
        """Add a problem of the rows of ``bad``, but those with another one already.

        What stands ``beside`` a value is shown with it.
        """
        name = str(series.name)
        known = self.known_wrong.get(name)
        if known is not None:
            bad = bad & ~known
        if not bad.any():
            return
        self.wrong[name] = self.wrong.get(name, np.zeros(len(bad), np.bool_)) | bad
        origin = self.origin
        is_of_rows = kind == REPEATED or kind in OF_LABELS
        place = (_CHECK_ROWS, 0) if is_of_rows else (CHECK_COLUMNS, _PLACES.get(name, 0))
        self.problems.begin(*place, _KINDS.index(kind))

        def got(row: int) -> str:
            if beside is None:
                return _shown(series, row)
            return f"{_shown(series, row)} beside {beside.name} {_shown(beside, row)}"

        self.problems.add_cells(
            kind,
            repr(name),
            bad,
            got=got,
            expected=expected,
            advice=advice,
            origin=None if origin is None else lambda row: origin(name, row),
        )

    def comparable(self, *names: str, n_rows: int) -> BoolArray:
        """Return the rows in which none of some columns has a problem."""
        good = np.ones(n_rows, np.bool_)
        for name in names:
            for found in (self.known_wrong, self.wrong):
                if name in found:
                    good &= ~found[name]
        return good


def _shown(series: _StringSeries, row: int) -> str:
    value = series.iloc[row]
    plain: object = value.item() if isinstance(value, np.generic) else value
    return "no value" if pd.isna(value) else repr(plain)


def _check_column(series: _StringSeries, column: Column, *, nullable: bool, rows: _Rows) -> None:
    missing = series.isna().to_numpy(dtype=np.bool_)
    if not nullable:
        rows.add(
            "missing_value",
            series,
            missing,
            expected=f"a value ({column.description})",
            advice="fill it in or leave the row out",
        )
    if missing.all():
        return
    if column.kind is ColumnKind.STRING:
        _check_strings(series, missing, column, rows=rows)
    else:
        _check_numbers(series, missing, column, rows=rows)


def _check_strings(
    series: _StringSeries, missing: BoolArray, column: Column, *, rows: _Rows
) -> None:
    if isinstance(series.dtype, pd.CategoricalDtype):
        text = pd.api.types.is_string_dtype(series.dtype.categories.dtype)
    else:
        # For a column of objects this looks at every value.
        text = pd.api.types.infer_dtype(series, skipna=True) in ("string", "empty")
    if not text:
        rows.add(
            "not_a_text",
            series,
            ~missing & ~_apply(series, lambda value: isinstance(value, str)),
            expected=f"text, the column has type {series.dtype}",
            advice="read the column as text",
        )
        return
    allowed = allowed_values(column)
    if allowed is not None:
        # Few values occur, and the list has thousands: pandas would convert it for every piece.
        unknown = list(set(series.dropna().unique()).difference(allowed))
        rows.add(
            "unknown_value",
            series,
            ~missing & series.isin(unknown).to_numpy(dtype=np.bool_),
            expected=allowed_text(column),
            advice="map the bank's own values to these",
        )


def _check_numbers(
    series: _StringSeries, missing: BoolArray, column: Column, *, rows: _Rows
) -> None:
    if pd.api.types.is_bool_dtype(series.dtype) or not pd.api.types.is_numeric_dtype(series.dtype):
        wrong = ~missing & ~_apply(series, _is_number)
        rows.add(
            "not_a_number",
            series,
            wrong if wrong.any() else ~missing,
            expected=f"{column.kind}, the column has type {series.dtype}",
            advice="convert the column to numbers",
        )
        return
    values = series[~missing].to_numpy()
    odd = np.zeros(len(series), dtype=np.bool_)
    if column.kind is ColumnKind.INTEGER and values.dtype.kind == "f":
        odd[~missing] = values != np.floor(values)
        rows.add(
            "not_a_whole_number",
            series,
            odd,
            expected=f"a whole number ({column.description})",
            advice="mend the value or leave the row out",
        )
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    outside = np.zeros(len(series), dtype=np.bool_)
    outside[~missing] = ~((values >= low) & (values <= high))
    rows.add(
        "out_of_range",
        series,
        outside & ~odd,
        expected=f"{low:.15g} to {high:.15g} ({column.description})",
        advice="mend the value or leave the row out",
    )


def _apply(series: _StringSeries, test: Callable[[object], bool]) -> BoolArray:
    """Apply ``test`` to every value; only ever used on the way to an error."""
    return np.fromiter((test(value) for value in series), dtype=np.bool_, count=len(series))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _check_unique(series: _StringSeries, repeated: BoolArray | None, *, rows: _Rows) -> None:
    if repeated is None:
        repeated = series.duplicated().to_numpy(dtype=np.bool_)
    rows.add(
        REPEATED,
        series,
        repeated & series.notna().to_numpy(dtype=np.bool_),
        expected="an identifier that no earlier row has",
        advice="leave the repeated row out",
    )


def _check_both(transactions: pd.DataFrame, *names: str, rows: _Rows) -> None:
    present = [name for name in names if name in transactions.columns]
    absent = [name for name in names if name not in transactions.columns]
    if present and absent:
        rows.add_whole(
            "missing_column",
            absent[0],
            f"column {absent[0]!r} is missing while {present[0]!r} is there, expected both or "
            "neither; add it",
        )


def _check_labels(transactions: pd.DataFrame, *, rows: _Rows) -> None:
    label, known = transactions["is_fraud"], transactions["label_time"]
    comparable = rows.comparable("event_time", *LABEL_COLUMNS, n_rows=len(transactions))
    has_label = label.notna().to_numpy(dtype=np.bool_)
    has_time = known.notna().to_numpy(dtype=np.bool_)
    rows.add(
        "half_a_label",
        known,
        comparable & (has_label != has_time),
        expected="a value exactly where is_fraud has one",
        advice="give both or neither",
    )
    event = transactions["event_time"]
    both = comparable & has_time & event.notna().to_numpy(dtype=np.bool_)
    if not both.any():
        return
    early = np.zeros(len(transactions), dtype=np.bool_)
    early[both] = known[both].to_numpy() < event[both].to_numpy()
    rows.add(
        "label_before_payment",
        known,
        early,
        expected="a time at or after the event_time",
        advice="a label cannot be known before the payment; mend the times",
        beside=event,
    )
