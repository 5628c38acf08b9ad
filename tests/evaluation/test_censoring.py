"""What is stopped without a report is no clean payment: with it as one, the worse model wins."""

import numpy as np
import pandas as pd
import pytest
import xgboost

from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.world.making import generate
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.metrics import auprc
from fraudfed.features.builders import build_recipe
from fraudfed.intake.windows import Windows, windows_in_time
from fraudfed.wire.messages import DataContract, LabelHorizon

_OPEN = WorldConfig(
    seed=3,
    banks=3,
    customers=450,
    days=60,
    fraud_rate=0.03,
    kind_share=(0.5, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0),
    missed_fraud_share=0.0,
)
_HORIZON = LabelHorizon(days=7)
_SETTINGS = {
    "max_depth": 4,
    "eta": 0.2,
    "objective": "binary:logistic",
    "max_bin": 64,
    "nthread": 1,
}


def _payments(config: WorldConfig) -> pd.DataFrame:
    return pd.concat([rows for _, rows in generate(config)], ignore_index=True)


def _windows(rows: pd.DataFrame) -> Windows:
    start = _OPEN.start_time
    contract = DataContract(
        kind="transactions",
        features=contract_features(RECIPE),
        recipe=RECIPE,
        label_horizon_days=_HORIZON,
        train_until=start + 40 * DAY_SECONDS,
        judge_until=start + 67 * DAY_SECONDS,
    )
    return windows_in_time(build_recipe(RECIPE, rows), rows, contract)


def _scores(features: Float32Array, labels: Float32Array, judged: Float32Array) -> Float32Array:
    matrix = xgboost.QuantileDMatrix(features, labels, max_bin=64)
    model = xgboost.train(_SETTINGS, matrix, 30)
    return model.predict(xgboost.DMatrix(judged))


@pytest.fixture(scope="module")
def watched() -> pd.DataFrame:
    """Make a world whose banks have a system that stops card payments by their amount."""
    return _payments(_OPEN.replace(incumbent_threshold=1.0))


def test_ignoring_what_is_censored_reverses_which_model_is_better(watched: pd.DataFrame) -> None:
    windows = _windows(watched)
    # The same bank without the flag: what was stopped looks like any payment without a report.
    careless = _windows(watched.drop(columns="is_blocked"))
    judge = windows.judge
    assert judge is not None
    assert careless.judge is not None
    assert careless.judge.n_rows == judge.n_rows
    censored = judge.outcomes.is_censored
    assert 0.05 < censored.mean() < 0.5
    informed = _scores(windows.train.features, windows.train.labels, judge.features)
    naive = _scores(careless.train.features, careless.train.labels, judge.features)

    by_clean = [auprc(scores, careless.judge.outcomes.labels) for scores in (informed, naive)]
    labels = judge.outcomes.labels
    by_known = [auprc(scores[~censored], labels[~censored]) for scores in (informed, naive)]
    truth = _truth(watched)
    by_truth = [auprc(scores, truth) for scores in (informed, naive)]

    assert by_truth[0] > by_truth[1] + 0.05
    assert by_known[0] > by_known[1] + 0.02
    assert by_clean[1] > by_clean[0]


def _truth(watched: pd.DataFrame) -> Float32Array:
    """Return what the judged payments were: the kind of fraud says it, reported or not."""
    start = _OPEN.start_time
    time = watched["event_time"]
    inside = (time >= start + 40 * DAY_SECONDS) & (time < start + 60 * DAY_SECONDS)
    return watched.loc[inside, "fraud_kind"].notna().to_numpy(np.float32)
