"""Raw transactions out of a file, under the recipe's names or through a mapping."""

import logging
from collections.abc import Callable, Collection
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.features.check import Origin, check_transactions
from fraudfed.features.identifiers import DEFAULT_KINDS, IdentifierKind, read_identifiers
from fraudfed.features.mappings.mapped import map_transactions, origin_of, source_types
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.payments.columns import COLUMNS, LABEL_COLUMNS, Column, ColumnKind
from fraudfed.reading import cells
from fraudfed.reading.columns import number_column, text_column
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import Problems

_log = logging.getLogger(__name__)

_KINDS = {column.name: column.kind for column in COLUMNS}
_ID = "transaction_id"
#: Numbers of checks (``Problems.begin``), before and behind those of ``check_transactions``.
_COLUMNS, _LABELS = 1, 4


@dataclass(frozen=True, eq=False)
class RawTransactions:
    """Rows that ``build_features`` takes.

    Attributes
    ----------
    rows : DataFrame
        Checked against the schema.
    extra : Arrow table
        Further columns of the file that were asked for.
    warnings : tuple of str
        What is allowed and yet unusual.
    currencies : tuple of str
        Of the amounts before they were converted; empty if the data do not say.
    """

    rows: pd.DataFrame
    extra: pa.Table
    warnings: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()

    @property
    def absent(self) -> list[str]:
        """Columns that features of some recipe are built on and the data lack."""
        return [
            column.name
            for column in COLUMNS
            if column.optional
            and not column.analysis
            # Without it all amounts are in the run's currency; it makes no feature.
            and column.name != "currency"
            and column.name not in self.rows
        ]


@dataclass(eq=False)
class AmongMany:
    """What these rows have to do with others of the same data; filled in when they were read.

    Attributes
    ----------
    rows_before : int
        Rows of the data before these.
    repeated : ndarray of int64
        Rows of the data, counted from 0, whose identifier an earlier row has; given.
    identifiers : Series of shape (n_rows,)
    is_wrong : ndarray of shape (n_rows,), dtype=bool
        Identifiers that have a problem already.
    any_label, lacks_labels : bool
        Whether a row has a label; whether there could be labels, and none is there.
    unread : tuple of str
        Columns that could not be made, because one of their cells is wrong.
    """

    rows_before: int = 0
    repeated: Int64Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    identifiers: "pd.Series[str]" = field(default_factory=lambda: pd.Series([], dtype=object))
    is_wrong: BoolArray = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    any_label: bool = False
    lacks_labels: bool = False
    unread: tuple[str, ...] = ()

    def note(self, read: "_Read") -> None:
        """Note what only all rows together can say."""
        rows, nothing = read.rows, np.zeros(len(read.rows), dtype=np.bool_)
        if _ID in rows:
            self.identifiers, self.is_wrong = rows[_ID], read.wrong.get(_ID, nothing)
        self.any_label = "is_fraud" in rows and bool(rows["is_fraud"].notna().any())
        self.lacks_labels = "is_fraud" in rows and not self.any_label
        self.unread = read.unread

    def repeats(self, n_rows: int) -> BoolArray:
        """Tell which of these rows are in ``repeated``."""
        return np.isin(np.arange(n_rows) + self.rows_before, self.repeated)


@dataclass(frozen=True, eq=False)
class _Read:
    """What was made of a file's columns, before it is checked.

    Attributes
    ----------
    rows : DataFrame
    found : Arrow table
    origin : callable or None
    wrong : dict of str to ndarray of shape (n_rows,), dtype=bool
        Cells by column that have a problem already.
    unread : tuple of str
        As in ``AmongMany``.
    """

    rows: pd.DataFrame
    found: pa.Table
    origin: Origin | None
    wrong: dict[str, BoolArray]
    unread: tuple[str, ...] = ()


def read_transactions(
    file: DataFile,
    mapping: Mapping | None,
    problems: Problems,
    *,
    extra: MappingOf[str, pa.DataType],
    needs_labels: bool,
    analysis: Collection[str] = (),
    check_extra: Callable[[pa.Table], None] = lambda _extra: None,
    among: AmongMany | None = None,
) -> RawTransactions:
    """Read and check transactions.

    Parameters
    ----------
    file : DataFile
    mapping : Mapping or None
        None: the file has the recipe's columns.
    problems : Problems
        Of the file; what is added is raised with what was there.
    extra : mapping of str to Arrow type
        Further columns to read, by their names in the file; each is there once.
    needs_labels : bool
        Whether labels must be there; where they need not, they are read if they are.
    analysis : collection of str
        Columns for analysis that are wanted where the file has them; a mapping gives all it has.
    check_extra : callable
        Called with the further columns before anything is raised, to add their problems.
    among : AmongMany or None
        Where these are some rows of many: takes what only all of them can say, instead of
        ``problems``.

    Raises
    ------
    DataError
        With every problem of the file: file, row, column, value and what was expected.
    """
    if mapping is None:
        read = _own_columns(file, problems, extra, analysis, needs_labels=needs_labels)
    else:
        rows_before = 0 if among is None else among.rows_before
        read = _mapped_columns(
            file, mapping, problems, extra, needs_labels=needs_labels, rows_before=rows_before
        )
    if among is not None:
        among.note(read)
    check_transactions(
        read.rows,
        source=file.name,
        require_labels=False,
        origin=read.origin,
        problems=problems,
        known_wrong=read.wrong,
        repeated=None if among is None else among.repeats(len(read.rows)),
    )
    can_tell = needs_labels and among is None and "is_fraud" in read.rows
    if can_tell and read.rows["is_fraud"].isna().all():
        add_no_labels(problems)
    further = read.found.select(list(extra))
    check_extra(further)
    problems.raise_any()
    return RawTransactions(read.rows, further)


def add_no_labels(problems: Problems) -> None:
    """Say that no row of data to train on has a label."""
    problems.begin(_LABELS)
    problems.add_whole(
        "no_labels",
        "'is_fraud'",
        "no row has a label, expected 0 or 1 in column 'is_fraud'",
        expected="0 or 1",
    )


def _own_columns(
    file: DataFile,
    problems: Problems,
    extra: MappingOf[str, pa.DataType],
    analysis: Collection[str],
    *,
    needs_labels: bool,
) -> _Read:
    # Integers are parsed as float64, which is exact in their range, so that "5.0" and a missing
    # label time are read; the check of the recipe tells whole numbers from others.
    wanted = [
        column
        for column in COLUMNS
        if (not column.analysis or column.name in analysis)
        and (
            column.required
            or column.name in file.columns
            or (needs_labels and column.name in LABEL_COLUMNS)
        )
    ]
    types = {
        column.name: pa.string() if column.kind is ColumnKind.STRING else pa.float64()
        for column in wanted
        if file.require(column.name, _purpose(column), problems)
    }
    if not types:
        problems.raise_any()
    found = file.read({**types, **extra})
    rows: dict[str, object] = {}
    wrong = {}
    for place, column in enumerate(wanted):
        problems.begin(_COLUMNS, place)
        if column.name not in types:
            # What is missing is said; the others are checked all the same.
            rows[column.name] = [None] * found.num_rows
            wrong[column.name] = np.ones(found.num_rows, np.bool_)
            continue
        rows[column.name], wrong[column.name] = _own_column(
            file, column, found[column.name], problems
        )
    return _Read(pd.DataFrame(rows), found, None, wrong)


def _own_column(
    file: DataFile, column: Column, values: pa.ChunkedArray, problems: Problems
) -> tuple[object, BoolArray]:
    name, everything = column.name, np.ones(len(values), np.bool_)
    if column.kind is not ColumnKind.STRING:
        read = number_column(file, name, values, problems)
        return (np.full(len(values), np.nan), everything) if read is None else read
    kind, plain = DEFAULT_KINDS.get(name), cells.plain(values)
    if kind is not None and (cells.is_text(plain.type) or cells.is_number(plain.type)):
        return _identifiers(file, name, plain, kind, problems)
    found = text_column(file, name, plain, problems)
    return ([None] * len(values), everything) if found is None else (found[0].to_pandas(), found[1])


def _identifiers(
    file: DataFile, name: str, values: pa.ChunkedArray, kind: IdentifierKind, problems: Problems
) -> tuple[object, BoolArray]:
    read = read_identifiers(values, kind)
    for fault in read.faults:
        problems.then(int(fault.kind != "not_a_text"))
        problems.add_cells(
            fault.kind,
            file.named(name),
            fault.bad,
            got=lambda row: cells.shown(values, row),
            expected=fault.expected,
            advice=fault.advice,
        )
    remark = read.column.remark(file.name, file.named(name))
    if remark is not None:
        _log.warning("%s", remark)
    return read.column.values.to_pandas(), read.wrong


def _purpose(column: Column) -> str:
    return "needed for training" if column.name in LABEL_COLUMNS else column.description


def _mapped_columns(
    file: DataFile,
    mapping: Mapping,
    problems: Problems,
    extra: MappingOf[str, pa.DataType],
    *,
    needs_labels: bool,
    rows_before: int,
) -> _Read:
    if needs_labels and not mapping.has_labels:
        problems.add_whole(
            "missing_column",
            None,
            "the mapping has no is_fraud and label_time, expected both for training; add them to "
            "it",
        )
    with_labels = mapping.has_labels and (
        needs_labels or source_types(mapping, with_labels=True).keys() <= set(file.columns)
    )
    types = source_types(mapping, with_labels=with_labels)
    missing = [name for name in types if not file.require(name, "used by the mapping", problems)]
    if missing:
        # What a mapping makes of half its columns would be guesswork.
        problems.raise_any()
    place = {} if file.place_column is None else {file.place_column: pa.string()}
    found = file.read({**types, **extra, **place})
    rows = map_transactions(
        mapping,
        found,
        source=file.name,
        with_labels=with_labels,
        problems=problems,
        rows_before=rows_before,
    )
    wrong = {}
    for name in mapping.columns:
        if name not in rows and (with_labels or name not in LABEL_COLUMNS):
            nothing = None if _KINDS[name] is ColumnKind.STRING else np.nan
            rows[name] = [nothing] * found.num_rows
            wrong[name] = np.ones(found.num_rows, np.bool_)
    origin = origin_of(mapping, found, place=file.place_column)
    return _Read(rows, found, origin, wrong, tuple(wrong))
