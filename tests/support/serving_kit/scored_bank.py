"""A bank with the model of a run, trained on payments that are made here."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bank_node.config import BankConfig
from bank_node.data.contract import load_training_rows
from bank_node.lifecycle.changes import Wish, stage
from bank_node.lifecycle.stage_history import Action
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.identity import Identity
from fraudfed.features.table import feature_schema
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    FeatureType,
    PublicKeyMessage,
    RunKind,
    RunSpec,
)

DAY = 86_400
START = 1_700_006_400
RUN = "run-1"
OTHER_RUN = "run-2"
OTHER_DELAY_RUN = "run-3"
PARAMETERS = {"num_boost_round": 5, "max_depth": 3, "eta": 0.3}


def payments(seed: int = 1, n_rows: int = 2000) -> pd.DataFrame:
    """Draw payments of 60 days, in the order of their times."""
    rng = np.random.default_rng(seed)
    amounts = rng.lognormal(8, 1, n_rows).astype(np.int64)
    times = np.sort(rng.integers(START, START + 60 * DAY, n_rows))
    is_fraud = ((amounts > 8000) & (rng.random(n_rows) < 0.5)).astype(np.int64)
    return pd.DataFrame(
        {
            "transaction_id": [f"t{i}" for i in range(n_rows)],
            "event_time": times,
            "label_time": times + 3 * DAY,
            "customer_id": rng.choice([f"c{i}" for i in range(100)], n_rows),
            "merchant_id": rng.choice([f"m{i}" for i in range(30)], n_rows),
            "terminal_id": rng.choice([f"k{i}" for i in range(60)], n_rows),
            "device_id": rng.choice([f"d{i}" for i in range(90)], n_rows),
            "channel": rng.choice(["pos", "ecommerce"], n_rows),
            "merchant_category": "grocery",
            "amount_minor": amounts,
            "is_fraud": is_fraud,
        }
    )


def contract(**changes: Any) -> DataContract:
    """Return a contract of all features but those of shared risk."""
    schema = feature_schema()
    features = tuple(
        FeatureSpec(name=name, type=FeatureType.CATEGORICAL, categories=categories)
        if categories
        else FeatureSpec(name=name)
        for name, categories in zip(schema.names, schema.categories, strict=True)
    )
    return DataContract(
        kind="transactions",
        recipe="fraudfed-card-2",
        features=features,
        **changes,
    )


def make_bank(root: Path) -> StateDirectory:
    """Make the state directory: a champion, another model that fits it, and one that does not."""
    data = root / "payments.parquet"
    payments().to_parquet(data)
    identity = Identity.generate()
    keys = identity.member("a")
    config = BankConfig(
        name="a",
        aggregator="http://localhost:1",
        signing_key=keys.signing_key,
        agreement_key=keys.agreement_key,
    )
    state = StateDirectory.create(root / "state", config, identity)
    for run_id, seed, delay in ((RUN, 1, 0), (OTHER_RUN, 2, 0), (OTHER_DELAY_RUN, 3, 7)):
        terms = contract(risk_delay_days=delay)
        parameters = {**PARAMETERS, "max_depth": 2 + seed % 2, "num_boost_round": 4 + seed}
        spec = RunSpec(name="test", key_epoch=1, parameters=parameters, contract=terms)
        key = PublicKeyMessage(n="f", fingerprint="0" * 64)
        state.pin_run(PinnedRun(run_id=run_id, spec=spec, cohort=("a", "b", "c"), public_key=key))
        table = load_training_rows(data, terms).windows.train
        model = train(BoosterParams.parse(parameters), table, SoloCommunicator()).model
        state.model_path(run_id).write_bytes(model.to_json())
    state.save_config(state.config.with_last_run(RunKind.TRAINING, RUN))
    put(state, Action.PROMOTE, RUN)
    return state


def put(state: StateDirectory, action: Action, run_id: str) -> None:
    """Bring the model of a run into a stage of the life cycle, without a gate."""
    without_gate = "a test" if action is Action.PROMOTE else None
    stage(state, action, run_id, Wish(by="test", without_gate=without_gate))
