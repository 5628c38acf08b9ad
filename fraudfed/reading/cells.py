"""Columns as files give them, as numbers, truth values and texts: what each cell means.

The same for CSV, where every cell is text, and for Parquet, where a column has a type:

* a number is one whatever it is stored as: any integer, float or decimal, a truth value (1 or 0),
  or a text that is a number;
* a column of texts in which each is ``true`` or ``false``, in whatever case, or missing, is one of
  truth values;
* missing is null; among numbers also NaN and the texts of ``MISSING_NUMBERS``; among texts the
  empty one only, so that a country ``NA`` and a merchant ``NULL`` are what they are.

A dictionary is a way to store a column, and does not count.
"""

import re
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import BoolArray, Float64Array
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat

#: Arrow text, chunk by chunk; null means that there is no value. Large: a column may hold more than
#: 2 GiB.
TextColumn: TypeAlias = pa.ChunkedArray
TEXT: Final = pa.large_string()

#: What stands for a missing number.
MISSING_NUMBERS: Final = ("", "NaN", "nan", "NA", "N/A", "null", "NULL")
#: A double holds every whole number up to here.
EXACT: Final = 1 << 53

_TRUTHS: Final = {"true": 1.0, "false": 0.0}
_SPECIAL: Final = {"nan", "inf", "infinity"}


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without what is only a way to store it: dictionaries and views.

    Parameters
    ----------
    column : chunked Arrow array of shape (n_rows,)

    Returns
    -------
    chunked Arrow array of shape (n_rows,)
        Every kind of text as large strings.
    """
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(TEXT) if is_text(column.type) else column


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is one of texts."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a type is one of numbers or truth values, or of nothing at all."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )


def type_name(kind: pa.DataType) -> str:
    """Return a type's name for a message: all kinds of text are one."""
    return "string" if is_text(kind) else str(kind)


def type_advice(kind: pa.DataType) -> str:
    """Say what to do with a column whose type is neither of numbers nor of texts."""
    if pa.types.is_duration(kind) or pa.types.is_interval(kind):
        return "convert the lengths of time into numbers, of seconds for example"
    if pa.types.is_temporal(kind):
        return (
            "convert the times into numbers, as the hour or the seconds since an event, or write a "
            "mapping"
        )
    return "convert the column into numbers or texts"


def numbers(
    column: pa.ChunkedArray, file_format: FileFormat = PLAIN_CSV
) -> tuple[Float64Array, BoolArray]:
    """Return the numbers of a column.

    Parameters
    ----------
    column : chunked Arrow array of shape (n_rows,)
        Of texts, or of a type that ``is_number``.
    file_format : FileFormat
        How texts write numbers.

    Returns
    -------
    values : ndarray of shape (n_rows,), dtype=float64
        NaN for a missing value, and for one that is no number. A whole number beyond 2^53 is
        rounded.
    wrong : ndarray of shape (n_rows,), dtype=bool
        Cells that are no numbers.
    """
    column = plain(column)
    kind = column.type
    if is_text(kind):
        return _numbers_of_texts(column, file_format)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(kind):
        # By way of text: rounded once, as a number in CSV is.
        column = column.cast(TEXT)
    # Not safe: an integer beyond 2^53 is rounded as every float32 feature is.
    values: Float64Array = column.cast(pa.float64(), safe=False).to_numpy()
    return values, np.zeros(len(values), np.bool_)


def are_truths(column: pa.ChunkedArray) -> bool:
    """Tell whether ``numbers`` takes texts as truth values: the first that is there is one.

    Parameters
    ----------
    column : chunked Arrow array of shape (n_rows,)
        Of which ``numbers`` finds no text wrong.
    """
    column = plain(column)
    if not is_text(column.type):
        return False
    for start in range(0, len(column), 1 << 12):
        trimmed = pc.utf8_trim_whitespace(column.slice(start, 1 << 12))
        missing = pc.is_in(trimmed, value_set=pa.array(MISSING_NUMBERS, TEXT))
        known = trimmed.filter(pc.invert(pc.or_(missing, pc.is_null(trimmed))))
        if len(known):
            return str(known[0].as_py()).lower() in _TRUTHS
    return False


def texts(column: pa.ChunkedArray) -> tuple[TextColumn, BoolArray]:
    """Return the texts of a column; an empty one counts as missing.

    Parameters
    ----------
    column : chunked Arrow array of shape (n_rows,)
        Of texts, or of a type that ``is_number``: a whole number is as it is printed without a
        point, whatever it is stored as; a truth value is ``true`` or ``false``.

    Returns
    -------
    texts : chunked Arrow array of shape (n_rows,), of large strings
        Null for a missing value, and for one that is no text.
    wrong : ndarray of shape (n_rows,), dtype=bool
        Numbers that are not whole, or that a double may have rounded.
    """
    column = plain(column)
    kind = column.type
    if is_text(kind):
        none = np.zeros(len(column), np.bool_)
        empty = pc.equal(column, "")
        # Most columns have none, and need no copy.
        if not pc.any(empty).as_py():
            return column, none
        return pc.if_else(empty, pa.scalar(None, TEXT), column), none
    if pa.types.is_decimal(kind):
        text = pc.replace_substring_regex(column.cast(TEXT), r"\.0+$", "")
        whole = pc.match_substring_regex(text, r"^-?[0-9]+$")
        wrong = pc.fill_null(pc.invert(whole), False).to_numpy().astype(np.bool_)
        return pc.if_else(whole, text, pa.scalar(None, TEXT)), wrong
    if pa.types.is_floating(kind):
        # Identifiers become floats where pandas met one that was missing.
        values: Float64Array = column.cast(pa.float64()).to_numpy()
        known = ~np.isnan(values)
        wrong = known & ~((values == np.floor(values)) & (np.abs(values) <= EXACT))
        good = known & ~wrong
        whole = pa.array(np.where(good, values, 0), mask=~good).cast(pa.int64())
        return pa.chunked_array([whole.cast(TEXT)]), wrong
    return column.cast(TEXT), np.zeros(len(column), np.bool_)


def shown(column: pa.ChunkedArray, row: int) -> str:
    """Return a value as an error message shows it.

    Parameters
    ----------
    column : chunked Arrow array of shape (n_rows,)
    row : int
        Counted from 0.
    """
    value = column[row].as_py()
    if value is None or value == "":
        return "no value"
    if isinstance(value, float):
        return f"{value:.17g}"
    return repr(value) if isinstance(value, str) else str(value)


def _numbers_of_texts(text: pa.ChunkedArray, how: FileFormat) -> tuple[Float64Array, BoolArray]:
    trimmed = pc.utf8_trim_whitespace(text)
    missing = pc.is_in(trimmed, value_set=pa.array(MISSING_NUMBERS, TEXT))
    known = pc.if_else(missing, pa.scalar(None, TEXT), trimmed)
    if how.thousands is None:
        with_point = known
        if how.decimal == ",":
            # A point becomes what no number has.
            with_point = pc.replace_substring(known, ".", "?")
            with_point = pc.replace_substring(with_point, ",", ".")
        try:
            values: Float64Array = with_point.cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            pass
        else:
            return values, np.zeros(len(values), np.bool_)
    # Value by value, each of them once.
    encoded = pa.chunked_array(known.chunks, TEXT).combine_chunks().dictionary_encode()
    different = encoded.dictionary.to_pylist()
    if different and all(one.lower() in _TRUTHS for one in different):
        parsed: list[float | None] = [_TRUTHS[one.lower()] for one in different]
    else:
        parsed = [parsed_number(one, how) for one in different]
    return _of_dictionary(encoded, parsed)


def _of_dictionary(
    encoded: pa.DictionaryArray, parsed: list[float | None]
) -> tuple[Float64Array, BoolArray]:
    """Spread what was made of each different value over the rows."""
    known = encoded.indices.is_valid().to_numpy(zero_copy_only=False)
    places = encoded.indices.fill_null(0).to_numpy()
    if not parsed:
        return np.full(len(places), np.nan), np.zeros(len(places), np.bool_)
    numbers_of = np.array([np.nan if one is None else one for one in parsed], np.float64)
    wrong_of = np.array([one is None for one in parsed], np.bool_)
    return np.where(known, numbers_of[places], np.nan), known & wrong_of[places]


def parsed_number(text: str, how: FileFormat = PLAIN_CSV) -> float | None:
    """Return the number that a text is, None if it is none.

    Parameters
    ----------
    text : str
        Without blanks around it.
    how : FileFormat
    """
    if text.lstrip("+-").lower() in _SPECIAL:
        return float(text)
    point = re.escape(how.decimal)
    whole = "[0-9]+"
    if how.thousands is not None:
        group = re.escape(how.thousands)
        whole = f"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)"
    number = rf"[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    if re.fullmatch(number, text) is None:
        return None
    if how.thousands is not None:
        text = text.replace(how.thousands, "")
    return float(text.replace(how.decimal, "."))
