"""The default world rewards sharing: a model of all banks' rows beats most banks' own models.

The federation trains the model of the pooled rows, so plain xgboost on pooled rows stands for it
here.
"""

import numpy as np
import pandas as pd
import xgboost
from sklearn.metrics import average_precision_score

from data_gen.config import WorldConfig
from fraudfed.features import build_features, check_transactions

PARAMETERS = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": 5,
    "max_bin": 64,
    "eta": 0.2,
    "nthread": 1,
}


def test_pooled_experience_beats_own_experience(default_banks: dict[str, pd.DataFrame]) -> None:
    config = WorldConfig()
    train: list[tuple[np.ndarray, np.ndarray]] = []
    test: list[tuple[np.ndarray, np.ndarray]] = []
    kinds: list[str] = []
    for name, frame in default_banks.items():
        check_transactions(frame, source=name)
        features = build_features(frame, label_delay_seconds=config.label_delay_seconds)
        kinds = ["c" if n else "q" for n in features.schema.n_categories]
        time = frame["event_time"].to_numpy()
        label = frame["is_fraud"].to_numpy()
        known = frame["label_time"].to_numpy() <= config.split_time
        early = (time < config.split_time - config.label_delay_seconds) & known
        late = time >= config.split_time
        train.append((features.values[early], label[early]))
        test.append((features.values[late], label[late]))

    def matrix(values: np.ndarray, label: np.ndarray) -> xgboost.DMatrix:
        return xgboost.DMatrix(values, label, feature_types=kinds, enable_categorical=True)

    def average_precision(model: xgboost.Booster) -> list[float]:
        return [average_precision_score(y, model.predict(matrix(x, y))) for x, y in test]

    own = [
        average_precision(xgboost.train(PARAMETERS, matrix(x, y), 30))[bank]
        for bank, (x, y) in enumerate(train)
    ]
    pooled_rows = [np.concatenate(column) for column in zip(*train, strict=True)]
    pooled = average_precision(xgboost.train(PARAMETERS, matrix(*pooled_rows), 30))
    # Far above chance (about 0.01) and below perfection: learnable, but not easy.
    assert 0.25 < np.mean(pooled) < 0.90
    # Measured 0.2 above; half of it leaves room for another xgboost release.
    assert np.mean(pooled) > np.mean(own) + 0.08
