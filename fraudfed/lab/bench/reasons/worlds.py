"""Generated banks as rows of a recipe: what is known at the split trains, the rest is scored."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd

from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.settings.presets import PRESETS
from data_gen.writing.output import write
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.catalogue.recipes import find_recipe
from fraudfed.dtypes import Float32Array
from fraudfed.features.builders import build_recipe
from fraudfed.lab.bench.world_risk import risk_of_banks
from fraudfed.lab.oracle.references import pool
from fraudfed.payments.columns import INBOUND, OUTBOUND

#: Worlds by name: the generator's presets, and one with nothing but first-party fraud, of which the
#: presets have too few cases for a model to find.
WORLDS: Final[Mapping[str, WorldConfig]] = MappingProxyType(
    {
        **PRESETS,
        "first-party": replace(
            PRESETS["iid-control"], kind_share=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), fraud_rate=0.02
        ),
    }
)


@dataclass(frozen=True, eq=False)
class WorldRows:
    """All banks' payments of a recipe.

    Attributes
    ----------
    train : TrainingTable
        Labelled by what was known at the split.
    later : ndarray of shape (n_rows, n_features), dtype=float32
        Payments from the split on.
    kinds : ndarray of shape (n_rows,), dtype=object
        The true kind of fraud of each, reported or not; empty for honest payments.
    bank_rows : tuple of int
        How many of the rows of ``train`` each bank has, in their order.
    """

    train: TrainingTable
    later: Float32Array
    kinds: np.ndarray
    bank_rows: tuple[int, ...] = ()

    @property
    def schema(self) -> FeatureSchema:
        """The features."""
        return self.train.schema


def world_rows(preset: str, recipe: str, *, seed: int) -> WorldRows:
    """Generate a world, and build the features of all its banks with shared risk.

    Parameters
    ----------
    preset : str
        Of ``WORLDS``; for incoming payments one that writes them.
    recipe : str
        Name of the recipe.
    seed : int
    """
    config = replace(WORLDS[preset], seed=seed)
    with tempfile.TemporaryDirectory(prefix="fraudfed-reasons-") as work:
        directory = Path(work) / "world"
        write(config, directory)
        names = sorted(path.name for path in directory.iterdir() if path.is_dir())
        outgoing = {name: _read(directory / name / "transactions.parquet") for name in names}
        inbound = find_recipe(recipe).direction == INBOUND
        arriving = {name: _read(directory / name / "incoming.parquet") for name in names if inbound}
    shared = risk_of_banks(
        outgoing.values(), first_day=config.start_time // DAY_SECONDS, days=config.days
    )
    trained: list[TrainingTable] = []
    later: list[Float32Array] = []
    kinds: list[np.ndarray] = []
    for name, rows in outgoing.items():
        payments = rows
        if inbound:
            payments = pd.concat(
                [rows.assign(direction=OUTBOUND), arriving[name]], ignore_index=True
            )
        built = build_recipe(recipe, payments, shared=shared)
        judged = payments.iloc[built.positions]
        early, late = _early(config, judged), judged["event_time"].to_numpy() >= config.split_time
        reported = (judged["is_fraud"] == 1) & (judged["label_time"] < config.split_time)
        labels = reported.to_numpy(dtype=np.float32)
        trained.append(TrainingTable(built.schema, built.values[early], labels[early]))
        later.append(built.values[late])
        kinds.append(judged["fraud_kind"].fillna("").to_numpy(dtype=object)[late])
    return WorldRows(
        pool(trained),
        np.concatenate(later),
        np.concatenate(kinds),
        tuple(table.n_rows for table in trained),
    )


def _early(config: WorldConfig, rows: pd.DataFrame) -> np.ndarray:
    last = config.split_time - config.clean_delay_days * DAY_SECONDS
    return np.asarray(rows["event_time"].to_numpy() < last)


def _read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)
