"""Banks that lack columns train with those that have them, and score what they have."""

import numpy as np
import pandas as pd
from cohorts.exact import run_cohort
from oracles.features import DAY, random_table

from bank_node.data.contract import load_scoring_rows, load_training_rows
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.features import RECIPE, contract_features
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, LabelHorizon

CONTRACT = DataContract(
    kind="transactions",
    recipe=RECIPE,
    features=contract_features(),
    label_horizon_days=LabelHorizon(days=7),
)
PARAMS = BoosterParams.parse({"num_boost_round": 4, "max_depth": 3, "max_bin": 16})
LACKING = (["device_id"], [], ["latitude", "longitude", "payee_id", "channel"])


def payments(seed: int) -> pd.DataFrame:
    """Return payments of which those from a device are fraud more often."""
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 300, days=60)
    frame["is_fraud"] = (frame["device_id"].notna() & (rng.random(300) < 0.8)).astype(int)
    frame["label_time"] = frame["event_time"] + DAY
    return frame


def test_the_model_is_that_of_one_table_with_gaps(tmp_path) -> None:
    tables = []
    for bank, lacking in enumerate(LACKING):
        path = tmp_path / f"bank_{bank}.parquet"
        payments(bank).drop(columns=lacking).to_parquet(path)
        rows = load_training_rows(path, CONTRACT)
        tables.append(rows.table)
        assert all(column in " ".join(rows.warnings) for column in lacking)
        assert len(load_scoring_rows(path, CONTRACT).features) == 300
    names = tables[0].schema.names
    device, place = names.index("device_age_seconds"), names.index("distance_km")
    gone = [[np.isnan(t.features[:, i]).all() for t in tables] for i in (device, place)]
    assert gone == [[True, False, False], [False, False, True]]
    pooled = TrainingTable(
        schema=tables[0].schema,
        features=np.concatenate([table.features for table in tables]),
        labels=np.concatenate([table.labels for table in tables]),
    )
    expected = train(PARAMS, pooled, SoloCommunicator()).model
    used = {
        names[int(feature)]
        for tree in expected.trees
        for feature in tree.split_features[tree.left_children >= 0]
    }
    # What one bank lacks decides all the same.
    assert used & {"new_device", "device_age_seconds"}
    found = run_cohort(
        len(tables), lambda bank, communicator: train(PARAMS, tables[bank], communicator)
    )
    assert [result.model.sha256 for result in found] == [expected.sha256] * 3
