"""Synthetic rows for measurements: the same arguments give the same table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.wire.messages import DataContract, FeatureSpec

#: Column of the label in a bank's file.
LABEL = "is_fraud"

#: Numbers of categories that the categorical features cycle through: from a pair, which is split
#: one against the rest, to many, which are partitioned.
_CATEGORY_COUNTS = (3, 12, 2, 30)


def synthetic_table(
    n_rows: int,
    n_features: int,
    rng: np.random.Generator,
    *,
    missing: float = 0.0,
    categorical: int = 0,
    prevalence: float = 0.02,
) -> TrainingTable:
    """Draw rows whose label depends on some of the features, with steps and products.

    Parameters
    ----------
    n_rows, n_features : int
        At least 1.
    rng : numpy.random.Generator
    missing : float
        Share of values that are missing, in [0, 1).
    categorical : int
        How many of the features, the last ones, hold category codes.
    prevalence : float
        Share of labels that are 1, in (0, 1).

    Returns
    -------
    TrainingTable
    """
    n_numeric = n_features - categorical
    features = rng.standard_normal((n_rows, n_features)).astype(np.float32)
    # Skewed, like amounts: every third numeric feature.
    features[:, 0:n_numeric:3] = np.exp(features[:, 0:n_numeric:3])
    score = rng.standard_normal(n_rows)
    for feature in range(0, n_numeric, 2):
        column = features[:, feature]
        strength = 1.5 / (1 + feature / 4)
        score += strength * np.where(column > np.median(column), 1.0, -0.5)
        if feature + 1 < n_numeric:
            score += 0.3 * strength * np.tanh(column) * features[:, feature + 1]
    counts = [0] * n_numeric
    for position in range(categorical):
        n_categories = _CATEGORY_COUNTS[position % len(_CATEGORY_COUNTS)]
        counts.append(n_categories)
        codes = rng.integers(0, n_categories, n_rows)
        score += rng.standard_normal(n_categories)[codes]
        features[:, n_numeric + position] = codes
    labels = (score > np.quantile(score, 1.0 - prevalence)).astype(np.float32)
    if missing > 0.0:
        features[rng.random(features.shape) < missing] = np.float32(np.nan)
    return TrainingTable(
        schema=FeatureSchema(
            names=tuple(f"f{feature}" for feature in range(n_features)), n_categories=tuple(counts)
        ),
        features=features,
        labels=labels,
    )


def table_contract(table: TrainingTable) -> DataContract:
    """Return the data contract of files that ``write_shares`` makes of a numeric table."""
    features = tuple(FeatureSpec(name=name) for name in table.schema.names)
    return DataContract(kind="table", features=features, label=LABEL)


def write_shares(table: TrainingTable, shares: Sequence[float], folder: Path) -> dict[str, Path]:
    """Cut a numeric table in the order of its rows, and write each bank's part as Parquet.

    Parameters
    ----------
    table : TrainingTable
    shares : sequence of float
        Size of each bank's part in relation to the others; each bank gets at least one row.
    folder : Path

    Returns
    -------
    dict of bank name to file
    """
    ends = np.round(np.cumsum(shares) / np.sum(shares) * table.n_rows).astype(np.int64)
    files = {}
    for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True), 1):
        frame = pd.DataFrame(table.features[start:end], columns=list(table.schema.names))
        frame[LABEL] = table.labels[start:end].astype(np.int8)
        name = f"bank_{number:02d}"
        files[name] = folder / f"{name}.parquet"
        frame.to_parquet(files[name], index=False)
    return files
