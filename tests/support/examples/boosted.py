"""Rows with missing values and named categories, models trained on them, and XGBoost's scores."""

from dataclasses import dataclass

import numpy as np
import xgboost

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.parameters import BoosterParams

SCHEMA = FeatureSchema(
    names=("amount", "channel", "hour", "shared_rate"),
    n_categories=(0, 3, 0, 0),
    categories=((), ("card", "transfer", "Ünlü"), (), ()),
)
#: Without the column of shared risk, as a bank's own model may be.
OWN_SCHEMA = FeatureSchema(SCHEMA.names[:3], SCHEMA.n_categories[:3], SCHEMA.categories[:3])


@dataclass(frozen=True, eq=False)
class Rows:
    """Features in the order of ``SCHEMA``, with labels."""

    features: Float32Array
    labels: Float32Array

    @property
    def own_features(self) -> Float32Array:
        """The columns of ``OWN_SCHEMA``."""
        return np.ascontiguousarray(self.features[:, :3])

    def judged(self) -> JudgedRows:
        """Return the rows as those of a window of one bank."""
        outcomes = Outcomes(labels=self.labels, is_blocked=np.zeros(self.labels.size, np.bool_))
        return JudgedRows(SCHEMA, self.features, outcomes)


def rows(seed: int, n_rows: int, *, shift: float = 0.0, local: float = 0.0) -> Rows:
    """Draw rows.

    Parameters
    ----------
    seed, n_rows : int
    shift : float
        Added to the logit of every row.
    local : float
        Weight of what only this bank sees.
    """
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, 4)).astype(np.float32)
    features[:, 1] = rng.integers(0, 3, n_rows)
    logit = -2.0 + shift + features[:, 0] + 1.5 * (features[:, 1] == 2) + features[:, 3]
    logit = logit + local * np.abs(features[:, 2])
    labels = (rng.random(n_rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    return Rows(features, labels)


def trained(schema: FeatureSchema, features: Float32Array, labels: Float32Array, **more) -> Model:
    """Train a small model on one bank's rows."""
    params = BoosterParams.parse({"num_boost_round": 6, "max_depth": 3, "eta": 0.4, **more})
    return train(params, TrainingTable(schema, features, labels), SoloCommunicator()).model


def booster_of(content: bytes) -> xgboost.Booster:
    """Load a model into XGBoost itself."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    return booster


def xgboost_margins(content: bytes, schema: FeatureSchema, features: Float32Array) -> Float32Array:
    """Return the margins that XGBoost itself gives rows."""
    data = xgboost.DMatrix(
        features,
        feature_names=list(schema.names),
        feature_types=["c" if n else "float" for n in schema.n_categories],
        enable_categorical=True,
    )
    margins: Float32Array = booster_of(content).predict(data, output_margin=True)
    return margins
