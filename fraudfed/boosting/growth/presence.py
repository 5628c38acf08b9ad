"""How many banks have rows on either side of a split: the least that a split rests on.

Law: with ``min_child_banks`` m, every node below the root holds at least ``min_bank_rows`` sampled
rows of each of m banks. So no leaf is about the rows of fewer, and no bank alone makes one.

A bank adds 1 for a side where it has enough rows, and 0 otherwise: the sum says how many banks have
them and not which. It is a sum like any other: nobody can check that a bank adds 0 or 1, or that it
tells the truth. The law holds for banks that run this program on whatever rows; of m banks that are
counted, m less those whose program lies have rows (docs/attacks.md).
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
    """

    rows: UInt32Array
    split: RowSplit


class BankCounter:
    """Counts banks for the splits of one tree.

    Parameters
    ----------
    binned : BinnedTable
        This bank's rows.
    params : BoosterParams
    tree_index : int
        Part of the label of each sum.
    """

    def __init__(self, binned: BinnedTable, params: BoosterParams, *, tree_index: int) -> None:
        self._bins = binned.bins
        self._least_banks = params.min_child_banks
        self._least_rows = params.min_bank_rows
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
        here: Int64Array = np.array(
            [self._rows_of_sides(each) for each in tried], dtype=np.int64
        ).reshape(-1, 2)
        label = f"presence:tree {self._tree_index} step {self._n_sums}"
        self._n_sums += 1
        banks = yield SumRequest(
            values=(here >= self._least_rows).astype(np.int64),
            bound=MOST_BANKS,
            low=0,
            label=label,
        )
        enough = banks >= self._least_banks
        return enough[:, 0] & enough[:, 1]

    def _rows_of_sides(self, tried: TriedSplit) -> tuple[int, int]:
        codes = self._bins[tried.split.feature][tried.rows]
        n_left = int(np.count_nonzero(tried.split.table[codes]))
        return n_left, tried.rows.size - n_left
