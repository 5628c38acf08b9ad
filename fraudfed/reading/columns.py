"""Single columns of a feature table, from Arrow to float32; what is wrong goes to ``Problems``.

A cell with a problem is NaN in what is returned, and a column that cannot be read is NaN
throughout: the reader continues, and raises in the end.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import BoolArray, Float32Array, Float64Array
from fraudfed.reading import cells
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import Problems, shortened

_LABEL = "0 or 1 (the label)"
_ADVICE = "correct the value or leave the row out"


def numeric_feature(
    file: DataFile, name: str, column: pa.ChunkedArray, problems: Problems, *, nullable: bool
) -> Float32Array:
    """Return a numeric feature; NaN is missing.

    Parameters
    ----------
    file : DataFile
    name : str
    column : chunked Arrow array of shape (n_rows,)
    problems : Problems
        Takes cells that are no numbers, infinite, too large for float32, or missing where they may
        not be.
    nullable : bool

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
    """
    read = number_column(file, name, column, problems)
    if read is None:
        return np.full(len(column), np.nan, np.float32)
    values, wrong = read
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    limit = float(np.finfo(np.float32).max)
    infinite = np.isinf(values)
    numbers = _Numbers(file, name, values, problems)
    problems.then(1)
    numbers.add("not_finite", infinite, "a finite number or nothing (missing)")
    too_large = np.isinf(narrowed) & ~infinite
    problems.then(2)
    numbers.add("too_large", too_large, f"a number within +-{limit:.8g} (float32)")
    problems.then(3)
    if not nullable:
        numbers.add("missing_value", np.isnan(values) & ~wrong, "a number (not nullable)")
    return narrowed


def categorical_feature(
    file: DataFile,
    name: str,
    column: pa.ChunkedArray,
    problems: Problems,
    *,
    categories: Sequence[str],
    nullable: bool,
) -> Float32Array:
    """Return a categorical feature as codes; NaN is missing.

    A whole number is looked up as it is printed, ``7`` for 7 and 7.0; a text as it is, or if no
    category is called so, as the whole number that it is.

    Parameters
    ----------
    file : DataFile
    name : str
    column : chunked Arrow array of shape (n_rows,)
    problems : Problems
        Takes values that are not among the categories, or missing where they may not be.
    categories : sequence of str
        The place of each is its code.
    nullable : bool

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
    """
    values = cells.plain(column)
    kind = values.type
    if not (cells.is_text(kind) or cells.is_number(kind)):
        _add_wrong_type(file, name, kind, "text (a category)", problems)
        return np.full(len(column), np.nan, np.float32)
    text, odd = cells.texts(values)
    known = pa.array(list(categories), cells.TEXT)
    codes = pc.index_in(text, value_set=known, skip_nulls=True)
    if codes.null_count > text.null_count:
        whole = pc.replace_substring_regex(text, r"^(-?[0-9]+)\.0*$", r"\1")
        codes = pc.coalesce(codes, pc.index_in(whole, value_set=known, skip_nulls=True))
    missing = pc.is_null(text).to_numpy().astype(np.bool_) & ~odd
    unknown = pc.is_null(codes).to_numpy().astype(np.bool_) & ~missing
    allowed = shortened(f"one of {', '.join(categories)}")
    problems.add_cells(
        "unknown_category",
        file.named(name),
        unknown,
        got=lambda row: cells.shown(values, row),
        expected=allowed,
        advice=_ADVICE,
    )
    problems.then(1)
    if not nullable:
        problems.add_cells(
            "missing_value",
            file.named(name),
            missing,
            got=lambda _row: "no value",
            expected=allowed,
            advice=_ADVICE,
        )
    result: Float32Array = codes.cast(pa.float32()).to_numpy().astype(np.float32, copy=False)
    return result


def labels(file: DataFile, name: str, column: pa.ChunkedArray, problems: Problems) -> Float32Array:
    """Return labels, 0 or 1; anything else goes to ``problems``.

    Parameters
    ----------
    file : DataFile
    name : str
    column : chunked Arrow array of shape (n_rows,)
    problems : Problems

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
    """
    read = number_column(file, name, column, problems, expected=_LABEL)
    if read is None:
        return np.full(len(column), np.nan, np.float32)
    values, wrong = read
    bad = ~np.isin(values, (0.0, 1.0)) & ~wrong
    problems.then(1)
    _Numbers(file, name, values, problems).add("not_a_label", bad, _LABEL)
    return values.astype(np.float32)


def weights(
    file: DataFile,
    name: str,
    column: pa.ChunkedArray,
    problems: Problems,
    *,
    max_weight: float,
) -> Float32Array:
    """Return weights in (0, max_weight]; anything else goes to ``problems``.

    Parameters
    ----------
    file : DataFile
    name : str
    column : chunked Arrow array of shape (n_rows,)
    problems : Problems
    max_weight : float

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
    """
    read = number_column(file, name, column, problems)
    if read is None:
        return np.full(len(column), np.nan, np.float32)
    values, wrong = read
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    # Compared after rounding: what is summed is the float32.
    bad = ~((narrowed > 0) & (narrowed <= np.float32(max_weight))) & ~wrong
    expected = f"a weight above 0 and at most {max_weight:g}"
    problems.then(1)
    _Numbers(file, name, values, problems).add("not_a_weight", bad, expected)
    return narrowed


def number_column(
    file: DataFile,
    name: str,
    column: pa.ChunkedArray,
    problems: Problems,
    *,
    expected: str = "a number or nothing (missing)",
) -> tuple[Float64Array, BoolArray] | None:
    """Return a column's numbers, and which cells are none; those go to ``problems``.

    Parameters
    ----------
    file : DataFile
    name : str
    column : chunked Arrow array of shape (n_rows,)
    problems : Problems
    expected : str
        For the error text.

    Returns
    -------
    values : ndarray of shape (n_rows,), dtype=float64
        NaN where there is no number.
    wrong : ndarray of shape (n_rows,), dtype=bool
        None instead of both for a type that holds no numbers.
    """
    plain = cells.plain(column)
    if not (cells.is_text(plain.type) or cells.is_number(plain.type)):
        _add_wrong_type(file, name, plain.type, "numbers", problems)
        return None
    values, wrong = cells.numbers(plain, file.file_format)
    if not (wrong.all() or np.isnan(values).all()):
        how = "truth values" if cells.are_truths(plain) else "numbers"
        problems.note_reading(file.named(name), how)
    problems.add_cells(
        "not_a_number",
        file.named(name),
        wrong,
        got=lambda row: cells.shown(plain, row),
        expected=expected,
        advice="correct the value",
    )
    return values, wrong


def text_column(
    file: DataFile, name: str, column: pa.ChunkedArray, problems: Problems
) -> tuple[cells.TextColumn, BoolArray] | None:
    """Return a column's texts, and which cells are none; those go to ``problems``.

    Parameters
    ----------
    file : DataFile
    name : str
    column : chunked Arrow array of shape (n_rows,)
    problems : Problems

    Returns
    -------
    texts : chunked Arrow array of shape (n_rows,), of large strings
        As ``cells.texts``.
    wrong : ndarray of shape (n_rows,), dtype=bool
        None instead of both for a type that holds no texts.
    """
    plain = cells.plain(column)
    if not (cells.is_text(plain.type) or cells.is_number(plain.type)):
        _add_wrong_type(file, name, plain.type, "texts or whole numbers", problems)
        return None
    text, odd = cells.texts(plain)
    problems.add_cells(
        "not_a_text",
        file.named(name),
        odd,
        got=lambda row: cells.shown(plain, row),
        expected="a text or a whole number",
        advice="write identifiers as text",
    )
    return text, odd


class _Numbers:
    """A column of numbers, some of which are wrong."""

    def __init__(self, file: DataFile, name: str, values: Float64Array, problems: Problems) -> None:
        self._column = file.named(name)
        self._values = values
        self._problems = problems

    def add(self, kind: str, bad: BoolArray, expected: str) -> None:
        self._problems.add_cells(
            kind, self._column, bad, got=self._got, expected=expected, advice=_ADVICE
        )

    def _got(self, row: int) -> str:
        value = self._values[row]
        return "no value" if np.isnan(value) else f"{float(value):.17g}"


def _add_wrong_type(
    file: DataFile, name: str, kind: pa.DataType, expected: str, problems: Problems
) -> None:
    advice = cells.type_advice(kind)
    problems.add_whole(
        "wrong_type",
        file.named(name),
        f"column {file.named(name)} has type {kind}, expected {expected}; {advice}",
        expected=expected,
        advice=advice,
    )
