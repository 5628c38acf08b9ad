"""Check any tables against a published schema; name the first faults by row and value.

Read piece by piece, so that a file of any size is checked in the same memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_gen.checking.table_reader import CellError, columns_of, read_tables
from data_gen.checking.unique_ids import SeenIds
from data_gen.schema.columns import Column
from data_gen.schema.incoming import INCOMING_SCHEMA
from data_gen.schema.rules import TableSchema
from data_gen.writing.content import ContentDigest
from data_gen.writing.manifest import read_manifest, sha256_of
from fraudfed.errors import DataError

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Fault:
    """One deviation from the schema.

    Parameters
    ----------
    file : str
    row : int or None
        Counted from 1 without the header of a CSV file; None if no single row is at fault.
    column : str or None
        None if no single column is at fault.
    value, expected : str
    """

    file: str
    row: int | None
    column: str | None
    value: str
    expected: str

    def __str__(self) -> str:
        row = "" if self.row is None else f" row {self.row},"
        column = "" if self.column is None else f" column {self.column!r}:"
        return f"{self.file}:{row}{column} got {self.value}, expected {self.expected}"


@dataclass(frozen=True)
class Validation:
    """What was checked, and what was found.

    Parameters
    ----------
    files, rows : int
        Files and rows that were checked; after an early stop, those that were begun.
    faults : tuple of Fault
        The first ones, in the order of files and rows.
    """

    files: int
    rows: int
    faults: tuple[Fault, ...]


def validate_files(paths: Sequence[Path], schema: TableSchema, *, most_faults: int) -> Validation:
    """Check files that together are one data set.

    Parameters
    ----------
    paths : sequence of Path
        ``.parquet`` or ``.csv``.
    schema : TableSchema
    most_faults : int
        After how many faults to stop, at least 1.

    Raises
    ------
    DataError
        A file is missing or cannot be read.
    """
    with _Check(schema) as check:
        found = tuple(islice(check.faults([(path,) for path in paths]), most_faults))
        return Validation(files=len(check.starts), rows=check.rows, faults=found)


def validate_data_set(directory: Path, schema: TableSchema, *, most_faults: int) -> Validation:
    """Check a directory against its manifest, then its files as ``validate_files`` does.

    The manifest gives the files, their sizes and checksums, the number of rows and the digest of
    the content. CSV and Parquet files may hold the same rows: an identifier may occur once in each
    format.

    Raises
    ------
    DataError
        The manifest or a file cannot be read.
    """
    manifest = read_manifest(directory)
    faults: list[Fault] = list(islice(_file_faults(directory, manifest), most_faults))
    files = rows = 0
    incoming = [bank["incoming"] for bank in manifest["banks"] if "incoming" in bank]
    for table_schema, banks in ((schema, manifest["banks"]), (INCOMING_SCHEMA, incoming)):
        for suffix in (".parquet", ".csv"):
            tables = [_files_of(directory, bank, suffix) for bank in banks]
            room = most_faults - len(faults)
            if not any(tables) or not room:
                continue
            with _Check(table_schema) as check:
                faults.extend(islice(check.faults(tables), room))
                files, rows = files + len(check.starts), rows + check.rows
                if len(faults) < most_faults:
                    faults.extend(_content_faults(banks, tables, check))
    return Validation(files=files, rows=rows, faults=tuple(faults[:most_faults]))


def _file_faults(directory: Path, manifest: dict[str, Any]) -> Iterator[Fault]:
    entries = [file for bank in manifest["banks"] for file in bank["files"]]
    for bank in manifest["banks"]:
        if "incoming" in bank:
            entries += bank["incoming"]["files"] + bank["incoming"]["truth_files"]
    for entry in [*entries, *manifest.get("files", [])]:
        path = directory / entry["path"]
        if not path.is_file():
            yield Fault(str(path), None, None, "no file", "the file that the manifest names")
            continue
        size = path.stat().st_size
        if size != entry["bytes"]:
            yield Fault(str(path), None, None, f"{size} bytes", f"{entry['bytes']} bytes")
            continue
        digest = sha256_of(path)
        if digest != entry["sha256"]:
            yield Fault(str(path), None, None, f"SHA-256 {digest}", f"SHA-256 {entry['sha256']}")


def _files_of(directory: Path, bank: dict[str, Any], suffix: str) -> tuple[Path, ...]:
    """Return the files of one format that are there: one, or the partitions of one table."""
    paths = [directory / file["path"] for file in bank["files"]]
    return tuple(path for path in paths if path.suffix == suffix and path.is_file())


def _content_faults(
    banks: Sequence[dict[str, Any]], tables: Sequence[tuple[Path, ...]], check: "_Check"
) -> Iterator[Fault]:
    for bank, paths in zip(banks, tables, strict=True):
        if paths not in check.contents:
            continue
        path = str(paths[0]) if len(paths) == 1 else str(paths[0].parent)
        rows, digest = check.contents[paths]
        if rows != bank["rows"]:
            yield Fault(path, None, None, f"{rows} rows", f"{bank['rows']} rows")
        elif digest != bank["content_sha256"]:
            yield Fault(path, None, None, f"content {digest}", f"content {bank['content_sha256']}")


class _Check:
    """The state of checking one data set: a context manager."""

    def __init__(self, schema: TableSchema) -> None:
        self._schema = schema
        self._seen = SeenIds()
        #: First place (row over all files, from 0) of each file that was begun.
        self.starts: dict[Path, int] = {}
        #: Rows and digest of the content, of each table that was read in full, by its files.
        self.contents: dict[tuple[Path, ...], tuple[int, str]] = {}
        self.rows = 0

    def __enter__(self) -> "_Check":
        self._seen.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._seen.__exit__(*error)

    def faults(self, tables: Sequence[tuple[Path, ...]]) -> Iterator[Fault]:
        """Yield the faults of all tables, file by file; repeated identifiers come last.

        Parameters
        ----------
        tables : sequence of tuple of Path
            The files of each; the rows of one follow those of the file before it.
        """
        for paths in tables:
            if paths:
                yield from self._files(paths)
        yield from self._repeated()

    def _files(self, paths: tuple[Path, ...]) -> Iterator[Fault]:
        digest = ContentDigest(self._schema.arrow)
        complete, rows = True, 0
        last_time: int | None = None
        for path in paths:
            self.starts[path] = self.rows
            usable, faults = _usable_columns(path, columns_of(path), self._schema)
            yield from faults
            wanted = pa.schema([field for field in self._schema.arrow if field.name in usable])
            complete &= len(wanted) == len(self._schema.columns)
            if not usable:
                continue
            row = 0
            try:
                for table in read_tables(path, wanted):
                    yield from self._table(path, table, row, last_time)
                    if self._schema.time in usable and table.num_rows:
                        last_time = table[self._schema.time][-1].as_py()
                    if self._schema.identifier in usable:
                        self._seen.add(table[self._schema.identifier], self.rows)
                    if complete:
                        digest.update(table)
                    row += table.num_rows
                    self.rows += table.num_rows
            except CellError as error:
                yield Fault(str(path), error.row, error.column or None, error.value, error.expected)
                complete = False
            rows += row
        if complete:
            self.contents[paths] = (rows, digest.hexdigest())

    def _table(
        self, path: Path, table: pa.Table, first_row: int, last_time: int | None
    ) -> Iterator[Fault]:
        """Yield the faults of some rows, by row, then in the order of the columns."""
        bad: list[tuple[int, int, str, str]] = []
        names = table.column_names
        for column in self._schema.columns:
            if column.name in names:
                for mask, expected in self._masks(column, table, last_time):
                    rows = pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()
                    order = names.index(column.name)
                    bad += [(row, order, column.name, expected) for row in rows]
        for row, _, name, expected in sorted(bad):
            value = _shown(table[name][row].as_py())
            yield Fault(str(path), first_row + row + 1, name, value, expected)

    def _masks(
        self, column: Column, table: pa.Table, last_time: int | None
    ) -> Iterator[tuple[Any, str]]:
        """Yield where a column is at fault, and what was expected there."""
        schema, rule = self._schema, self._schema.rule(column.name)
        values = table[column.name]
        expected = rule.expected(column.type)
        if not column.nullable:
            yield pc.is_null(values), f"{expected} (never missing)"
        if rule.minimum is not None:
            yield pc.less(values, rule.minimum), expected
        if rule.maximum is not None:
            yield pc.greater(values, rule.maximum), expected
        if column.type == "float64":
            yield (
                pc.invert(pc.is_finite(values)),
                "a finite number, or no value where it is missing",
            )
        if rule.allowed is not None:
            known = pc.is_in(values, value_set=pa.array(rule.allowed))
            yield pc.and_(pc.is_valid(values), pc.invert(known)), expected
        if column.type == "string":
            yield pc.equal(values, ""), "a text, or no value where it is missing"
        if schema.channel in table.column_names and rule.null_for:
            there = pc.is_in(table[schema.channel], value_set=pa.array(rule.null_for))
            yield pc.and_(there, pc.is_valid(values)), f"no value for {' and '.join(rule.null_for)}"
        if schema.channel in table.column_names and rule.present_for:
            there = pc.is_in(table[schema.channel], value_set=pa.array(rule.present_for))
            wanted = f"{expected}, always there for {' and '.join(rule.present_for)}"
            yield pc.and_(there, pc.is_null(values)), wanted
        if column.name == schema.label_time and schema.time in table.column_names:
            yield pc.less(values, table[schema.time]), f"a time not before {schema.time}"
        if column.name == schema.time and table.num_rows:
            times = values.combine_chunks()
            first = pa.array([times[0].as_py() if last_time is None else last_time], times.type)
            before = pa.concat_arrays([first, times[:-1]])
            yield pc.less(times, before), "a time not before that of the row above (sorted)"

    def _repeated(self) -> Iterator[Fault]:
        """Yield the later of two rows with the same identifier, after reading both again."""
        for first, again in sorted(self._seen.suspects(), key=lambda pair: pair[1]):
            path, row, value = self._identifier(again)
            other_path, other_row, other_value = self._identifier(first)
            if value == other_value:
                expected = f"one that is not that of row {other_row + 1} of {other_path} (unique)"
                yield Fault(str(path), row + 1, self._schema.identifier, _shown(value), expected)

    def _identifier(self, place: int) -> tuple[Path, int, str]:
        """Return file, row from 0 and identifier at a place."""
        path = [path for path, start in self.starts.items() if start <= place][-1]
        name = self._schema.identifier
        row = left = place - self.starts[path]
        for table in read_tables(path, pa.schema([pa.field(name, pa.string())])):
            if left < table.num_rows:
                return path, row, str(table[name][left].as_py())
            left -= table.num_rows
        raise DataError(f"{path}: changed while it was read; check it again when it is at rest")


def _usable_columns(
    path: Path, found: dict[str, pa.DataType | None], schema: TableSchema
) -> tuple[set[str], list[Fault]]:
    """Return the columns that can be read, and faults of those that cannot."""
    usable, faults = set(), []
    for column, field in zip(schema.columns, schema.arrow, strict=True):
        if column.name not in found:
            faults.append(
                Fault(str(path), None, column.name, "no such column", f"type {column.type}")
            )
        elif not _fits(found[column.name], field.type):
            faults.append(
                Fault(
                    str(path),
                    None,
                    column.name,
                    f"type {found[column.name]}",
                    f"type {column.type}",
                )
            )
        else:
            usable.add(column.name)
    known = {column.name for column in schema.columns}
    faults.extend(
        Fault(str(path), None, name, "a column", "none of this name in the schema")
        for name in found
        if name not in known
    )
    return usable, faults


def _fits(found: pa.DataType | None, wanted: pa.DataType) -> bool:
    """Return whether values of type ``found`` keep their meaning as type ``wanted``."""
    if found is None or pa.types.is_null(found):
        return True
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_string(wanted):
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(found))
    return bool(pa.types.is_floating(found) or pa.types.is_integer(found))


def _shown(value: Any) -> str:
    """Return a value as text for a message."""
    if value is None:
        return "no value"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
