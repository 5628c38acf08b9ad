"""How many rows all banks have together: what is public before anything else is."""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.shard.protocol import Shard
from fraudfed.communicator import Communicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import DataError
from fraudfed.held_sums import hold_rows

#: Bound of the very first sum, before anything is known of the rows.
MAX_POOLED_ROWS = 2**36


@dataclass(frozen=True)
class PooledCounts:
    """Public number of rows of all banks together.

    Attributes
    ----------
    n_rows, n_positives : int
        Training rows, and those with label 1, at the banks that took part in the preparation.
    n_validation_rows, n_validation_positives : int
        Of the banks that the last metrics are about; 0 without validation.
    """

    n_rows: int
    n_positives: int
    n_validation_rows: int = 0
    n_validation_positives: int = 0


def check_more_rows(n_rows: int, more_rows: int) -> None:
    """Refuse banks that come in with more rows than can be summed with those here.

    Parameters
    ----------
    n_rows : int
        Training rows so far, at most.
    more_rows : int
        Of the banks that come in, at most.

    Raises
    ------
    DataError
        If they are more than a training may have.
    ValueError
        If ``more_rows`` is negative.
    """
    if more_rows < 0:
        raise ValueError(f"more_rows is {more_rows}, expected at least 0")
    if n_rows + more_rows > MAX_POOLED_ROWS:
        raise DataError(
            f"{more_rows} more rows make {n_rows + more_rows} in all, expected at most "
            f"{MAX_POOLED_ROWS}; let fewer banks in, or with fewer rows"
        )


def count_rows(shard: Shard, validation: Shard | None, communicator: Communicator) -> PooledCounts:
    """Count the rows of all banks in one sum.

    Parameters
    ----------
    shard : Shard
        This bank's training rows.
    validation : Shard or None
    communicator : Communicator

    Raises
    ------
    DataError
        If one class is missing, among either kind of rows.
    SumError
        If the counts are none of rows.
    """
    parts = [shard] if validation is None else [shard, validation]
    local = np.concatenate([_count(part) for part in parts])
    pooled = communicator.sum(local, bound=MAX_POOLED_ROWS, low=0, label="rows").tolist()
    counts = PooledCounts(*pooled)
    check_classes("training rows", counts.n_rows, counts.n_positives)
    if validation is not None:
        check_classes("validation rows", counts.n_validation_rows, counts.n_validation_positives)
    return counts


def count_validation_rows(validation: Shard, communicator: Communicator) -> tuple[int, int]:
    """Count the validation rows, and those with label 1, of the current banks.

    Returns
    -------
    n_rows : int, n_positives : int

    Raises
    ------
    DataError
        If one class is missing.
    SumError
        If the counts are none of rows.
    """
    n_rows, n_positives = communicator.sum(
        _count(validation), bound=MAX_POOLED_ROWS, low=0, label="validation rows"
    ).tolist()
    check_classes("validation rows", n_rows, n_positives)
    return n_rows, n_positives


def _count(shard: Shard) -> Int64Array:
    return np.array([shard.n_rows, shard.n_positives], dtype=np.int64)


def check_classes(what: str, n_rows: int, n_positives: int) -> None:
    """Check that pooled counts are those of rows, and of both classes.

    Raises
    ------
    DataError
        If one class is missing.
    SumError
        If the counts are none of rows.
    """
    hold_rows(n_rows, n_positives, most=MAX_POOLED_ROWS)
    if n_rows == 0:
        raise DataError(f"no bank has any {what}; expected rows of both classes")
    if n_positives in (0, n_rows):
        label = 0 if n_positives == 0 else 1
        raise DataError(
            f"the {n_rows} {what} of all banks have only one class, label {label}; expected "
            "labels 0 and 1, check the label column and the time window"
        )
