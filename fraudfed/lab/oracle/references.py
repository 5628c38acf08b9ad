"""The models a federation is compared with: each bank's own, and one on everybody's rows.

Only a demo can train the second: it is what XGBoost would do if the banks were one table.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xgboost

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import Float32Array
from fraudfed.lab.oracle.same_trees import xgboost_parameters
from fraudfed.parameters import BoosterParams


def train_reference(
    table: TrainingTable, parameters: Mapping[str, Any], *, threads: int
) -> xgboost.Booster | None:
    """Train stock XGBoost on one table; None where the table holds only one class."""
    if np.unique(table.labels).size < 2:
        return None
    params = BoosterParams.parse(parameters)
    matrix = xgboost.QuantileDMatrix(
        table.features,
        table.labels,
        weight=table.weights,
        feature_names=list(table.schema.names),
        feature_types=_feature_types(table.schema),
        max_bin=params.max_bin,
        enable_categorical=True,
        nthread=threads,
    )
    return xgboost.train(
        xgboost_parameters(parameters, threads=threads), matrix, params.num_boost_round
    )


def predict(booster: xgboost.Booster, table: TrainingTable) -> Float32Array:
    """Return the fraud probability of each row, shape (n_rows,), dtype=float32."""
    return np.asarray(booster.predict(matrix_of(table)), dtype=np.float32)


def matrix_of(table: TrainingTable, *, threads: int | None = None) -> xgboost.DMatrix:
    """Return a table as XGBoost predicts and evaluates it, values as they are."""
    return xgboost.DMatrix(
        table.features,
        table.labels,
        feature_names=list(table.schema.names),
        feature_types=_feature_types(table.schema),
        enable_categorical=True,
        nthread=threads,
    )


def pool(tables: Sequence[TrainingTable]) -> TrainingTable:
    """Lay the banks' tables in one, in the order given."""
    weights = [table.weights for table in tables if table.weights is not None]
    return TrainingTable(
        schema=tables[0].schema,
        features=np.concatenate([table.features for table in tables]),
        labels=np.concatenate([table.labels for table in tables]),
        weights=np.concatenate(weights) if len(weights) == len(tables) else None,
        max_weight=tables[0].max_weight,
    )


def _feature_types(schema: FeatureSchema) -> list[str]:
    return ["c" if schema.is_categorical(i) else "float" for i in range(schema.n_features)]
