"""The rows and parameters of a chaos run, and the models that it may end with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from cohorts.exact import run_cohort
from federations.watched import make_rows, split_rows, to_table
from oracles.stages import Bank, Stage, simulate

from fraudfed.boosting.train import train
from fraudfed.communicator import Communicator
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True)
class Workload:
    """What a run trains on.

    Attributes
    ----------
    banks, rows, trees : int
    """

    banks: int
    rows: int
    trees: int

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the run."""
        return {
            "num_boost_round": self.trees,
            "max_depth": 3,
            "max_bin": 8,
            "eta": 0.3,
            "subsample": 0.8,
            "colsample_bynode": 0.7,
            "seed": 5,
        }

    def parts(self) -> dict[str, pd.DataFrame]:
        """Return every bank's rows, by its name."""
        parts = split_rows(make_rows(self.rows), self.banks)
        return {f"bank_{chr(ord('a') + place)}": part for place, part in enumerate(parts)}


def expected_model(workload: Workload) -> bytes:
    """Return the bytes that every bank ends with if nothing disturbs the run."""
    params = BoosterParams.parse(workload.parameters)
    parts = list(workload.parts().values())

    def program(bank: int, communicator: Communicator) -> bytes:
        return train(params, to_table(parts[bank]), communicator).model.to_json()

    models = run_cohort(len(parts), program)
    assert len(set(models)) == 1
    return models[0]


def model_of_stages(workload: Workload, stages: Sequence[Stage]) -> bytes:
    """Return the bytes that every bank ends with if these banks take part in these steps."""
    banks = [Bank(to_table(part)) for part in workload.parts().values()]
    return simulate(BoosterParams.parse(workload.parameters), banks, stages).model.to_json()
