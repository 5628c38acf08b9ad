"""Several transactions in a row: their number, order and times after the first."""

from dataclasses import dataclass

import numpy as np

from data_gen.rng import FloatArray, IntArray


@dataclass(frozen=True)
class Steps:
    """The rows of ``n_owners`` sequences, one after the other.

    Parameters
    ----------
    owner : ndarray of shape (n_rows,), dtype=int64
        Sequence of each row, ascending.
    number : ndarray of shape (n_rows,), dtype=int64
        Position in its sequence, from 0.
    first : ndarray of shape (n_owners,), dtype=int64
        Row at which each sequence begins.
    """

    owner: IntArray
    number: IntArray
    first: IntArray

    def __len__(self) -> int:
        return len(self.owner)

    @classmethod
    def of(cls, counts: IntArray) -> "Steps":
        """Return the rows of sequences with ``counts`` rows each (0 is allowed)."""
        owner = np.repeat(np.arange(len(counts)), counts)
        first = np.cumsum(counts) - counts
        return cls(owner=owner, number=np.arange(len(owner)) - first[owner], first=first)


def running_sum(steps: Steps, gaps: FloatArray) -> IntArray:
    """Return per row the sum of the gaps before it, in seconds; each sequence begins at 0."""
    if not len(steps):
        return np.zeros(0, dtype=np.int64)
    total = np.cumsum(np.where(steps.number == 0, 0, np.maximum(gaps, 1.0).astype(np.int64)))
    since_first: IntArray = total - total[steps.first[steps.owner]]
    return since_first
