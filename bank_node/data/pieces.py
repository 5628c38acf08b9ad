"""A bank's file of transactions, read and checked a piece at a time."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from fraudfed.errors import ConfigurationError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.intake.transactions import read_transactions
from fraudfed.reading.location import Location, open_data
from fraudfed.reading.pieces import in_pieces, n_rows_about


class Read(Protocol):
    """Reads a file's pieces."""

    def __call__(self, only: Collection[int] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all pieces, or those of some numbers."""
        ...


@dataclass(frozen=True)
class Pieces:
    """A file that is read as often as one likes.

    Attributes
    ----------
    n_rows_about : int
    read : callable
        Yields some rows after others, checked within each piece: all pieces, or those of the
        numbers that it is given; raises DataError.
    """

    n_rows_about: int
    read: Read


def load_pieces(path: Location, mapping: Mapping | None, *, rows: int) -> Pieces:
    """Open a file of transactions, with labels or without.

    Parameters
    ----------
    path : Location
    mapping : Mapping or None
        How the file's columns become those of transactions; None: they are those.
    rows : int
        Of a piece, about.

    Raises
    ------
    DataError
        If the header cannot be read.
    ConfigurationError
        If the mapping is of another kind.
    """
    if mapping is not None and mapping.kind != "transactions":
        raise ConfigurationError(
            f"mapping: is for kind {mapping.kind!r}, expected one of transactions; choose another"
        )
    file = open_data(path) if mapping is None else open_data(path, file_format=mapping.file)

    def read(only: Collection[int] | None = None) -> Iterator[pd.DataFrame]:
        for number, piece in enumerate(in_pieces(file, rows=rows)):
            if only is not None and number not in only:
                continue
            problems = piece.problems(where_all="`bank-node check-data` lists all of them")
            yield read_transactions(piece, mapping, problems, extra={}, needs_labels=False).rows

    return Pieces(n_rows_about(file), read)
