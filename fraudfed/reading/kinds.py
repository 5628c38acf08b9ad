"""Whether a column of a table without a contract holds numbers or categories.

Decided over all of its values at once. A type says it where the file has types: a column of texts
in Parquet holds categories, whatever they look like. In CSV, where every cell is text, a column of
numbers is one in which every cell is a number or missing (``cells``), at least one of them is a
number or all are empty, and none has a leading zero, as only codes have (``0042``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.reading import cells
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import Problems

_CODE: Final = r"^\s*[+-]?0[0-9]"
_NOT_A_NUMBER: Final = ("NaN", "nan")
_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_SECOND: Final = r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?"
_CLOCK: Final = rf"({_SECOND}|[0-9]{{1,2}}:[0-9]{{2}})"
#: A day, a time of day, or both, with or without an offset; as pandas, Arrow and DuckDB write them.
_TIME: Final = rf"^({_DAY}([ T]{_CLOCK}( ?(Z|UTC|[+-][0-9]{{2}}(:?[0-9]{{2}})?))?)?|{_SECOND})$"
#: A length of time as pandas and DuckDB write it.
_DURATION: Final = rf"^-?[0-9]+ days?( [+-]?{_CLOCK})?$"


@dataclass(frozen=True)
class ColumnKind:
    """What a column holds.

    Attributes
    ----------
    categories : tuple of str, or None
        In alphabetical order; None for a column of numbers.
    """

    categories: tuple[str, ...] | None = None


def find_kind(
    file: DataFile,
    name: str,
    column: pa.ChunkedArray,
    problems: Problems,
    *,
    most_categories: int,
    advice: str,
) -> ColumnKind | None:
    """Decide what a column holds; None if neither numbers nor categories.

    Parameters
    ----------
    file : DataFile
    name : str
    column : chunked Arrow array of shape (n_rows,)
        As the file has it: texts where it is CSV.
    problems : Problems
        Takes a column that holds times, things with parts, or too many different texts.
    most_categories : int
        A column of more different texts holds identifiers, not categories.
    advice : str
        How to leave the column out.
    """
    plain = cells.plain(column)
    named = file.named(name)
    if cells.is_number(plain.type):
        return ColumnKind()
    if not cells.is_text(plain.type):
        what = cells.type_advice(plain.type)
        problems.add_whole(
            "wrong_type",
            named,
            f"column {named} has type {plain.type}, expected numbers or categories; {what}, or "
            f"{advice}",
            expected="numbers or categories",
            advice=f"{what}, or {advice}",
        )
        return None
    if file.is_csv and _holds_numbers(plain, file):
        return ColumnKind()
    different = pc.unique(plain)
    texts = different.filter(pc.fill_null(pc.not_equal(different, ""), False))
    if not len(texts):
        return ColumnKind()
    for pattern, what, kind in (
        (_TIME, "times", pa.timestamp("s")),
        (_DURATION, "lengths of time", pa.duration("s")),
    ):
        if pc.all(pc.match_substring_regex(texts, pattern)).as_py():
            how = f"{cells.type_advice(kind)}, or {advice}"
            problems.add_whole(
                "wrong_type",
                named,
                f"column {named} holds {what}, expected numbers or categories; {how}",
                expected="numbers or categories",
                advice=how,
            )
            return None
    if len(texts) > most_categories:
        _add_too_many(file, named, plain, problems, most=most_categories, advice=advice)
        return None
    return ColumnKind(tuple(sorted(texts.to_pylist())))


def _holds_numbers(text: pa.ChunkedArray, file: DataFile) -> bool:
    values, wrong = cells.numbers(text, file.file_format)
    if wrong.any():
        return False
    if np.isnan(values).all():
        # A country NA in every row is a category; nothing at all is a number that is missing.
        nothing = pa.array(["", *_NOT_A_NUMBER], cells.TEXT)
        return bool(pc.all(pc.fill_null(pc.is_in(text, value_set=nothing), True)).as_py())
    return not pc.any(pc.match_substring_regex(text, _CODE)).as_py()


def _add_too_many(
    file: DataFile, named: str, text: pa.ChunkedArray, problems: Problems, *, most: int, advice: str
) -> None:
    count = pc.count_distinct(pc.filter(text, pc.fill_null(pc.not_equal(text, ""), False))).as_py()
    _, wrong = cells.numbers(text, file.file_format)
    share = np.count_nonzero(wrong) / max(len(wrong), 1)
    if 0 < share < _FEW:
        problems.add_cells(
            "not_a_number",
            named,
            wrong,
            got=lambda row: cells.shown(text, row),
            expected="a number, as most of the column holds",
            advice=f"correct the value, or {advice}",
        )
        return
    problems.add_whole(
        "too_many_categories",
        named,
        f"column {named} holds {count:,} distinct texts, expected 1 to {most:,} categories; "
        f"{advice}",
        expected=f"1 to {most:,} categories",
        advice=advice,
    )


#: Where fewer cells than this share are no numbers, they are what is wrong.
_FEW: Final = 0.5


def all_columns(file: DataFile, names: Sequence[str]) -> pa.Table:
    """Read columns as the file has them, those of a CSV as texts.

    Parameters
    ----------
    file : DataFile
    names : sequence of str
        Each is in the file once.

    Raises
    ------
    DataError
        As ``DataFile.read``.
    """
    return file.read(dict.fromkeys(names, pa.string()))
