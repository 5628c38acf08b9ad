"""A bank whose models ask for shared risk, with two sets of tables that give other scores."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from oracles.shared_risk import KEY, risk_spec, solo_tables

from bank_node.data.contract import load_training_rows
from bank_node.lifecycle.stage_history import Action
from bank_node.serving.scorer import Scorer
from bank_node.state.directory import TABLES_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.risk_file import RiskFile
from fraudfed.boosting.train import train
from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.communicator import SoloCommunicator
from fraudfed.features import build_features
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.table import feature_schema
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.windows import contract_columns
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    FeatureType,
    PublicKeyMessage,
    RiskEntity,
    RunSpec,
)
from serving_kit.scored_bank import DAY, PARAMETERS, START, make_bank, payments, put

SHARED_RUNS = ("shared-1", "shared-2")
INBOUND_RUN = "inbound-1"
#: The last day of the tables.
LAST_DAY = START // DAY + 61
_RISK_RUN = "zz-risk"


def shared_contract(recipe: str = RECIPE, *, shared: bool = True) -> DataContract:
    """Return a contract with the features of shared risk that terminals and merchants have."""
    schema = feature_schema(recipe, shared=shared)
    features = tuple(
        FeatureSpec(name=name, type=FeatureType.CATEGORICAL, categories=categories)
        if categories
        else FeatureSpec(name=name)
        for name, categories in zip(schema.names, schema.categories, strict=True)
        if not name.startswith(("shared_payee", "shared_payer"))
    )
    named = (_digest(0),) if shared else ()
    return DataContract(kind="transactions", recipe=recipe, features=features, shared_risk=named)


def _digest(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


@dataclass(frozen=True, eq=False)
class SharedBank:
    """The bank, and what its service is to answer.

    Attributes
    ----------
    state : StateDirectory
    tables : tuple of RiskFile
        Two, of the same days.
    """

    state: StateDirectory
    tables: tuple[RiskFile, RiskFile]

    def use_tables(self, tables: RiskFile) -> str:
        """Put tables in the place of those before, and return their digest in answers."""
        directory = self.state.run_directory(_RISK_RUN)
        draft = directory / "draft"
        name = f"runs/{_RISK_RUN}/{TABLES_FILE}"
        draft.write_bytes(self.state.vault.seal(name, tables.to_bytes()))
        draft.replace(directory / TABLES_FILE)
        return hashlib.sha256(tables.registry_sha256.encode()).hexdigest()

    def scorer(self, run_id: str) -> Scorer:
        """Return the model of a run."""
        return Scorer.read(self.state.model_path(run_id), self.state.current_run(run_id).contract)

    def margin(self, row: pd.DataFrame, scorer: Scorer, tables: RiskFile) -> float:
        """Return the margin of a payment that nothing came before, by the builder of batches."""
        built = build_features(row, shared=SharedRisk([tables.keyed], publication_lag_days=1))
        return float(scorer.margins(contract_columns(built, scorer.contract))[0])


def risky_payments(seed: int, n_rows: int) -> pd.DataFrame:
    """Draw payments whose frauds are at some terminals."""
    rows = payments(seed, n_rows)
    is_bad = rows["terminal_id"].isin([f"k{i}" for i in range(0, 60, 4)])
    drawn = np.random.default_rng(seed).random(n_rows)
    return rows.assign(is_fraud=(is_bad & (drawn < 0.6)).astype(np.int64))


def make_shared_bank(root: Path) -> SharedBank:
    """Make the bank: the first shared run's model is the champion, an own one the fallback."""
    state = make_bank(root)
    frame = risky_payments(7, 2000)
    data = root / "risky.parquet"
    frame.to_parquet(data)
    found = []
    for number in (0, 1):
        spec = risk_spec(
            delay_days=0,
            first_day=START // DAY,
            last_day=LAST_DAY,
            entities=(RiskEntity.TERMINAL, RiskEntity.MERCHANT),
        )
        known = solo_tables(frame.iloc[: len(frame) // (number + 1)], spec)
        found.append(RiskFile(_RISK_RUN, _digest(number), KeyedTables(known, KEY)))
    bank = SharedBank(state, (found[0], found[1]))
    bank.use_tables(found[0])
    terms, shared = shared_contract(), SharedRisk([found[0].keyed], publication_lag_days=1)
    for number, run_id in enumerate(SHARED_RUNS):
        parameters = {**PARAMETERS, "max_depth": 3 + number, "num_boost_round": 4 + number}
        _pin(state, run_id, terms)
        table = load_training_rows(data, terms, shared=shared).windows.train
        model = train(BoosterParams.parse(parameters), table, SoloCommunicator()).model
        state.model_path(run_id).write_bytes(model.to_json())
    inbound = shared_contract(INBOUND_RECIPE, shared=False)
    _pin(state, INBOUND_RUN, inbound)
    first = bank.scorer(SHARED_RUNS[0]).model
    tree = next(each for each in first.trees)
    stump = replace(tree, split_features=np.zeros_like(tree.split_features))
    other = replace(first, trees=(stump,), schema=contract_schema(inbound))
    state.model_path(INBOUND_RUN).write_bytes(other.to_json())
    put(state, Action.PROMOTE, SHARED_RUNS[0])
    put(state, Action.FALLBACK, "run-2")
    return bank


def _pin(state: StateDirectory, run_id: str, terms: DataContract) -> None:
    spec = RunSpec(name="test", key_epoch=1, parameters=PARAMETERS, contract=terms)
    key = PublicKeyMessage(n="f", fingerprint="0" * 64)
    state.pin_run(PinnedRun(run_id=run_id, spec=spec, cohort=("a", "b", "c"), public_key=key))
