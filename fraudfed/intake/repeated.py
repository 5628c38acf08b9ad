"""Which identifiers of a bank's payments occur again, found bucket by bucket of a hash of them.

Law: a row is repeated if a row before it has its identifier, whatever the pieces and buckets.
Buckets have no identifier in common, so what they find adds up, in any order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.features.by_key.buckets import bucket_numbers, rows_by_bucket
from fraudfed.intake.spill import SpilledTable
from fraudfed.reading.problems import MOST_CELLS

_ID: Final = "transaction_id"
_SCHEMA: Final = pa.schema([(_ID, pa.string()), ("place", pa.int64()), ("is_wrong", pa.bool_())])


@dataclass(frozen=True)
class Repeated:
    """Rows whose identifier an earlier row has.

    Attributes
    ----------
    count : int
    first : tuple of int
        Places of the first ``MOST_CELLS`` of them, ascending.
    """

    count: int = 0
    first: tuple[int, ...] = ()

    @classmethod
    def together(cls, found: Iterable["Repeated"]) -> "Repeated":
        """Add up what different buckets have found."""
        parts = list(found)
        first = sorted(place for each in parts for place in each.first)[:MOST_CELLS]
        return cls(sum(each.count for each in parts), tuple(first))


def divided_identifiers(
    identifiers: "pd.Series[str]", is_wrong: BoolArray, places: Int64Array, *, n_buckets: int
) -> list[pa.Table]:
    """Return identifiers by bucket; those that are missing are in none.

    Parameters
    ----------
    identifiers : Series of shape (n_rows,)
    is_wrong : ndarray of shape (n_rows,), dtype=bool
        Those with another problem, which are not told of again.
    places : ndarray of shape (n_rows,), dtype=int64
        Ascending; says too which of two rows is the earlier one.
    n_buckets : int
    """
    texts = identifiers.to_numpy(dtype=object)
    numbers = bucket_numbers(identifiers.to_frame(_ID), _ID, n_buckets=n_buckets)
    return [
        pa.table(
            [pa.array(texts[these], pa.string()), places[these], is_wrong[these]], schema=_SCHEMA
        )
        for these in rows_by_bucket(numbers, n_buckets=n_buckets)
    ]


def repeated_rows(bucket: pa.Table) -> Repeated:
    """Return the repeated rows of a bucket.

    Parameters
    ----------
    bucket : Arrow table
        Of ``divided_identifiers``: all pieces, in their order.
    """
    is_wrong = bucket["is_wrong"].to_numpy().astype(np.bool_)
    again = bucket[_ID].to_pandas().duplicated().to_numpy(dtype=np.bool_) & ~is_wrong
    places = bucket["place"].to_numpy()[again]
    return Repeated(int(places.size), tuple(np.sort(places)[:MOST_CELLS].tolist()))


@dataclass
class SpilledIdentifiers:
    """The identifiers of all pieces, on disk; a context manager.

    Parameters
    ----------
    directory : Path
        Where they lie meanwhile, in a file without a name.
    n_buckets : int
        One of them is in memory at a time.
    """

    directory: Path
    n_buckets: int
    n_rows: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        self._table = SpilledTable(_SCHEMA, self.directory, n_buckets=self.n_buckets)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._table.__exit__(kind, error, traceback)

    def add(self, identifiers: "pd.Series[str]", is_wrong: BoolArray) -> None:
        """Add those of the next piece.

        Raises
        ------
        StateError
            If the disk is full.
        """
        places = self.n_rows + np.arange(len(identifiers), dtype=np.int64)
        self.n_rows += len(identifiers)
        divided = divided_identifiers(identifiers, is_wrong, places, n_buckets=self.n_buckets)
        for bucket, rows in enumerate(divided):
            if rows.num_rows:
                self._table.add(bucket, rows)

    def repeated(self) -> Repeated:
        """Return the repeated rows; their places count from 0 over all pieces."""
        return Repeated.together(
            repeated_rows(self._table.read(bucket)) for bucket in range(self.n_buckets)
        )
