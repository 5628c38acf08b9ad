"""A contract of incoming payments at a bank: what is trained on, scored and written."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from oracles.inbound import random_flows

from bank_node.data.contract import load_scoring_rows, load_training_rows
from bank_node.serving.feature_export import export_features
from fraudfed.catalogue.inbound import INBOUND_FEATURES, INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.catalogue.run_check import check_contract, needs_tables
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.inbound import build_inbound_features
from fraudfed.wire.messages import DataContract, LabelHorizon

CONTRACT = DataContract(
    kind="transactions",
    recipe=INBOUND_RECIPE,
    features=contract_features(INBOUND_RECIPE),
    label_horizon_days=LabelHorizon(days=7),
)


@pytest.fixture
def frame() -> pd.DataFrame:
    return random_flows(np.random.default_rng(8), 120).drop(columns=["latitude", "longitude"])


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_only_inbound_rows_are_trained_on_and_scored(
    frame: pd.DataFrame, suffix: str, tmp_path: Path
) -> None:
    weights = np.arange(1, 121) / 121
    file = tmp_path / f"both.{suffix}"
    weighted = frame.assign(weight=weights)
    weighted.to_csv(file, index=False) if suffix == "csv" else weighted.to_parquet(file)
    inbound = (frame["direction"] == "inbound").to_numpy()
    expected = build_inbound_features(frame)

    contract = CONTRACT.model_copy(update={"weight": "weight"})
    trained = load_training_rows(file, contract)
    assert trained.rows_read == len(frame)
    np.testing.assert_array_equal(trained.table.features, expected.values)
    np.testing.assert_array_equal(trained.table.labels, frame["is_fraud"][inbound])
    np.testing.assert_array_equal(trained.table.weights, weights[inbound].astype(np.float32))
    # Columns of other payments are no loss here.
    assert not any("no column" in warning for warning in trained.warnings)

    scored = load_scoring_rows(file, CONTRACT)
    np.testing.assert_array_equal(scored.features, expected.values)
    assert scored.identifiers is not None
    assert scored.identifiers.to_pylist() == frame["transaction_id"][inbound].tolist()

    out = tmp_path / "features.parquet"
    assert export_features(file, out, contract=CONTRACT) == inbound.sum()
    written = pd.read_parquet(out)
    assert written["transaction_id"].tolist() == frame["transaction_id"][inbound].tolist()
    assert list(written)[4:] == [feature.name for feature in INBOUND_FEATURES]


def test_a_file_without_payments_of_the_recipes_direction(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    file = tmp_path / "outgoing.parquet"
    frame[frame["direction"] == "outbound"].drop(columns="direction").to_parquet(file)
    for load in (load_training_rows, load_scoring_rows):
        with pytest.raises(DataError, match=r"outgoing.parquet: none of \d+ payments is inbound, "):
            load(file, CONTRACT)
    card = CONTRACT.model_copy(update={"recipe": RECIPE, "features": contract_features()})
    arrivals = tmp_path / "arrivals.parquet"
    frame[frame["direction"] == "inbound"].to_parquet(arrivals)
    with pytest.raises(DataError, match=r"none of \d+ payments is outbound, expected payments tha"):
        load_scoring_rows(arrivals, card)


def test_features_of_one_recipe_are_none_of_the_other() -> None:
    check_contract(CONTRACT)
    assert not needs_tables(CONTRACT)
    mixed = CONTRACT.model_copy(update={"features": contract_features()})
    with pytest.raises(ConfigurationError, match="is none of recipe 'fraudfed-inbound-2'"):
        check_contract(mixed)
    unknown = CONTRACT.model_copy(update={"recipe": "fraudfed-inbound-9"})
    with pytest.raises(ConfigurationError, match="data contract: recipe 'fraudfed-inbound-9'"):
        check_contract(unknown)
    shared = contract_features(INBOUND_RECIPE, shared=True)
    with pytest.raises(ConfigurationError, match="names 0 risk tables, expected them exactly for"):
        check_contract(CONTRACT.model_copy(update={"features": shared}))
    assert needs_tables(CONTRACT.model_copy(update={"features": shared}))


def test_what_workers_cannot_build_is_built_here_and_that_is_said(
    frame: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "both.parquet"
    frame.to_parquet(file)
    here, asked = tmp_path / "here.parquet", tmp_path / "asked.parquet"
    export_features(file, here, contract=CONTRACT)
    # No cluster is asked anything.
    cluster: Any = object()
    export_features(file, asked, contract=CONTRACT, cluster=cluster)
    assert asked.read_bytes() == here.read_bytes()
    assert "read and worked on in this program" in caplog.text
