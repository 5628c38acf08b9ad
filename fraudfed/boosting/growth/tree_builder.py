"""Collects nodes in XGBoost's numbering: children are numbered when their parent is split."""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.splits.candidate import Split
from fraudfed.boosting.tree import NO_CHILD, NO_PARENT, Tree


@dataclass
class _Record:
    parent: int
    #: Leaf value, or threshold once the node is split.
    condition: np.float32
    sum_hessian: np.float32
    base_weight: np.float32
    left: int = NO_CHILD
    right: int = NO_CHILD
    split: Split | None = None


class TreeBuilder:
    """A tree under construction.

    Parameters
    ----------
    eta : float
        Factor from a weight to a leaf value; a float32.
    """

    def __init__(self, *, eta: float) -> None:
        self._eta = np.float32(eta)
        self._nodes: list[_Record] = []

    def add_root(self, weight: np.float32, sum_hessian: np.float32) -> None:
        """Start with a single leaf; ``weight`` is without ``eta``."""
        self._nodes.append(_Record(NO_PARENT, self._eta * weight, sum_hessian, weight))

    def add_split(
        self,
        node: int,
        split: Split,
        *,
        condition: np.float32,
        base_weight: np.float32,
        child_weights: tuple[np.float32, np.float32],
        child_hessians: tuple[np.float32, np.float32],
    ) -> tuple[int, int]:
        """Turn a leaf into a split with two leaves; return their numbers.

        All weights are without ``eta``.
        """
        record = self._nodes[node]
        record.split = split
        record.condition = condition
        record.base_weight = base_weight
        record.left, record.right = len(self._nodes), len(self._nodes) + 1
        for weight, hessian in zip(child_weights, child_hessians, strict=True):
            value = weight * self._eta
            # XGBoost stores a leaf's weight with eta, and a split node's without.
            self._nodes.append(_Record(node, value, hessian, value))
        return record.left, record.right

    def set_hessian(self, node: int, sum_hessian: np.float32) -> None:
        """State the hessian of a node that was not known when the node was added."""
        self._nodes[node].sum_hessian = sum_hessian

    def build(self) -> Tree:
        """Return the tree as arrays."""
        nodes = self._nodes
        splits = [record.split for record in nodes]
        return Tree(
            left_children=np.array([n.left for n in nodes], dtype=np.int32),
            right_children=np.array([n.right for n in nodes], dtype=np.int32),
            parents=np.array([n.parent for n in nodes], dtype=np.int32),
            split_features=np.array([s.feature if s else 0 for s in splits], dtype=np.int32),
            split_conditions=np.array([n.condition for n in nodes], dtype=np.float32),
            split_bins=np.array([s.split_bin if s else -1 for s in splits], dtype=np.int32),
            default_left=np.array([s.default_left if s else False for s in splits], dtype=np.bool_),
            right_categories=tuple(s.right_categories if s else () for s in splits),
            is_categorical=np.array([bool(s and s.is_categorical) for s in splits], dtype=np.bool_),
            loss_changes=np.array([s.loss_change if s else 0.0 for s in splits], dtype=np.float32),
            sum_hessians=np.array([n.sum_hessian for n in nodes], dtype=np.float32),
            base_weights=np.array([n.base_weight for n in nodes], dtype=np.float32),
        )
