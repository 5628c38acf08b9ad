"""A bank that can serve: a tiny real federation for its run, and a model of useful size."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.communicator import SoloCommunicator
from fraudfed.features import build_features
from fraudfed.lab.local_federation.run import open_federation
from fraudfed.paillier.keys import MINIMUM_KEY_BITS
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract

_BANKS = 3
#: Of the run that gives the bank its contract; its model is not the one that is measured.
_TINY = {"num_boost_round": 1, "max_depth": 1, "max_bin": 4}


@dataclass(frozen=True, eq=False)
class ServingBank:
    """What is served.

    Attributes
    ----------
    state : Path
        The bank's state directory.
    model : Model
    model_file : Path
    contract : DataContract
        Of the model.
    payments : DataFrame
        The bank's raw transactions, in the order of their times.
    """

    state: Path
    model: Model
    model_file: Path
    contract: DataContract
    payments: pd.DataFrame


def make_bank(
    work: Path,
    *,
    customers: int,
    days: int,
    seed: int,
    trees: int,
    max_depth: int,
    preset: str = "small",
) -> ServingBank:
    """Generate a world, run a tiny federation over it, and train the model at its largest bank.

    Parameters
    ----------
    work : Path
        An empty directory.
    customers, days, seed, preset
        Of the world.
    trees, max_depth : int
        Of the model.

    Raises
    ------
    FraudFedError
        The error of the first program that failed.
    """
    files = _world(work / "world", preset, customers=customers, days=days, seed=seed)
    largest = max(files, key=lambda name: files[name].stat().st_size)
    contract = DataContract(
        kind="transactions", recipe=RECIPE, features=contract_features(RECIPE, shared=False)
    )
    with open_federation(
        list(files), key_bits=MINIMUM_KEY_BITS, work=work / "federation"
    ) as federation:
        federation.train(files, name="serve", contract=contract, parameters=_TINY)
        state = federation.states[largest]
    payments = pd.read_parquet(files[largest]).sort_values(
        "event_time", kind="stable", ignore_index=True
    )
    built = build_features(payments)
    table = TrainingTable(schema=built.schema, features=built.values, labels=built.labels)
    parameters = BoosterParams.parse({"num_boost_round": trees, "max_depth": max_depth})
    model = train(parameters, table, SoloCommunicator()).model
    model_file = work / "model.json"
    model_file.write_bytes(model.to_json())
    return ServingBank(state, model, model_file, contract, payments)


def _world(out: Path, preset: str, *, customers: int, days: int, seed: int) -> Mapping[str, Path]:
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("data-gen")), "generate", "--quiet"),
            *("--preset", preset, "--banks", str(_BANKS), "--customers", str(customers)),
            *("--days", str(days), "--seed", str(seed), "--out", str(out)),
        ],
        check=True,
    )
    return {file.parent.name: file for file in sorted(out.glob("*/transactions.parquet"))}
