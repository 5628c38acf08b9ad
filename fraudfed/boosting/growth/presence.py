"""How many banks have rows on either side of a split: the least that a split rests on.

Law: with ``min_child_banks`` m and ``min_bank_share`` s, m banks at least have rows in every node
below the root, and each of them has s of the node's hessian or more. So no leaf is about the rows
of fewer, and no bank makes one in which the others hardly are.

Why a share and not a number of rows: a bank that plants rows plants many where others have a few,
so that others are there and decide nothing (docs/attacks.md has the measurement).

A bank adds 1 for a side where it has its share, and 0 otherwise: the sum says how many banks have
it and not which. It is a sum like any other: nobody can check that a bank adds 0 or 1, or that it
tells the truth. The law holds for banks that run this program, on whatever rows. If the rows of t
banks may lie, m is t + 2 at least: two others then have their share, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.growth.partition import RowSplit
from fraudfed.communicator import Summing, SumRequest
from fraudfed.dtypes import BoolArray, Int64Array, UInt32Array
from fraudfed.parameters import MOST_BANKS, BoosterParams

#: Best splits of a node that are asked about, one column after the other, before it stays a leaf.
#: Each takes a sum of its own for all nodes of a level together.
MOST_TRIES: Final = 3


@dataclass(frozen=True, eq=False)
class TriedSplit:
    """A split that banks are to be counted for.

    Attributes
    ----------
    rows : ndarray of shape (n_sampled,), dtype=uint32
        This bank's sampled rows in the node.
    split : RowSplit
    hessians : tuple of int
        Pooled fixed-point sums of hessians of the left child and of the right one.
    """

    rows: UInt32Array
    split: RowSplit
    hessians: tuple[int, int]


class BankCounter:
    """Counts banks for the splits of one tree.

    Parameters
    ----------
    binned : BinnedTable
        This bank's rows.
    gradients : ndarray of shape (n_rows, 2), dtype=int64
        Gradient and hessian of each row in fixed point.
    params : BoosterParams
    tree_index : int
        Part of the label of each sum.
    """

    def __init__(
        self,
        binned: BinnedTable,
        gradients: Int64Array,
        params: BoosterParams,
        *,
        tree_index: int,
    ) -> None:
        self._bins = binned.bins
        self._hessians = gradients[:, 1]
        self._least_banks = params.min_child_banks
        self._least_share = params.min_bank_share
        self._tree_index = tree_index
        self._n_sums = 0

    @property
    def is_on(self) -> bool:
        """Whether banks are counted at all."""
        return self._least_banks > 0

    def counting(self, tried: Sequence[TriedSplit]) -> Summing[BoolArray]:
        """Tell which splits leave enough banks on both sides; all of them with a single sum.

        Returns
        -------
        ndarray of shape (n_tried,), dtype=bool

        Raises
        ------
        SumError
            If more banks are counted than there can be, or fewer than none.
        FraudFedError
            If the sum fails.
        """
        here: BoolArray = np.array(
            [side for each in tried for side in self._sides(each)], dtype=np.bool_
        ).reshape(-1, 2)
        label = f"presence:tree {self._tree_index} step {self._n_sums}"
        self._n_sums += 1
        banks = yield SumRequest(
            values=here.astype(np.int64),
            bound=MOST_BANKS,
            low=0,
            label=label,
        )
        enough = banks >= self._least_banks
        return enough[:, 0] & enough[:, 1]

    def _sides(self, tried: TriedSplit) -> tuple[bool, bool]:
        """Tell whether this bank counts for the left child, and for the right one."""
        is_left = tried.split.table[self._bins[tried.split.feature][tried.rows]]
        hessians = self._hessians[tried.rows]
        left, right = (
            int(hessians[side].sum()) if bool(side.any()) else None for side in (is_left, ~is_left)
        )
        return self._counts(left, tried.hessians[0]), self._counts(right, tried.hessians[1])

    def _counts(self, own: int | None, pooled: int) -> bool:
        # A bank without rows has no share, whatever the least one is.
        return own is not None and own >= self._least_share * pooled
