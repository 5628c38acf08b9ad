"""Which node is split next: XGBoost's expansion queue (``src/tree/driver.h``)."""

import heapq
from dataclasses import dataclass, field

import numpy as np

from fraudfed.boosting.splits.candidate import Split
from fraudfed.parameters import BoosterParams

#: XGBoost's ``kRtEps``: a gain up to this much is no gain.
LEAST_LOSS_CHANGE = np.float32(1e-6)
#: A level with more nodes is expanded in parts, which bounds the size of a secure sum.
MAX_NODES_PER_BATCH = 256


@dataclass(frozen=True)
class Candidate:
    """A node that may be split."""

    node: int
    depth: int
    split: Split


def gains_something(split: Split) -> bool:
    """Tell whether a split gains more than rounding does; others are never queued."""
    return bool(split.loss_change > LEAST_LOSS_CHANGE)


@dataclass
class ExpansionQueue:
    """Hands out nodes to split, in batches whose nodes do not depend on each other.

    ``depthwise`` takes the nodes of the lowest level in order of their numbers; ``lossguide`` takes
    one node, the one with the largest loss change, at a tie the lower number. When no node of a
    batch may be split, growth ends, even if the queue still holds others; that is XGBoost's rule.
    """

    params: BoosterParams
    _n_leaves: int = field(default=1, init=False)
    _heap: list[tuple[float, int, Candidate]] = field(default_factory=list, init=False)

    def push(self, candidate: Candidate) -> None:
        """Add a node whose split ``gains_something``."""
        loss_change = float(candidate.split.loss_change)
        first = -loss_change if self.params.grow_policy == "lossguide" else 0.0
        heapq.heappush(self._heap, (first, candidate.node, candidate))

    def pop(self) -> list[Candidate]:
        """Return the next nodes to split, counting their leaves; none ends the tree."""
        if not self._heap:
            return []
        level = self._heap[0][2].depth
        limit = 1 if self.params.grow_policy == "lossguide" else MAX_NODES_PER_BATCH
        batch: list[Candidate] = []
        while self._heap and self._heap[0][2].depth == level and len(batch) < limit:
            candidate = heapq.heappop(self._heap)[2]
            if self._accept(candidate):
                batch.append(candidate)
            elif limit == 1:
                break
        return batch

    def may_split_children(self, candidate: Candidate) -> bool:
        """Tell whether children of a node that was just split may be split themselves."""
        params = self.params
        if params.max_depth > 0 and candidate.depth + 1 >= params.max_depth:
            return False
        return params.max_leaves == 0 or self._n_leaves < params.max_leaves

    def _accept(self, candidate: Candidate) -> bool:
        split = candidate.split
        is_valid = (
            split.left[1] != 0
            and split.right[1] != 0
            and bool(split.loss_change >= np.float32(self.params.gamma))
            and (self.params.max_depth == 0 or candidate.depth < self.params.max_depth)
            and (self.params.max_leaves == 0 or self._n_leaves != self.params.max_leaves)
        )
        self._n_leaves += is_valid
        return is_valid
