"""The rows that decide early stopping: a fixed share, chosen by their content.

A hash of its own features, label and weight makes a row a validation row. So the choice depends
neither on the bank that holds the row nor on the order of rows, and no bank has to be told.
"""

import numpy as np

from fraudfed.boosting.sampling import row_keys, sample_rows
from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import BoolArray

#: One row in five decides when to stop, four are trained on.
TRAINING_FRACTION = 0.8
#: Beyond every number of a tree: independent of the rows that ``subsample`` draws.
_DRAW = 1 << 32


def split_validation(table: TrainingTable, *, seed: int) -> tuple[TrainingTable, TrainingTable]:
    """Return the rows to train on and those that decide early stopping.

    Parameters
    ----------
    table : TrainingTable
    seed : int
        The run's ``seed``, the same at every bank.
    """
    training = sample_rows(row_keys(table), seed=seed, tree_index=_DRAW, fraction=TRAINING_FRACTION)
    return _take(table, training), _take(table, ~training)


def _take(table: TrainingTable, rows: BoolArray) -> TrainingTable:
    return TrainingTable(
        schema=table.schema,
        # Kept column by column, as binning reads it.
        features=np.ascontiguousarray(table.features.T[:, rows]).T,
        labels=table.labels[rows],
        weights=None if table.weights is None else table.weights[rows],
        max_weight=table.max_weight,
    )
