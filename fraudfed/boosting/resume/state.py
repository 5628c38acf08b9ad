"""Where a training stands between two steps: all that is needed to continue, and nothing private.

Law: a training that is resumed from a state continues exactly as one that was never interrupted:
same sums with the same bounds, same later states, same model bytes. What a bank holds of its own
(binned rows, margins) follows from the state and the bank's rows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts
from fraudfed.boosting.bounds.bins import BinBounds, rows_of_sets
from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS, PooledCounts, check_more_rows
from fraudfed.boosting.bounds.sums import SumBounds
from fraudfed.boosting.metrics import is_better
from fraudfed.boosting.objective import LARGEST_SUM
from fraudfed.boosting.resume.canonical_bytes import StateReader, StateWriter, damaged
from fraudfed.boosting.resume.tree_bytes import read_trees, write_trees
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import Int64Array
from fraudfed.errors import StateError
from fraudfed.parameters import EVAL_METRICS, BoosterParams

DIGEST_BYTES = 32
_MOST_BINS = 256


@dataclass(frozen=True)
class TreeProgress:
    """What is known after a tree; the same at every bank.

    Attributes
    ----------
    tree_index : int
        Number of the tree, from 0.
    n_trees : int
        Trees asked for (``num_boost_round``).
    n_leaves : int
    metrics : mapping of str to float
        Pooled validation metrics with this tree; empty without validation.
    best_iteration : int or None
        Best tree so far by the last metric; None without validation.
    """

    tree_index: int
    n_trees: int
    n_leaves: int
    metrics: Mapping[str, float]
    best_iteration: int | None


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What every bank knows between two steps of a training; the same bytes at every bank.

    Step 0 is the preparation (counts, base score, cuts), step t + 1 grows tree t. It holds opened
    sums and what follows from them. Nothing in it is of a single bank, but only the cohort may see
    it.

    Attributes
    ----------
    of_params : bytes
        ``params_digest`` of the training's parameters.
    num_boost_round : int
        Trees asked for.
    counts : PooledCounts
        Training rows as the preparation counted them; validation rows of the banks that the last
        metrics are about.
    base_score : float
    cuts : Cuts
        As the preparation found them; ``more_rows`` says how many rows may have come since.
    trees : tuple of Tree
    history : tuple of TreeProgress
        One for each tree; its metrics are of the rows that were pooled then.
    bins : BinBounds or None
        What the sums so far say of single bins; None if there is no more than counts say.
    counts_validation : bool
        Whether the coming step first counts the validation rows again.
    """

    of_params: bytes
    num_boost_round: int
    counts: PooledCounts
    base_score: float
    cuts: Cuts
    trees: tuple[Tree, ...] = ()
    history: tuple[TreeProgress, ...] = ()
    bins: BinBounds | None = None
    counts_validation: bool = False

    @property
    def n_steps(self) -> int:
        """Finished steps: 1 after the preparation, one more with each tree."""
        return 1 + len(self.trees)

    @property
    def more_rows(self) -> int:
        """Rows, at most, of banks that were not in the preparation."""
        return self.cuts.more_rows

    @property
    def has_validation(self) -> bool:
        """Whether the banks gave validation rows."""
        return self.counts.n_validation_rows > 0

    @property
    def most_rows(self) -> int:
        """Training rows of the current banks, at most."""
        return self.counts.n_rows + self.more_rows

    @property
    def most_negatives(self) -> int:
        """Training rows with label 0 of the current banks, at most."""
        return self.counts.n_rows - self.counts.n_positives + self.more_rows

    @property
    def most_positives(self) -> int:
        """Training rows with label 1 of the current banks, at most."""
        return self.counts.n_positives + self.more_rows

    @property
    def best_iteration(self) -> int | None:
        """Best tree by the last metric; None without validation, and before the first tree."""
        return self.history[-1].best_iteration if self.history else None

    def is_finished(self, *, patience: int | None) -> bool:
        """Tell whether all trees have grown, or ``patience`` of them since the best one."""
        if len(self.trees) >= self.num_boost_round:
            return True
        best = self.best_iteration
        return patience is not None and best is not None and len(self.trees) - 1 - best >= patience

    def regrouped(self, *, more_rows: int = 0) -> "TrainingState":
        """Return the state from which another set of banks continues.

        What was counted and cut in the preparation stays. Every bound that is left holds for any
        of the banks that took part, so they may drop out and rejoin between any two steps. What
        sums have said of single bins is forgotten: it held for the rows that were summed.

        With validation the coming step first counts the validation rows again. The metrics of
        earlier trees stay, and with them the best one so far, though they are of other rows: early
        stopping then compares values of unlike rows. That is the price of not computing all earlier
        metrics again; a training whose set of banks changes much should not lean on it.

        A bank that was let in stays let in: if the set of banks changes again before it finishes a
        step, this state is regrouped next, not the one before it.

        Parameters
        ----------
        more_rows : int
            Rows, at most, of the banks that come now and were never counted: neither in the
            preparation nor here. They may be of either label and in any bin, so every bound of
            counts grows by as many.

        Raises
        ------
        DataError
            If that is more rows than a training may have.
        ValueError
            If ``more_rows`` is negative.
        """
        check_more_rows(self.most_rows, more_rows)
        return replace(
            self,
            cuts=replace(self.cuts, more_rows=self.more_rows + more_rows),
            bins=None,
            counts_validation=self.has_validation,
        )

    def to_bytes(self) -> bytes:
        """Return canonical bytes: equal states give equal bytes on every machine."""
        writer = StateWriter()
        writer.raw(schema_digest(self.cuts.schema))
        writer.raw(self.of_params)
        writer.integer(self.num_boost_round, "<u4")
        counts = self.counts
        for count in (
            counts.n_rows,
            counts.n_positives,
            counts.n_validation_rows,
            counts.n_validation_positives,
            self.more_rows,
        ):
            writer.integer(count, "<i8")
        writer.integer(self.counts_validation, "u1")
        writer.array([self.base_score], "<f8")
        write_cuts(writer, self.cuts)
        write_trees(writer, self.trees)
        names = tuple(self.history[0].metrics) if self.history else ()
        writer.integer(len(names), "u1")
        writer.array([EVAL_METRICS.index(name) for name in names], "u1")
        writer.array([progress.metrics[name] for progress in self.history for name in names], "<f8")
        write_bins(writer, self.bins)
        return writer.finish()

    @classmethod
    def from_bytes(cls, data: bytes, *, schema: FeatureSchema) -> "TrainingState":
        """Read back what ``to_bytes`` has written.

        The checksum in the bytes finds damage, not forgery: compare a state from elsewhere, or its
        hash, with what the other banks have. Even forged bytes raise nothing but ``StateError``,
        and no array is allocated that they do not hold.

        Parameters
        ----------
        data : bytes
        schema : FeatureSchema
            Of the training's tables.

        Raises
        ------
        StateError
            If the bytes are not a state, damaged, of another version of the format, or of a
            training with another schema.
        """
        reader = StateReader(data)
        if reader.raw(DIGEST_BYTES) != schema_digest(schema):
            raise StateError(
                "training state is of a training with other features; resume it with the data "
                "contract that it began with"
            )
        of_params = reader.raw(DIGEST_BYTES)
        num_boost_round = reader.integer("<u4")
        counts, more_rows = _read_counts(reader)
        counts_validation = bool(reader.integer("u1", most=1))
        if counts_validation and counts.n_validation_rows == 0:
            raise damaged("it asks for validation rows where there are none")
        base_score = float(reader.finite(1, "<f8")[0])
        if not 0.0 <= base_score <= 1.0:
            raise damaged("its base score is not a probability")
        cuts = read_cuts(reader, schema, n_rows=counts.n_rows, more_rows=more_rows)
        trees = read_trees(reader, cuts)
        if len(trees) > num_boost_round:
            raise damaged(f"it has {len(trees)} trees of {num_boost_round}")
        has_metrics = counts.n_validation_rows > 0 and bool(trees)
        history: list[TreeProgress] = []
        for tree, metrics in zip(
            trees, _read_metrics(reader, len(trees), has_metrics=has_metrics), strict=True
        ):
            history.append(progress_after(history, tree, metrics, n_trees=num_boost_round))
        n_rows = rows_of_sets(cuts, counts.n_rows + more_rows)
        bins = read_bins(reader, n_rows, may_exist=bool(trees))
        reader.finish()
        return cls(
            of_params=of_params,
            num_boost_round=num_boost_round,
            counts=counts,
            base_score=base_score,
            cuts=cuts,
            trees=trees,
            history=tuple(history),
            bins=bins,
            counts_validation=counts_validation,
        )


def params_digest(params: BoosterParams) -> bytes:
    """Return the SHA-256 of all parameters, 32 bytes."""
    return _digest(params.defining())


def progress_after(
    history: Sequence[TreeProgress], tree: Tree, metrics: Mapping[str, float], *, n_trees: int
) -> TreeProgress:
    """Return what is known after one more tree.

    Parameters
    ----------
    history : sequence of TreeProgress
        Of the trees before it.
    tree : Tree
    metrics : mapping of str to float
        The last one decides which tree is best; empty without validation.
    n_trees : int
        Trees asked for.
    """
    best = len(history) if metrics else None
    before = history[-1].best_iteration if history else None
    if before is not None:
        deciding = list(metrics)[-1]
        if not is_better(deciding, metrics[deciding], history[before].metrics[deciding]):
            best = before
    return TreeProgress(
        tree_index=len(history),
        n_trees=n_trees,
        n_leaves=int(np.count_nonzero(tree.left_children == NO_CHILD)),
        metrics=metrics,
        best_iteration=best,
    )


def _digest(document: object) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).digest()


def schema_digest(schema: FeatureSchema) -> bytes:
    """Return the SHA-256 of what a state has to share with its tables, 32 bytes."""
    return _digest([list(schema.names), list(schema.n_categories)])


def _read_counts(reader: StateReader) -> tuple[PooledCounts, int]:
    numbers = [reader.integer("<i8", most=MAX_POOLED_ROWS) for _ in range(5)]
    *pooled, more_rows = numbers
    counts = PooledCounts(*pooled)
    has_validation = counts.n_validation_rows + counts.n_validation_positives > 0
    if not 0 < counts.n_positives < counts.n_rows or (
        has_validation and not 0 < counts.n_validation_positives < counts.n_validation_rows
    ):
        raise damaged("its rows are of one class only")
    if counts.n_rows + more_rows > MAX_POOLED_ROWS:
        raise damaged("it has more rows than there can be")
    return counts, more_rows


def write_cuts(writer: StateWriter, cuts: Cuts) -> None:
    """Write the edges of numeric features and the rows in their bins; the schema has the others."""
    numeric = _numeric(cuts.schema)
    writer.array([len(cuts.values[feature]) for feature in numeric], "<u2")
    for feature in numeric:
        writer.array(cuts.values[feature], "<f4")
        writer.array(cuts.counts[feature], "<i8")


def read_cuts(reader: StateReader, schema: FeatureSchema, *, n_rows: int, more_rows: int) -> Cuts:
    """Read what ``write_cuts`` has written; raises StateError if it cannot be cuts."""
    values = [np.arange(size, dtype=np.float32) for size in schema.n_categories]
    counts: dict[int, Int64Array] = {}
    numeric = _numeric(schema)
    for feature, size in zip(numeric, reader.array(len(numeric), "<u2").tolist(), strict=True):
        if not 1 <= size <= _MOST_BINS:
            raise damaged(f"a feature has {size} bins")
        edges = reader.finite(size, "<f4").astype(np.float32)
        if edges[-1] != np.float32(FLOAT32_MAX) or not (edges[:-1] < edges[1:]).all():
            raise damaged("the edges of a feature do not ascend")
        values[feature] = edges
        counts[feature] = _read_limited(reader, size, most=n_rows)
        if int(counts[feature].sum()) > n_rows:
            raise damaged("the bins of a feature hold more rows than there are")
    return Cuts(schema=schema, values=tuple(values), counts=counts, more_rows=more_rows)


def _numeric(schema: FeatureSchema) -> list[int]:
    return [f for f in range(schema.n_features) if not schema.is_categorical(f)]


def _read_metrics(
    reader: StateReader, n_trees: int, *, has_metrics: bool
) -> list[dict[str, float]]:
    numbers = reader.array(reader.integer("u1"), "u1").tolist()
    if (len(numbers) > 0) != has_metrics:
        raise damaged("there are metrics without validation rows, or none with them")
    if len(set(numbers)) != len(numbers) or max(numbers, default=0) >= len(EVAL_METRICS):
        raise damaged("a metric is unknown or there twice")
    names = [EVAL_METRICS[number] for number in numbers]
    values = reader.finite(n_trees * len(names), "<f8").reshape(n_trees, len(names)).tolist()
    return [dict(zip(names, row, strict=True)) for row in values]


def write_bins(writer: StateWriter, bins: BinBounds | None) -> None:
    """Write what does not follow from counts."""
    root = None if bins is None else bins.root
    writer.integer((bins is not None) + (root is not None), "u1")
    if bins is not None:
        writer.array(bins.masses, "<i8")
    if root is not None:
        writer.array(root.by_label, "<i8")
        writer.array(root.hessian, "<i8")


def read_bins(reader: StateReader, n_rows: Int64Array, *, may_exist: bool) -> BinBounds | None:
    """Read what ``write_bins`` has written; raises StateError if it cannot be bounds."""
    kind = reader.integer("u1", most=2 if may_exist else 0)
    if kind == 0:
        return None
    n_sets = n_rows.size
    masses = _read_limited(reader, 2 * n_sets, most=LARGEST_SUM).reshape(2, n_sets)
    # Two of them stay in int64, as a sum of hessians is bounded by both.
    if (masses[0] > LARGEST_SUM - masses[1]).any():
        raise damaged("the masses of a bin are more than all rows weigh")
    if kind == 1:
        return BinBounds(n_rows, masses)
    by_label = _read_limited(reader, 2 * n_sets, most=LARGEST_SUM).reshape(2, n_sets)
    hessian = _read_limited(reader, n_sets, most=LARGEST_SUM)
    if (by_label > masses).any() or (hessian > masses[0] + masses[1]).any():
        raise damaged("a bin is bounded by more than its masses")
    return BinBounds(n_rows, masses, SumBounds(by_label, hessian))


def _read_limited(reader: StateReader, size: int, *, most: int) -> Int64Array:
    """Read integers of 0 to ``most``."""
    values = reader.array(size, "<i8").astype(np.int64)
    if size and not 0 <= values.min() <= values.max() <= most:
        raise damaged(f"a number is outside 0 to {most}")
    return values
