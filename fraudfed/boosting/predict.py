"""Score rows with any model, read or trained: the sum of base margin and leaf values.

Law: the margins are those of ``xgboost.Booster.predict(output_margin=True)``, and do not depend on
the number of threads. The bins of the rows are made of the model's own split points: ``x < t`` is
then ``bin of x <= position of t``, so that the engine which sorts rows while trees grow sorts them
here, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.model import Model
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import Float32Array, Int32Array


def predict_margins(
    model: Model, features: Float32Array, *, threads: int | None = None
) -> Float32Array:
    """Return the margin of each row: the logit of its score, before rounding.

    Parameters
    ----------
    model : Model
        Of any origin; its trees need no bins.
    features : ndarray of shape (n_rows, n_features), dtype=float32
        In the order of the model's features. NaN is missing; categories are codes.
    threads : int or None
        They change no result. None is as many as the process may use cores.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
        Added up in float32, tree after tree, as XGBoost does.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is no category code of its feature.
    """
    *_, margins = growing_margins(model, features, threads=threads)
    return margins


def growing_margins(
    model: Model, features: Float32Array, *, threads: int | None = None
) -> Iterator[Float32Array]:
    """Yield the margin of each row before the first tree, and after each.

    Parameters
    ----------
    model, features, threads
        As ``predict_margins``.

    Yields
    ------
    ndarray of shape (n_rows,), dtype=float32
        The same array each time, which the next tree changes.

    Raises
    ------
    ValueError
        As ``predict_margins``.
    """
    n_rows = len(features)
    table = TrainingTable(model.schema, features, np.zeros(n_rows, dtype=np.float32))
    cuts = _cuts(model.trees, model.schema)
    rows = LocalShard(table, load_engine(threads)).bin(cuts).start((), model.base_score)
    yield rows.margins()
    for tree in model.trees:
        rows.add(replace(tree, split_bins=_split_bins(tree, cuts)))
        yield rows.margins()


def predict(model: Model, features: Float32Array, *, threads: int | None = None) -> Float32Array:
    """Return the fraud probability that the model gives each row.

    Parameters
    ----------
    model, features, threads
        As ``predict_margins``.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32

    Raises
    ------
    ValueError
        As ``predict_margins``.
    """
    return sigmoid(predict_margins(model, features, threads=threads))


def _cuts(trees: Sequence[Tree], schema: FeatureSchema) -> Cuts:
    """Return bins whose edges are the split points of the trees."""
    found: list[list[Float32Array]] = [[] for _ in range(schema.n_features)]
    for tree in trees:
        numeric = (tree.left_children != NO_CHILD) & ~tree.is_categorical
        for feature in np.unique(tree.split_features[numeric]).tolist():
            of_feature = numeric & (tree.split_features == feature)
            found[feature].append(tree.split_conditions[of_feature])
    last = np.array([FLOAT32_MAX], dtype=np.float32)
    return Cuts(
        schema,
        tuple(
            np.arange(schema.n_categories[feature], dtype=np.float32)
            if schema.is_categorical(feature)
            else np.unique(np.concatenate([*points, last]))
            for feature, points in enumerate(found)
        ),
    )


def _split_bins(tree: Tree, cuts: Cuts) -> Int32Array:
    bins = np.full(tree.n_nodes, -1, dtype=np.int32)
    numeric = (tree.left_children != NO_CHILD) & ~tree.is_categorical
    for feature in np.unique(tree.split_features[numeric]).tolist():
        nodes = np.flatnonzero(numeric & (tree.split_features == feature))
        bins[nodes] = np.searchsorted(cuts.values[feature], tree.split_conditions[nodes])
    return bins
