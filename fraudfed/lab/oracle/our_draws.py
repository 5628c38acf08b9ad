"""Stock XGBoost on *our* samples of rows and columns, one tree at a time.

XGBoost draws from a generator, we by a hash of each row's content (``boosting.sampling``), so two
whole trainings cannot be compared. But XGBoost can be given our draws. A row that it does not draw
itself has its gradient set to zero (``src/tree/hist/sampler.cc``), which a weight of 0 does, too.
And of columns it keeps the ``n`` with the largest keys ``log(u) / w`` (``src/common/random.h``,
``WeightedSamplingWithoutReplacement``; Efraimidis and Spirakis, "Weighted random sampling with a
reservoir", Information Processing Letters 97, 2006), ``u`` uniform and ``w`` the weight of the
feature: if ours are 36 orders of magnitude heavier than the others, it draws ours.

Each tree is a training of one round from our margins before it (``base_margin``). So a difference
in one tree does not spoil the comparison of the next.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.predict import growing_margins
from fraudfed.boosting.sampling import ColumnSampler, row_keys, sample_rows
from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.lab.oracle.same_rows import JsonTree
from fraudfed.lab.oracle.same_trees import (
    TreeComparer,
    TreeComparison,
    json_trees,
    quantile_matrix,
    table_of_bins,
    with_all_categories,
    xgboost_parameters,
)
from fraudfed.parameters import BoosterParams

#: Weight of a drawn feature; XGBoost lifts that of the others, 0, to 1e-6 (``kRtEps``).
_DRAWN = np.float32(1e30)


def has_draws(params: BoosterParams) -> bool:
    """Tell whether any rows or columns are sampled."""
    return params.subsample < 1.0 or params.colsample_bytree < 1.0 or not can_be_given(params)


def can_be_given(params: BoosterParams) -> bool:
    """Tell whether XGBoost can be given our draws: not those of single levels and nodes."""
    return params.colsample_bylevel >= 1.0 and params.colsample_bynode >= 1.0


def compare_on_our_draws(
    model_json: bytes,
    table: TrainingTable,
    cuts: Cuts,
    settings: Mapping[str, Any],
    *,
    threads: int,
) -> TreeComparison:
    """Let stock XGBoost grow each tree of a model on the rows and columns that it drew.

    Parameters
    ----------
    model_json : bytes
        Our model.
    table : TrainingTable
        The pooled rows that it was trained on.
    cuts : Cuts
        Of that training.
    settings : mapping
        The run's parameters under XGBoost's names; ``can_be_given`` is true of them.
    threads : int
        XGBoost's ``nthread``.

    Raises
    ------
    StateError
        If the bytes are no model of the table's features.
    """
    params = BoosterParams.parse(settings)
    codes = table_of_bins(table, cuts)
    stock = _StockTrees(with_all_categories(codes), params, settings, threads)
    keys = row_keys(table)
    comparer = TreeComparer(cuts, codes)
    model = read_model(model_json, schema=table.schema, source="the model to compare")
    margins = growing_margins(model, table.features, threads=threads)
    # Margins come once more, after the last tree.
    for number, (tree, before) in enumerate(zip(json_trees(model_json), margins, strict=False)):
        rows = sample_rows(keys, seed=params.seed, tree_index=number, fraction=params.subsample)
        sampler = ColumnSampler(params, n_features=codes.schema.n_features, tree_index=number)
        other = stock.grow(rows, sampler.tree_features, before)
        comparer.add(tree, other, codes.features[rows])
    return comparer.result


class _StockTrees:
    """Grows single trees on one matrix, whose weights and margins change."""

    def __init__(
        self,
        codes: TrainingTable,
        params: BoosterParams,
        settings: Mapping[str, Any],
        threads: int,
    ) -> None:
        self._matrix = quantile_matrix(codes, max_bin=params.max_bin, threads=threads)
        self._weights = np.ones_like(codes.labels) if codes.weights is None else codes.weights
        self._n_features = codes.schema.n_features
        # Margins are given, so what they begin with must not be estimated.
        self._settings = xgboost_parameters(settings, threads=threads) | {
            "subsample": 1.0,
            "base_score": 0.5,
        }

    def grow(self, rows: BoolArray, features: Int64Array, margins: Float32Array) -> JsonTree:
        """Grow one tree.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), dtype=bool
            Which are drawn.
        features : ndarray of shape (n_drawn,), dtype=int64
            Those of the tree.
        margins : ndarray of shape (n_rows,), dtype=float32
            Before the tree.
        """
        # The matrix may have one row more, which counts nothing.
        drawn = np.zeros_like(self._weights)
        drawn[: rows.size][rows] = self._weights[: rows.size][rows]
        before = np.zeros_like(self._weights)
        before[: rows.size] = margins
        of_features = np.zeros(self._n_features, dtype=np.float32)
        of_features[features] = _DRAWN
        self._matrix.set_info(weight=drawn, base_margin=before, feature_weights=of_features)
        booster = xgboost.train(self._settings, self._matrix, num_boost_round=1)
        (tree,) = json_trees(bytes(booster.save_raw("json")))
        return tree
