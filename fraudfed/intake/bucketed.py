"""Features of more payments than fit into memory: divided by key on disk, built key by key.

Three passes::

    divide   piece by piece, the columns that each key group looks at -> its buckets on disk
    build    bucket by bucket, the group's columns -> disk
    join     piece by piece, what a payment shows by itself, and its columns out of the buckets

A piece is read twice. Nothing is numbered: in every bucket the rows stand in the order of the
pieces, so the columns of the next rows of a piece are the next in each bucket.

Law: the pieces of ``build_in_buckets`` are, bit by bit, those of ``build_features`` of all rows at
once, for any division into pieces and any number of buckets.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.features.build import payment_table
from fraudfed.features.by_key.buckets import (
    bucket_numbers,
    group_rows,
    group_schema,
    key_hashes,
    repeated_identifier,
    rows_by_bucket,
)
from fraudfed.features.by_key.groups import (
    KEY_GROUPS,
    KeyGroup,
    RawColumns,
    group_columns,
    group_names,
)
from fraudfed.features.column_store import require_columns
from fraudfed.features.own_columns import with_own_columns
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.table import FeatureTable, rows_of_direction
from fraudfed.intake.spill import SpilledTable, SpilledValues
from fraudfed.payments.columns import OUTBOUND
from fraudfed.wire.messages import FeatureSpec

_ID: Final = "transaction_id"
_ID_SCHEMA: Final = pa.schema([(_ID, pa.string()), ("row", pa.int64())])

#: Yields a bank's payments, checked, piece by piece; each time it is called the same ones.
ReadPieces = Callable[[], Iterator[pd.DataFrame]]


@dataclass(frozen=True)
class BuiltPiece:
    """Some consecutive payments and their features.

    Attributes
    ----------
    first_row : int
        Of the piece among all rows, from 0.
    rows : DataFrame
        As they were read.
    features : FeatureTable
        Of those that the recipe judges; its positions are rows of ``rows``.
    """

    first_row: int
    rows: pd.DataFrame
    features: FeatureTable


@dataclass
class _Seen:
    """What the first pass saw of the pieces, to notice that the second sees something else."""

    n_rows: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)

    @staticmethod
    def of(rows: pd.DataFrame) -> tuple[int, int]:
        with np.errstate(over="ignore"):
            hashes = key_hashes(rows[_ID])
            places = np.arange(1, len(rows) + 1, dtype=np.uint64)
            return len(rows), int((hashes * places).sum())

    def add(self, rows: pd.DataFrame) -> None:
        n_rows, hashes = self.of(rows)
        self.n_rows.append(n_rows)
        self.hashes.append(hashes)

    def check(self, number: int, rows: pd.DataFrame | None, source: str) -> None:
        found = None if rows is None else self.of(rows)
        there = number < len(self.n_rows)
        if found != ((self.n_rows[number], self.hashes[number]) if there else None):
            raise DataError(
                f"{source}: changed while it was read; give the command again when it is at rest"
            )


def build_in_buckets(
    read: ReadPieces,
    *,
    directory: Path,
    n_buckets: int,
    risk_delay_days: int = 0,
    shared: SharedRisk | None = None,
    own_columns: Sequence[FeatureSpec] = (),
    source: str = "transactions",
) -> Iterator[BuiltPiece]:
    """Yield the features of payments in the order of their pieces.

    Parameters
    ----------
    read : callable
        Called twice. Amounts are in the contract's currency.
    directory : Path
        Where rows lie meanwhile, in files without names (``spill``).
    n_buckets : int
        Of each key group; one bucket of one group is in memory at a time, beside one piece.
    risk_delay_days, shared, own_columns
        As for ``build_features``.
    source : str
        What error texts call the payments.

    Raises
    ------
    DataError
        As ``build_features``; or if an identifier of a transaction occurs twice, or the second
        reading gives other rows than the first.
    StateError
        If the disk is full.
    """
    if risk_delay_days < 0:
        raise ValueError(f"risk_delay_days is {risk_delay_days}, expected 0 or more")
    if shared is not None:
        shared.check_delay(risk_delay_days)
    with contextlib.ExitStack() as opened:
        seen = _Seen()
        values = _built_groups(
            read,
            directory,
            opened,
            seen,
            n_buckets=n_buckets,
            risk_delay_days=risk_delay_days,
            shared=shared,
            source=source,
        )
        first_row = number = 0
        for rows in read():
            seen.check(number, rows, source)
            built = _joined(rows, values, n_buckets=n_buckets, shared=shared is not None)
            yield BuiltPiece(first_row, rows, with_own_columns(built, own_columns, rows))
            first_row, number = first_row + len(rows), number + 1
        seen.check(number, None, source)


def _built_groups(
    read: ReadPieces,
    directory: Path,
    opened: contextlib.ExitStack,
    seen: _Seen,
    *,
    n_buckets: int,
    risk_delay_days: int,
    shared: SharedRisk | None,
    source: str,
) -> dict[str, SpilledValues]:
    """Divide and build; return each group's columns by bucket."""
    with contextlib.ExitStack() as divided:
        tables = {
            group.name: divided.enter_context(
                SpilledTable(group_schema(group), directory, n_buckets=n_buckets)
            )
            for group in KEY_GROUPS
        }
        identifiers = divided.enter_context(
            SpilledTable(_ID_SCHEMA, directory, n_buckets=n_buckets)
        )
        first_row = 0
        for rows in read():
            require_columns(rows)
            seen.add(rows)
            _divide_identifiers(identifiers, rows, first_row, n_buckets=n_buckets)
            judged = rows.iloc[rows_of_direction(rows, OUTBOUND)]
            raw = RawColumns.of(judged)
            for group in KEY_GROUPS:
                chosen = _by_bucket(judged, group, n_buckets)
                looked_at = group_rows(group, raw, judged)
                for bucket, these in enumerate(chosen):
                    if these.size:
                        tables[group.name].add(bucket, looked_at.take(pa.array(these)))
            first_row += len(rows)
        for bucket in range(n_buckets):
            _check_unique(identifiers.read(bucket), source)
        values = {}
        for group in KEY_GROUPS:
            names = group_names(group, shared=shared is not None)
            values[group.name] = opened.enter_context(
                SpilledValues(len(names), directory, n_buckets=n_buckets)
            )
            for bucket in range(n_buckets):
                frame = tables[group.name].read(bucket).to_pandas()
                found = group_columns(group, frame, risk_delay_days=risk_delay_days, shared=shared)
                values[group.name].put(bucket, found)
            # Its rows are no longer needed: their room on disk is free for the next group's.
            tables[group.name].__exit__(None, None, None)
        return values


def _by_bucket(judged: pd.DataFrame, group: KeyGroup, n_buckets: int) -> list[Int64Array]:
    numbers = bucket_numbers(judged, group.key, n_buckets=n_buckets)
    return rows_by_bucket(numbers, n_buckets=n_buckets)


def _divide_identifiers(
    table: SpilledTable, rows: pd.DataFrame, first_row: int, *, n_buckets: int
) -> None:
    numbers = bucket_numbers(rows, _ID, n_buckets=n_buckets)
    texts = rows[_ID].to_numpy(dtype=object)
    for bucket, these in enumerate(rows_by_bucket(numbers, n_buckets=n_buckets)):
        if these.size:
            columns = [pa.array(texts[these], pa.string()), pa.array(first_row + these)]
            table.add(bucket, pa.table(columns, schema=_ID_SCHEMA))


def _check_unique(found: pa.Table, source: str) -> None:
    again = repeated_identifier(found[_ID])
    if again is not None:
        value, *places = again
        first, second = found["row"].to_numpy()[places] + 1
        raise DataError(
            f"{source}: column {_ID!r}: rows {first} and {second} have {value!r}, expected an "
            "identifier that no earlier row has; leave the repeated row out"
        )


def _joined(
    rows: pd.DataFrame, values: dict[str, SpilledValues], *, n_buckets: int, shared: bool
) -> FeatureTable:
    """Return the features of a piece, whose columns are the next ones in each bucket."""
    positions = rows_of_direction(rows, OUTBOUND)
    judged = rows.iloc[positions]

    def columns_of(group: KeyGroup) -> Float32Array:
        names = group_names(group, shared=shared)
        together = np.full((len(judged), len(names)), np.nan, dtype=np.float32)
        for bucket, these in enumerate(_by_bucket(judged, group, n_buckets)):
            if these.size:
                together[these] = values[group.name].take(bucket, these.size)
        return together

    return payment_table(judged, positions, columns_of, shared=shared)
