"""Payments looked at piece by piece: everything that is wrong with them, in bounded memory."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from bank_node.data.looks.look import Look, Looks, Reading, look_at
from bank_node.data.streamed import Bounded
from fraudfed.features.by_key.buckets import n_buckets_for
from fraudfed.intake.repeated import Repeated, SpilledIdentifiers
from fraudfed.intake.transactions import AmongMany
from fraudfed.reading.file import DataFile
from fraudfed.reading.pieces import in_pieces, n_rows_about


def check_problems(
    file: DataFile,
    how: Reading,
    bounded: Bounded,
    *,
    watch: Callable[[pd.DataFrame, int], None] = lambda _rows, _before: None,
) -> None:
    """Read everything once, and raise what is wrong.

    Parameters
    ----------
    file : DataFile
    how : Reading
    bounded : Bounded
    watch : callable
        Is shown the payments of each piece that is fine, and how many rows come before them.

    Raises
    ------
    ProblemsError
        With every problem, as if all rows had been looked at together.
    DataError
        If the data cannot be read.
    StateError
        If there is no room on disk.
    """
    looks = Looks(file, for_training=how.for_training)
    n_buckets = buckets_of(file, bounded)
    with SpilledIdentifiers(bounded.directory, n_buckets) as identifiers:
        for piece in in_pieces(file, rows=bounded.piece_rows):
            before = identifiers.n_rows
            among = AmongMany(before)
            look, rows = look_at(piece, how, among)
            identifiers.add(among.identifiers, among.is_wrong)
            looks.add(look)
            if rows is not None:
                watch(rows, before)
        repeated = identifiers.repeated()
    if looks.wants_repeated(repeated):
        looks.add_repeated(repeated, _look_again(file, how, bounded, repeated))
    looks.raise_any()


def buckets_of(file: DataFile, bounded: Bounded) -> int:
    """Return into how many buckets rows are divided so that one fits into memory."""
    return n_buckets_for(n_rows_about(file), memory_bytes=bounded.work_bytes)


def _look_again(
    file: DataFile, how: Reading, bounded: Bounded, repeated: Repeated
) -> Iterator[Look]:
    """Yield looks at the pieces up to the last of the first rows with repeated identifiers."""
    places, rows_before = np.array(repeated.first, dtype=np.int64), 0
    for piece in in_pieces(file, rows=bounded.piece_rows):
        if not (places >= rows_before).any():
            return
        look, _ = look_at(piece, how, AmongMany(rows_before, places))
        rows_before += look.n_rows
        yield look
