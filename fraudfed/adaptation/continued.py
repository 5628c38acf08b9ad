"""A few more trees on a bank's own rows: the shared model, continued.

The trees are grown by our own boosting on margins that begin with those of the shared model, and
stand behind its trees: one stock XGBoost file, with the base score of the shared model.
``xgboost.train(xgb_model=...)`` would give such a file, too. It is not used because its bytes
depend on its release and on the number of threads, and because what a bank cannot make again it
cannot check. (A ``base_margin`` is in no file: a model trained on one scores wrongly without it.)

How many trees: at most 50, and the number with the least log loss on the later third of the frauds
after growing on the rows before (early stopping in time); then so many are grown on all rows.
"""

from dataclasses import dataclass, replace

import numpy as np

from fraudfed.adaptation.logistic_fit import log_loss
from fraudfed.boosting.bounds.rows import MarginRange, NodeBounds
from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.growth.grower import grow_tree
from fraudfed.boosting.model import Model
from fraudfed.boosting.objective import gradient_bounds
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.sampling import row_keys
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array, UInt64Array
from fraudfed.parameters import BoosterParams

MOST_TREES = 50
#: Small steps of small trees: what the shared model knows is corrected, not learnt again.
PARAMETERS = BoosterParams.parse(
    {"eta": 0.03, "max_depth": 3, "max_bin": 64, "num_boost_round": MOST_TREES}
)


@dataclass(frozen=True, eq=False)
class _Part:
    """Some rows, and their margins before the first further tree; shape (n_rows,)."""

    table: TrainingTable
    margins: Float32Array


def continued_model(
    shared: Model,
    features: Float32Array,
    labels: Float32Array,
    event_time: Int64Array | None,
    *,
    threads: int | None = None,
) -> Model | None:
    """Return the shared model with further trees; None if none makes it better on later rows.

    Parameters
    ----------
    shared : Model
    features : ndarray of shape (n_rows, n_features), dtype=float32
        In the columns of the shared model.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1; at least three of each.
    event_time : ndarray of shape (n_rows,), dtype=int64, or None
        UTC epoch seconds. Without times the later third is one drawn by the rows' content.
    threads : int or None
        They change no result.
    """
    table = TrainingTable(shared.schema, features, labels)
    margins = predict_margins(shared, features, threads=threads)
    order = row_keys(table) if event_time is None else event_time.astype(np.uint64)
    is_later = later_third(order, labels)
    early, late = (
        _Part(TrainingTable(shared.schema, features[rows], labels[rows]), margins[rows])
        for rows in (~is_later, is_later)
    )
    if any(len(np.unique(part.table.labels)) < 2 for part in (early, late)):
        return None  # all frauds at one time: no part of them is later
    losses = [log_loss(late.margins, late.table.labels)]
    _grow(early, MOST_TREES, threads, watched=late, losses=losses)
    best = int(np.argmin(losses))
    if best == 0:
        return None
    grown = _grow(_Part(table, margins), best, threads)
    return replace(
        shared,
        trees=(*shared.trees, *grown),
        attributes={"adapted": f"continued by {best} trees"},
    )


def later_third(order: UInt64Array, labels: Float32Array) -> BoolArray:
    """Tell the rows from that fraud on before which two thirds of the frauds lie.

    Parameters
    ----------
    order : ndarray of shape (n_rows,), dtype=uint64
        Times, or what stands for them. Rows of one time stay together.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1; at least one fraud.
    """
    of_frauds = np.sort(order[labels == 1])
    first = of_frauds[2 * of_frauds.size // 3]
    is_later: BoolArray = order >= first
    return is_later


def _grow(
    part: _Part,
    n_trees: int,
    threads: int | None,
    *,
    watched: _Part | None = None,
    losses: list[float] | None = None,
) -> list[Tree]:
    """Grow trees on margins that begin with those of ``part``.

    The log loss of ``watched`` after each tree is appended to ``losses``.
    """
    table, engine, alone = part.table, load_engine(threads), SoloCommunicator()
    shard = LocalShard(table, engine)
    cuts = find_cuts(shard, alone, max_bin=PARAMETERS.max_bin, n_rows_total=table.n_rows)
    rows = shard.bin(cuts).start_from(part.margins.copy())
    if watched is not None:
        later = LocalShard(watched.table, engine).bin(cuts).start_from(watched.margins.copy())
    reach = MarginRange(low=float(part.margins.min()), high=float(part.margins.max()))
    trees: list[Tree] = []
    for index in range(n_trees):
        growing = rows.grow(scale_pos_weight=1.0)
        low, high = sigmoid(np.array([reach.low, reach.high], dtype=np.float32))
        grown = grow_tree(
            growing,
            cuts,
            PARAMETERS,
            alone,
            engine=engine,
            tree_index=index,
            bounds=NodeBounds(
                n_rows=table.n_rows,
                n_negatives=table.n_rows - shard.n_positives,
                n_positives=shard.n_positives,
                row=gradient_bounds(max_weight=1.0, scale_pos_weight=1.0),
                min_probability=float(low),
                max_probability=float(high),
            ),
        )
        growing.finish(grown.tree.split_conditions)
        reach = reach.after(grown.tree)
        trees.append(grown.tree)
        if watched is not None and losses is not None:
            later.add(grown.tree)
            losses.append(log_loss(later.margins(), watched.table.labels))
    return trees
