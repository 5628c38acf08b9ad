"""What boosting asks of a bank's rows, wherever they lie: in memory, in mapped files, on a cluster.

Law: everything that comes back is made of integers that add up over any parts of the rows, in any
order, or is the same for all rows. So the model is the same, byte for byte, in however many parts
the rows lie, and wherever. ``parts.PartedShard`` is that law as a class: a shard of several parts
is the sum of its parts, and an engine that spreads rows over machines does the same with the parts
that its workers hold.

The rows go through four stages, and each stage hands out the next one:

* ``Shard``: values, labels and weights. They are checked, counted, and their sort keys counted.
* ``BinnedShard``: the values replaced by bins.
* ``BoostedRows``: a binned shard, and the margin of each row after some trees. Several models may
  grow over one binned shard; each has boosted rows of its own.
* ``GrowingRows``: boosted rows while one tree grows over them: the gradients of the tree, and which
  node each row lies in. Nodes have the numbers of XGBoost, 0 for the root.

No array with an axis of rows leaves a shard, but for ``BoostedRows.margins``, which nothing in a
training asks for. ``split`` and ``finish`` return nothing, so an engine may put them off until it
is asked for something that depends on them.

``fraudfed.boosting.engine`` is what a shard on this machine does its work with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.engine.protocol import Engine, KeyCounter
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array

__all__ = [
    "BinnedShard",
    "BoostedRows",
    "GradientCap",
    "GrowingRows",
    "NodeSplit",
    "RowDraw",
    "Shard",
    "SumOrder",
    "SumsOfNodes",
]


@dataclass(frozen=True)
class RowDraw:
    """Which rows a tree is grown from: those that ``sampling.sample_rows`` draws by their content.

    Attributes
    ----------
    seed, tree_index : int
        Non-negative, the same at every bank.
    fraction : float
        In (0, 1).
    """

    seed: int
    tree_index: int
    fraction: float


@dataclass(frozen=True)
class GradientCap:
    """How much a row, or a customer, weighs in one tree of a private training.

    Attributes
    ----------
    row_norm : int
        Of a row, units of 2^-16 (``shard.capped`` has the norm).
    unit_norm : int or None
        Of all rows of a customer together; None if the unit is the row.
    """

    row_norm: int
    unit_norm: int | None


@dataclass(frozen=True, eq=False)
class NodeSplit:
    """A node that is split, or tried to be.

    Attributes
    ----------
    node : int
    feature : int
    table : ndarray of shape (n_bins of the feature + 1,), dtype=bool
        Whether a bin goes left; the last entry is for a missing value.
    left, right : int
        Numbers of the children; nobody looks at them where the split is only tried.
    """

    node: int
    feature: int
    table: BoolArray
    left: int = -1
    right: int = -1


@dataclass(frozen=True, eq=False)
class SumOrder:
    """What is to be summed of one node.

    Attributes
    ----------
    node : int
    features : ndarray of shape (n_active,), dtype=int64
        Whose bins are summed, ascending; with none the total alone is summed.
    """

    node: int
    features: Int64Array


@dataclass(frozen=True, eq=False)
class SumsOfNodes:
    """Gradients and hessians of the sampled rows of some nodes, one order after the other.

    Attributes
    ----------
    histograms : ndarray of shape (n_orders, 2, total_bins), dtype=int64
        Gradients in row 0, hessians in row 1, fixed point; missing values are left out. Zero in
        the bins of features that were not asked for. The caller may write to it.
    totals : ndarray of shape (n_orders, 2), dtype=int64
        Gradient and hessian of the rows, missing values or not.
    """

    histograms: Int64Array
    totals: Int64Array


class GrowingRows(Protocol):
    """Rows while one tree grows over them.

    It begins with all rows in node 0. A node that has been split is no longer asked for.
    """

    def split(self, splits: Sequence[NodeSplit]) -> None:
        """Send the rows of some leaves to two children each, those outside the sample as well.

        Parameters
        ----------
        splits : sequence of NodeSplit
            Of distinct leaves, in any order; there may be none.
        """

    def sums(self, orders: Sequence[SumOrder]) -> SumsOfNodes:
        """Sum the gradients of the sampled rows of some leaves, bin by bin.

        Parameters
        ----------
        orders : sequence of SumOrder
            Of distinct leaves, in any order; there may be none.
        """

    def sides(self, tried: Sequence[NodeSplit]) -> Int64Array:
        """Look what splits would leave on either side; nothing is split.

        Parameters
        ----------
        tried : sequence of NodeSplit
            Of distinct leaves, in any order; there may be none.

        Returns
        -------
        ndarray of shape (n_tried, 2, 2), dtype=int64
            Of the left side, then of the right one: number of sampled rows, sum of their hessians.
        """

    def finish(self, values: Float32Array) -> None:
        """Add to the margin of each row, in float32, the value of its leaf; the tree is done.

        Rows outside the sample have a leaf as well. Nothing may be asked of this object afterwards.

        Parameters
        ----------
        values : ndarray of shape (n_nodes,), dtype=float32
            By the number of the node; those of split nodes are not looked at.
        """


class BoostedRows(Protocol):
    """Rows and their margins after some trees. Only one tree grows over them at a time."""

    def grow(
        self,
        *,
        scale_pos_weight: float,
        draw: RowDraw | None = None,
        cap: GradientCap | None = None,
    ) -> GrowingRows:
        """Compute the gradients of the next tree, and begin it.

        Parameters
        ----------
        scale_pos_weight : float
            Factor on the weight of positives.
        draw : RowDraw or None
            None is every row. Otherwise the rows were binned with ``for_draws``.
        cap : GradientCap or None
            Of a private training: gradients are rounded to 2^-16 and bounded.
        """

    def add(self, tree: Tree) -> None:
        """Add a tree that was not grown here, or not to the end: to each margin, in float32.

        A tree that grows over these rows and is not finished is given up.

        Parameters
        ----------
        tree : Tree
            Its split bins are those of the shard's cuts.
        """

    def metric_parts(self, names: Sequence[str]) -> dict[str, Int64Array]:
        """Return what metrics are made of (``shard.tallies.metric_parts``).

        Parameters
        ----------
        names : sequence of str
            From ``logloss``, ``auc``, ``aucpr``, ``error``.

        Returns
        -------
        dict
            ``logloss``: shape (1,), sum of losses in fixed point; ``error``: shape (1,), rows on
            the wrong side; ``ranking``, for ``auc`` or ``aucpr``: shape (2 * N_COARSE_CELLS,), rows
            by label and cell. All int64, in this order, and only what the names need.
        """

    def case_margins(self) -> tuple[Float32Array, Int64Array]:
        """Return the distinct margins of the rows with label 1, and how many rows have each.

        Returns
        -------
        margins : ndarray of shape (n_distinct,), dtype=float32
            Ascending.
        counts : ndarray of shape (n_distinct,), dtype=int64
            Two parts with one margin have the sum of their counts.
        """

    def count_others(self, thresholds: Float32Array) -> Int64Array:
        """Count the rows with label 0 between thresholds.

        Parameters
        ----------
        thresholds : ndarray of shape (n,), dtype=float32
            Ascending and distinct.

        Returns
        -------
        ndarray of shape (n,), dtype=int64
            Rows at or above threshold i, and below the next one.
        """

    def margins(self) -> Float32Array:
        """Return the margin of each row, at this bank; shape (n_rows,), dtype=float32.

        In the order of the rows, those of the first part first. No training asks for it: it needs
        4 bytes a row on this machine.
        """


class BinnedShard(Protocol):
    """Rows as bin numbers."""

    @property
    def cuts(self) -> Cuts:
        """The edges between the bins."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    @property
    def engine(self) -> Engine:
        """What scans pooled sums for splits, on this machine, wherever the rows lie."""

    def start(self, trees: Sequence[Tree], base_score: float) -> BoostedRows:
        """Return the rows with the margins that they have after some trees.

        Parameters
        ----------
        trees : sequence of Tree
            On these cuts. They are added up in float32, one after the other.
        base_score : float
            Probability at which boosting starts.
        """


class Shard(Protocol):
    """One bank's training rows, validation rows or rows of a select window; there may be none."""

    @property
    def schema(self) -> FeatureSchema:
        """What the columns are; the same at every bank."""

    @property
    def max_weight(self) -> float:
        """Public bound of the weights; the same at every bank."""

    @property
    def has_weights(self) -> bool:
        """Whether rows have weights; the same at every bank."""

    @property
    def caps_customers(self) -> bool:
        """Whether the rows say whose they are, and what a customer weighs can be bounded here."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    @property
    def n_positives(self) -> int:
        """Number of rows with label 1."""

    def check(self, what: str, *, first_row: int = 0) -> None:
        """Check labels, weights and features (``table.check_rows``).

        Parameters
        ----------
        what : str
            Names the rows in the message.
        first_row : int
            Number of the first row in the message; that of a later part is not 0.

        Raises
        ------
        DataError
            The message names row and column, no value.
        """

    def weight_parts(self) -> Int64Array:
        """Return the sum of all weights, exactly (``shard.weights.weight_parts``).

        Returns
        -------
        ndarray of shape (N_EXPONENTS,), dtype=int64
            Sums of the significands of the weights, by exponent; a row without weight weighs 1.
        """

    def scaled(self, factor: float) -> Self:
        """Return the same rows, each with its weight times a factor (``shard.weights.scaled``).

        Parameters
        ----------
        factor : float
            In (0, 1]. Afterwards all rows have weights, also with factor 1.
        """

    def masses(self, *, scale_pos_weight: float) -> Int64Array:
        """Return the summed weights of both labels in fixed point.

        Parameters
        ----------
        scale_pos_weight : float
            Factor on the weight of positives.

        Returns
        -------
        ndarray of shape (2,), dtype=int64
            Of the rows with label 1, then of those with label 0.
        """

    def capped_masses(
        self, *, scale_pos_weight: float, row_norm: int, customer_rows: int | None
    ) -> Int64Array:
        """Return the summed weights of both labels, bounded for a private training.

        Parameters
        ----------
        scale_pos_weight : float
        row_norm : int
            Most that a row weighs, units of 2^-16.
        customer_rows : int or None
            Rows of this weight that a customer weighs at most; None if the unit is the row.

        Returns
        -------
        ndarray of shape (2,), dtype=int64
            Of the rows with label 0, then of those with label 1; units of 2^-16.
        """

    def key_counter(self, columns: Int64Array, *, customer_rows: int | None = None) -> KeyCounter:
        """Return what counts the sort keys of some columns.

        Parameters
        ----------
        columns : ndarray of shape (n_columns,), dtype=int64
            Numbers of the features, ascending.
        customer_rows : int or None
            Rows of each customer that are counted at most; None is every row.
        """

    def bin(self, cuts: Cuts, *, for_draws: bool = False) -> BinnedShard:
        """Replace every value by its bin.

        Parameters
        ----------
        cuts : Cuts
        for_draws : bool
            Whether trees will be grown from draws of the rows: the rows' content is hashed for it.

        Raises
        ------
        ValueError
            If a categorical value is not a code of its feature's categories.
        """
