"""Models whose margin is a linear function of other models' margins, each as one stock file.

A margin is the base margin plus leaf values, so ``a + sum of w * margin`` is the trees of all
models with leaves times ``w``, on a base margin of ``a + sum of w * base margin``. XGBoost keeps
that base margin as a probability in float32, and at least 1e-6 away from 0 and 1; what it loses
there (much, near 1) is added to the leaves of the first tree, of which each row has exactly one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fraudfed.boosting.engine.elementary import exp
from fraudfed.boosting.model import Model
from fraudfed.boosting.objective import base_margin
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import Float64Array

#: XGBoost keeps a base score so far from 0 and 1.
_LEAST_BASE_SCORE = 1e-6


def linear_model(
    parts: Sequence[tuple[Model, float]],
    *,
    intercept: float,
    schema: FeatureSchema,
    attributes: Mapping[str, str],
) -> Model:
    """Return the model with the margin ``intercept + sum of weight * margin``.

    Parameters
    ----------
    parts : sequence of (Model, float)
        Models and their weights. The columns of each are columns of ``schema``.
    intercept : float
    schema : FeatureSchema
    attributes : mapping of str to str
        Of the model. Those of ``parts`` speak of other trees: with ``best_iteration`` XGBoost's
        scikit-learn interface scores with the trees up to it only.

    Raises
    ------
    ValueError
        If a column of a part is not in ``schema``, or has other categories there.
    """
    margin = intercept + sum(weight * float(base_margin(m.base_score)) for m, weight in parts)
    trees = [
        _scaled(tree, weight, columns)
        for model, weight in parts
        for columns in [column_positions(model.schema, schema)]
        for tree in model.trees
    ]
    base_score = _base_score(margin)
    trees[0] = _raised(trees[0], margin - float(base_margin(base_score)))
    return Model(
        trees=tuple(trees),
        base_score=base_score,
        schema=schema,
        scale_pos_weight=parts[0][0].scale_pos_weight,
        attributes=attributes,
        statistics_bits=min(model.statistics_bits for model, _ in parts),
    )


def column_positions(part: FeatureSchema, whole: FeatureSchema) -> list[int]:
    """Return where the columns of a schema stand in another that has them all.

    Raises
    ------
    ValueError
        If one is not there, or has other categories there.
    """
    places = {name: place for place, name in enumerate(whole.names)}
    found = []
    for column, name in enumerate(part.names):
        if name not in places:
            raise ValueError(f"column {name!r} is not among the columns of the rows")
        place = places[name]
        if part.n_categories[column] != whole.n_categories[place] or (
            part.categories
            and whole.categories
            and part.categories[column] != whole.categories[place]
        ):
            raise ValueError(f"column {name!r} has other categories in one model than in the other")
        found.append(place)
    return found


def _base_score(margin: float) -> float:
    small = float(exp(np.array([-abs(margin)]))[0])
    probability = (small if margin < 0 else 1.0) / (1.0 + small)
    kept = min(max(probability, _LEAST_BASE_SCORE), 1.0 - _LEAST_BASE_SCORE)
    return float(np.float32(kept))


def _scaled(tree: Tree, weight: float, columns: Sequence[int]) -> Tree:
    is_leaf = tree.left_children == NO_CHILD
    features = np.where(is_leaf, 0, np.array(columns)[tree.split_features]).astype(np.int32)
    return replace(
        _with_leaves(tree, tree.split_conditions.astype(np.float64) * weight),
        split_features=features,
        base_weights=(tree.base_weights.astype(np.float64) * weight).astype(np.float32),
    )


def _raised(tree: Tree, amount: float) -> Tree:
    return _with_leaves(tree, tree.split_conditions.astype(np.float64) + amount)


def _with_leaves(tree: Tree, values: Float64Array) -> Tree:
    """Return a tree with other leaf values, rounded once; split points stay."""
    is_leaf = tree.left_children == NO_CHILD
    conditions = np.where(is_leaf, values, tree.split_conditions).astype(np.float32)
    return replace(tree, split_conditions=conditions)
