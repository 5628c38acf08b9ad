"""Isotonic regression: the best probabilities that never fall while the score rises.

Pool adjacent violators (M. Ayer and others, "An empirical distribution function for sampling with
incomplete information", Annals of Mathematical Statistics 26(4), 1955, theorem 2.1): neighbouring
groups whose shares fall are made one, until none falls. The result has the least squared error and
the least log loss of all rising functions (R. E. Barlow and others, "Statistical Inference under
Order Restrictions", Wiley 1972, theorem 1.10). Shares are compared as fractions of integers, so
nothing is rounded.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array


@dataclass(frozen=True, eq=False)
class Blocks:
    """Runs of groups with one share each, in the order of the groups.

    Attributes
    ----------
    first, last : ndarray of shape (n_blocks,), dtype=int64
        Positions of the first and the last group of each block.
    frauds, rows : ndarray of shape (n_blocks,), dtype=int64
        The share of a block is ``frauds / rows``; shares rise.
    """

    first: Int64Array
    last: Int64Array
    frauds: Int64Array
    rows: Int64Array

    @property
    def shares(self) -> Float64Array:
        """Share of frauds of each block; shape (n_blocks,), ascending."""
        shares: Float64Array = self.frauds / self.rows
        return shares


def pool_adjacent_violators(frauds: Int64Array, rows: Int64Array) -> Blocks:
    """Return the blocks of groups that are given by ascending score.

    Parameters
    ----------
    frauds : ndarray of shape (n_groups,), dtype=int64
        Frauds among the rows of each group.
    rows : ndarray of shape (n_groups,), dtype=int64
        At least 1 in each group.
    """
    stack: list[tuple[int, int, int, int]] = []
    for place, (fraud, row) in enumerate(zip(frauds.tolist(), rows.tolist(), strict=True)):
        first = place
        # Equal shares are pooled, too: so runs of clean groups are one block.
        while stack and stack[-1][2] * row >= fraud * stack[-1][3]:
            first, _, more_frauds, more_rows = stack.pop()
            fraud, row = fraud + more_frauds, row + more_rows
        stack.append((first, place, fraud, row))
    blocks = np.array(stack, dtype=np.int64).reshape(-1, 4)
    return Blocks(*blocks.T)
