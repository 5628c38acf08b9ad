"""Small tables, terms and parameters for private trainings."""

from dataclasses import replace
from typing import Any

import numpy as np

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.terms import PrivacyTerms

SCHEMA = FeatureSchema(("amount", "hour", "kind"), (0, 0, 5))
PARAMS = BoosterParams(
    num_boost_round=6, max_depth=3, max_bin=12, min_child_weight=0, max_delta_step=2
)


def terms_of(**given: Any) -> PrivacyTerms:
    """Return terms with little noise, but for what is given."""
    base: dict[str, Any] = {
        "epsilon": 20.0,
        "tolerated_colluders": 1,
        "declared_rows": 1 << 20,
        "features_per_tree": 2,
    }
    return PrivacyTerms(**{**base, **given})


def table_of(n_rows: int = 3000, *, seed: int = 0, weighted: bool = False) -> TrainingTable:
    """Return rows with two strong features, missing values and customers of about 20 rows."""
    rng = np.random.default_rng(seed)
    features = np.column_stack(
        [
            np.round(rng.lognormal(3, 1, n_rows), 2),
            rng.integers(0, 24, n_rows),
            rng.integers(0, 5, n_rows),
        ]
    ).astype(np.float32)
    features[rng.random(features.shape) < 0.05] = np.nan
    odds = -2.0 + (np.nan_to_num(features[:, 0]) > 40) * 2.5 + (features[:, 2] == 3) * 2.0
    labels = (rng.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(np.float32)
    weights = rng.uniform(0.1, 2.0, n_rows).astype(np.float32) if weighted else None
    customers = rng.integers(0, max(n_rows // 20, 1), n_rows).astype(np.int64)
    return TrainingTable(
        SCHEMA, features, labels, weights, max_weight=2.0 if weighted else 1.0, customers=customers
    )


def part_of(table: TrainingTable, rows: np.ndarray) -> TrainingTable:
    """Return some rows of a table with customers."""
    if table.customers is None:
        raise ValueError("the table has no customers")
    return replace(
        table,
        features=table.features[rows],
        labels=table.labels[rows],
        weights=None if table.weights is None else table.weights[rows],
        customers=table.customers[rows],
    )
