"""Rows and models that attacks are tried on: of synthetic worlds, whose truth is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np
import xgboost

from fraudfed.boosting.model import Model
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.private.train import train_private
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.catalogue.presets import find_preset
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.communicator import NoisySoloCommunicator, SoloCommunicator
from fraudfed.dtypes import Float32Array, IndexArray
from fraudfed.lab.bench.reasons.worlds import world_rows
from fraudfed.lab.oracle.references import matrix_of
from fraudfed.lab.privacy.presets import parameters_of as private_parameters
from fraudfed.parameters import BoosterParams, overridden
from fraudfed.privacy.noise.drawing import draw
from fraudfed.privacy.terms import PrivacyTerms

#: Seeds of two worlds that have nothing to do with each other lie so far apart.
OTHER_WORLD: Final = 1000
#: The preset whose parameters the attacks call the defaults.
DEFAULT_PRESET: Final = "fraud"
#: A model that remembers its rows: what every attack must break.
OVERFITTED: Final[Mapping[str, Any]] = {
    "num_boost_round": 50,
    "eta": 0.3,
    "max_depth": 10,
    "min_child_weight": 0,
    "max_delta_step": 0,
    "max_bin": 256,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "statistics_bits": 24,
}
#: Trains one model on rows.
Trainer: TypeAlias = Callable[[TrainingTable], Model]


def rows_of(preset: str, *, seed: int, rows: int) -> TrainingTable:
    """Return training rows of a world with shared risk, at most so many, drawn at random.

    Parameters
    ----------
    preset : str
        Of the generator.
    seed : int
    rows : int
        0 is all.
    """
    table = world_rows(preset, RECIPE, seed=seed).train
    if not rows or rows >= table.n_rows:
        return table
    drawn = np.random.default_rng(seed).choice(table.n_rows, size=rows, replace=False)
    return part_of(table, np.sort(drawn))


def banks_of(preset: str, *, seed: int) -> tuple[TrainingTable, ...]:
    """Return the training rows of each bank of a world, with shared risk."""
    found = world_rows(preset, RECIPE, seed=seed)
    ends = np.cumsum(found.bank_rows)
    parts = np.split(np.arange(found.train.n_rows), ends[:-1])
    return tuple(part_of(found.train, part) for part in parts)


def part_of(table: TrainingTable, rows: IndexArray) -> TrainingTable:
    """Return some rows of a table, in the order given."""
    return replace(table, features=table.features[rows], labels=table.labels[rows])


def columns_of(table: TrainingTable, names: Sequence[str]) -> TrainingTable:
    """Return some columns of a table, in the order given."""
    schema = table.schema
    places = [schema.names.index(name) for name in names]
    return replace(
        table,
        features=np.ascontiguousarray(table.features[:, places]),
        schema=FeatureSchema(tuple(names), tuple(schema.n_categories[place] for place in places)),
    )


def parameters_of(given: Mapping[str, Any]) -> BoosterParams:
    """Return the default parameters, some of them replaced."""
    return BoosterParams.parse(overridden(dict(find_preset(DEFAULT_PRESET).parameters), given))


def exact_trainer(params: BoosterParams, *, threads: int) -> Trainer:
    """Return a training over an exact sum, of which an attacker gets the model's file."""

    def trained(table: TrainingTable) -> Model:
        model = train(params, table, SoloCommunicator(), threads=threads).model
        return published(model)

    return trained


def noised_trainer(terms: PrivacyTerms, *, threads: int) -> Trainer:
    """Return a training under terms of privacy, with parameters found beforehand for them."""

    def trained(table: TrainingTable) -> Model:
        found = private_parameters(
            terms.way,
            epsilon=terms.epsilon,
            declared_rows=terms.declared_rows,
            n_features=table.schema.n_features,
        )
        params = BoosterParams.parse(found)
        model = train_private(
            params, terms, table, NoisySoloCommunicator(draw), threads=threads
        ).model
        return published(model)

    return trained


def published(model: Model) -> Model:
    """Return a model as an attacker reads it: from its file, with what that rounds."""
    return read_model(model.to_json(), schema=model.schema, source="the attacked model")


def margins_of(model: Model, table: TrainingTable, *, threads: int) -> Float32Array:
    """Return what a model says of rows, in log odds, shape (n_rows,), dtype=float32."""
    booster = xgboost.Booster({"nthread": threads})
    booster.load_model(bytearray(model.to_json()))
    found = booster.predict(matrix_of(table, threads=threads), output_margin=True)
    return np.asarray(found, dtype=np.float32)
