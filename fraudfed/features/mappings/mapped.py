"""Carry out a mapping: turn the columns of a source table into raw transactions.

Everything is done on whole Arrow columns. An error names the source: its row, its column, and the
value as it stands there.
"""

import logging
from collections.abc import Mapping as MappingOf

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import Float64Array
from fraudfed.errors import DataError
from fraudfed.features.check import Origin
from fraudfed.features.identifiers import IdentifierKind, canonical_column, wrong_ibans
from fraudfed.features.mappings.mapping import BY_CURRENCY, ColumnSource, Mapping, looked_up_form
from fraudfed.features.mappings.source_column import SourceColumn, shown_value
from fraudfed.payments.columns import COLUMNS, LABEL_COLUMNS, TIME_COLUMNS, ColumnKind
from fraudfed.payments.currencies import CURRENCIES, minor_units
from fraudfed.reading.cells import TEXT, TextColumn
from fraudfed.reading.problems import Problems, shortened

_log = logging.getLogger(__name__)

_IS_TEXT = {column.name: column.kind is ColumnKind.STRING for column in COLUMNS}
_UNITS = {code: minor_units(code) for code in CURRENCIES}
#: Digits of a row number: so many that texts sort as the rows do.
_ROW_DIGITS = 9


def source_types(mapping: Mapping, *, with_labels: bool) -> dict[str, pa.DataType]:
    """Return the source columns that are needed, and how their text is parsed in a CSV file.

    Parameters
    ----------
    mapping : Mapping
        Of kind ``transactions``.
    with_labels : bool
        False leaves out what only the labels need.

    Returns
    -------
    dict of str to Arrow type
        ``float64`` where a number is expected, else ``string``.
    """
    types: dict[str, pa.DataType] = {}
    for name, how in _wanted(mapping, with_labels=with_labels).items():
        if how.column is None:
            continue
        if _IS_TEXT[name] or how.values is not None or name in TIME_COLUMNS:
            types[how.column] = pa.string()
        else:
            types.setdefault(how.column, pa.float64())
    return types


def map_transactions(
    mapping: Mapping,
    table: pa.Table,
    *,
    source: str,
    with_labels: bool,
    problems: Problems | None = None,
    rows_before: int = 0,
) -> pd.DataFrame:
    """Return raw transactions, one per row of the table.

    Parameters
    ----------
    mapping : Mapping
        Of kind ``transactions``.
    table : Arrow table of shape (n_rows, at least the columns of :func:`source_types`)
        As a file of any kind gives it: an identifier may be text or a whole number, a time text,
        a number or a timestamp.
    source : str
        Where the rows came from, for the error text: a file name.
    with_labels : bool
        False leaves the labels out.
    problems : Problems or None
        Takes what is wrong, instead of an exception.
    rows_before : int
        Rows of the data before those of the table, for columns that number them.

    Returns
    -------
    DataFrame of shape (n_rows, n_mapped)
        Without the columns that have problems.
        Texts as text, numbers as float64, which is exact in the range of every column, with NaN
        for no value. Not yet checked by ``check_transactions``.

    Raises
    ------
    DataError
        If a value has no meaning under the mapping; names row, source column and value.
    """
    numbers: dict[str, Float64Array] = {}
    texts: dict[str, pd.Series[str]] = {}
    for place, (name, how) in enumerate(_wanted(mapping, with_labels=with_labels).items()):
        if problems is not None:
            problems.begin(1, place)
        try:
            if _IS_TEXT[name]:
                texts[name] = _text(mapping, name, table, source=source, rows_before=rows_before)
            elif how.delay_seconds is None:
                numbers[name] = _number(mapping, name, table, source=source)
        except DataError as error:
            if problems is None:
                raise
            problems.take(error)
    by_currency = mapping.columns["amount_minor"].minor_units == BY_CURRENCY
    if by_currency and "currency" in texts and "amount_minor" in numbers:
        units = texts["currency"].map(_UNITS).to_numpy(dtype=np.float64, na_value=np.nan)
        # A code that is none is refused with its row by the check of what is made here.
        factor = np.where(np.isnan(units), 1.0, units)
        numbers["amount_minor"] = np.rint(numbers["amount_minor"] * factor)
    delay = mapping.columns["label_time"].delay_seconds if "is_fraud" in numbers else None
    if delay is not None and "event_time" in numbers:
        known = np.isfinite(numbers["is_fraud"])
        numbers["label_time"] = np.where(known, numbers["event_time"] + delay, np.nan)
    made = {**texts, **numbers}
    return pd.DataFrame({name: made[name] for name in _IS_TEXT if name in made})


def origin_of(mapping: Mapping, table: pa.Table, *, place: str | None = None) -> Origin:
    """Return what tells where a mapped value came from.

    Parameters
    ----------
    mapping : Mapping
    table : Arrow table
        That was mapped.
    place : str or None
        A column of it that says where a row comes from.

    Returns
    -------
    callable
        From a column's name and a row, counted from 0, to a text such as ``'amt' -5.0``, or None
        where no source column is behind the value.
    """

    def origin(name: str, row: int) -> str | None:
        column = mapping.columns[name].column
        made_of = None if column is None else f"{column!r} {shown_value(table[column], row)}"
        if place is None:
            return made_of
        where = table[place][row].as_py()
        return where if made_of is None else f"{made_of} in {where}"

    return origin


def _wanted(mapping: Mapping, *, with_labels: bool) -> dict[str, ColumnSource]:
    return {
        name: how
        for name, how in mapping.columns.items()
        if with_labels or name not in LABEL_COLUMNS
    }


def _text(
    mapping: Mapping, name: str, table: pa.Table, *, source: str, rows_before: int
) -> "pd.Series[str]":
    how, kind = mapping.columns[name], mapping.identifier_kinds.get(name)
    text: TextColumn
    if how.row_number:
        numbers = pa.array(np.arange(1, table.num_rows + 1) + rows_before).cast(TEXT)
        text = pa.chunked_array([pc.utf8_lpad(numbers, _ROW_DIGITS, "0")])
    elif how.column is None:
        text = pa.chunked_array([pa.repeat(pa.scalar(how.constant, TEXT), len(table))])
    else:
        column = SourceColumn.of(table, how.column, source=source, file_format=mapping.file)
        text = _source_text(column, how, kind)
    if how.prefix is not None:
        before, nothing = (pa.scalar(part, TEXT) for part in (how.prefix, ""))
        text = pc.binary_join_element_wise(before, text, nothing)
    if kind is not None:
        made = canonical_column(text, kind)
        remark = made.remark(source, repr(name if how.column is None else how.column))
        if remark is not None:
            _log.warning("%s", remark)
        text = made.values
        if kind is IdentifierKind.IBAN:
            _warn_of_ibans(text, source=source, name=str(how.column))
    series: pd.Series[str] = text.to_pandas()
    return series


def _source_text(
    column: SourceColumn, how: ColumnSource, kind: IdentifierKind | None
) -> TextColumn:
    """Return the texts of a column that count, before they are prefixed.

    Case is left as it is: ``starts_with`` and ``values`` are written as the file is.
    """
    as_read = IdentifierKind.TOKEN if kind in (None, IdentifierKind.TOKEN) else IdentifierKind.CODE
    text = column.text() if kind is None else column.identifiers(as_read).values
    if how.starts_with is not None:
        text = pc.if_else(pc.starts_with(text, how.starts_with), text, None)
    if how.values is not None:
        text = _looked_up(column, text, how.values, how.default, kind=TEXT)
    return text


def _warn_of_ibans(text: TextColumn, *, source: str, name: str) -> None:
    wrong = wrong_ibans(text)
    if wrong.any():
        row = int(np.argmax(wrong))
        _log.warning(
            "%s: column %r: %d rows hold no IBAN, by length or check digits (as row %d: %s); they "
            "are compared as they are",
            *(source, name, np.count_nonzero(wrong), row + 1, shortened(repr(text[row].as_py()))),
        )


def _number(mapping: Mapping, name: str, table: pa.Table, *, source: str) -> Float64Array:
    how = mapping.columns[name]
    if how.column is None:
        return np.full(table.num_rows, how.constant, dtype=np.float64)
    column = SourceColumn.of(table, how.column, source=source, file_format=mapping.file)
    if how.values is not None:
        found = _looked_up(column, column.text(), how.values, how.default, kind=pa.float64())
        values: Float64Array = found.to_numpy()
        return values
    if name in TIME_COLUMNS:
        return column.seconds(how)
    numbers = column.numbers()
    if how.negative:
        # 0 has no sign: -0.0 would be another number to some readers.
        numbers = 0.0 - numbers
    if how.minor_units is None or how.minor_units == BY_CURRENCY:
        return numbers
    return np.rint(numbers * how.minor_units)


def _looked_up(
    column: SourceColumn,
    text: TextColumn,
    values: MappingOf[str, str | int | float],
    default: str | int | float | None,
    *,
    kind: pa.DataType,
) -> pa.ChunkedArray:
    """Return what the mapping says for each text; an empty text there counts as missing.

    Compared are texts without white space around them, however their accents are encoded.
    """
    given = pa.array([None if value == "" else value for value in values.values()], kind)
    # Whatever the columns are of, but a token's texts are as they are already.
    found_texts, keys = canonical_column(text, IdentifierKind.CODE).values, list(values)
    place = pc.index_in(text, value_set=pa.array(keys, TEXT))
    forms = pa.array([looked_up_form(key) for key in keys], TEXT)
    place = pc.coalesce(place, pc.index_in(found_texts, value_set=forms))
    found = pc.take(given, place)
    if default == "":
        return found
    unknown = pc.and_(pc.is_valid(text), pc.is_null(place))
    if default is not None:
        return pc.if_else(unknown, pa.scalar(default, kind), found)
    column.refuse(unknown.to_numpy().astype(np.bool_), f"one of {', '.join(values)}")
    return found
