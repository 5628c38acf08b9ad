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

from fraudfed.boosting.shard.protocol import GrowingRows, NodeSplit
from fraudfed.communicator import Summing, SumRequest
from fraudfed.dtypes import BoolArray
from fraudfed.parameters import MOST_BANKS, BoosterParams

#: Best splits of a node that are asked about, one column after the other, before it stays a leaf.
#: Each takes a sum of its own for all nodes of a level together.
MOST_TRIES: Final = 3


@dataclass(frozen=True, eq=False)
class TriedSplit:
    """A split that banks are to be counted for.

    Attributes
    ----------
    split : NodeSplit
    hessians : tuple of int
        Pooled fixed-point sums of hessians of the left child and of the right one.
    """

    split: NodeSplit
    hessians: tuple[int, int]


class BankCounter:
    """Counts banks for the splits of one tree.

    Parameters
    ----------
    rows : GrowingRows
        This bank's rows.
    params : BoosterParams
    tree_index : int
        Part of the label of each sum.
    """

    def __init__(
        self,
        rows: GrowingRows,
        params: BoosterParams,
        *,
        tree_index: int,
    ) -> None:
        self._rows = rows
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
        sides = self._rows.sides([each.split for each in tried])
        here: BoolArray = np.array(
            [
                self._counts(side[0], side[1], pooled)
                for each, own in zip(tried, sides.tolist(), strict=True)
                for side, pooled in zip(own, each.hessians, strict=True)
            ],
            dtype=np.bool_,
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

    def _counts(self, n_rows: int, own: int, pooled: int) -> bool:
        """Tell whether this bank counts for a side."""
        # A bank without rows has no share, whatever the least one is.
        return n_rows > 0 and own >= self._least_share * pooled
