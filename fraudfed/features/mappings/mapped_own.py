"""Own columns of a contract through a mapping: which column of the file, and its own codes."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.features.mappings.mapping import ColumnSource, Mapping
from fraudfed.reading import cells
from fraudfed.reading.problems import Problems
from fraudfed.wire.messages import FeatureSpec


def own_source(mapping: Mapping | None, name: str) -> ColumnSource:
    """Return where an own column comes from: the file's column of that name unless it is mapped.

    Parameters
    ----------
    mapping : Mapping or None
    name : str
        Of the own column.
    """
    given = None if mapping is None else mapping.own_columns.get(name)
    return ColumnSource(column=name) if given is None else given


def mapped_own_column(
    how: ColumnSource,
    table: pa.Table,
    spec: FeatureSpec,
    named: Callable[[str], str],
    problems: Problems,
) -> pa.ChunkedArray:
    """Return an own column as the file has it, with the bank's own codes replaced.

    Parameters
    ----------
    how : ColumnSource
        With ``column`` or ``constant``, and maybe ``values`` and ``default``.
    table : Arrow table of shape (n_rows, at least the source column)
    spec : FeatureSpec
    named : callable
        Names a column of the file for a message.
    problems : Problems
        Takes values that the mapping has no entry for.

    Returns
    -------
    chunked Arrow array of shape (n_rows,)
    """
    if how.column is None:
        return pa.chunked_array([pa.repeat(_scalar(how.constant), table.num_rows)])
    column = table[how.column]
    if how.values is None:
        return column
    text, _ = cells.texts(column)
    given = pa.array([_written(value) for value in how.values.values()], cells.TEXT)
    place = pc.index_in(text, value_set=pa.array(list(how.values), cells.TEXT), skip_nulls=True)
    found = pc.take(given, place)
    unknown = pc.and_(pc.is_valid(text), pc.is_null(place))
    if how.default is not None:
        return pc.if_else(unknown, pa.scalar(_written(how.default), cells.TEXT), found)
    problems.add_cells(
        "unknown_value",
        f"{spec.name!r} (from {named(how.column)})",
        unknown.to_numpy().astype(bool),
        got=lambda row: cells.shown(column, row),
        expected=f"one of {', '.join(how.values)}",
        advice="correct the value, or map it",
    )
    return found


def _scalar(constant: str | int | float | None) -> pa.Scalar:
    return pa.scalar(_written(constant), cells.TEXT)


def _written(value: str | int | float | None) -> str | None:
    """Return a value of the mapping as a file would have it; an empty text is missing."""
    return None if value is None or value == "" else str(value)
