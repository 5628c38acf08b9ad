"""Bounds of single bins: never below what a bin holds, narrow enough to be worth their proof."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cohort import CohortCommunicator, run_cohort
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.bench.workload import synthetic_table
from fraudfed.boosting import bin_bounds
from fraudfed.boosting.bin_bounds import BinBounds
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import BoundError
from fraudfed.secure_sum.packing import SlotLayout


def by_label(table: TrainingTable, label: int) -> TrainingTable:
    chosen = table.labels == label
    return replace(
        table,
        features=table.features[chosen],
        labels=table.labels[chosen],
        weights=None if table.weights is None else table.weights[chosen],
    )


def train_by_label(table: TrainingTable, params: BoosterParams) -> TrainResult:
    """Train with one bank for each label, whose absolute values add up to the most there can be.

    Gradients of one label have one sign, so no other split of the rows gives larger absolute sums.
    """

    def program(bank: int, communicator: CohortCommunicator) -> TrainResult:
        return train(params, by_label(table, bank), communicator)

    return run_cohort(2, program)[0]


def weights(rng: np.random.Generator, n_rows: int, largest: float) -> Float32Array:
    return np.float32(largest) * rng.choice(np.float32([1.0, 0.3, 1e-6]), n_rows)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_rows=st.integers(40, 300),
    prevalence=st.sampled_from([0.03, 0.3, 0.9]),
    missing=st.sampled_from([0.0, 0.2]),
    categorical=st.sampled_from([0, 2]),
    max_weight=st.sampled_from([None, 1e-3, 1.0, 7.0]),
    parameters=st.fixed_dictionaries(
        {
            "max_depth": st.integers(1, 5),
            "max_bin": st.sampled_from([2, 5, 16]),
            "eta": st.sampled_from([0.1, 1.0]),
            "scale_pos_weight": st.sampled_from([1.0, 0.05, 40.0]),
            "min_child_weight": st.sampled_from([0.0, 1.0]),
            "reg_lambda": st.sampled_from([0.0, 1.0]),
            "colsample_bytree": st.sampled_from([1.0, 0.5]),
            "colsample_bynode": st.sampled_from([1.0, 0.5]),
            "subsample": st.sampled_from([1.0, 1.0, 0.5]),
        }
    ),
    base_score=st.sampled_from([None, 0.5, 1e-4, 0.999]),
)
def test_no_bin_of_any_tree_exceeds_its_bounds(
    seed: int,
    n_rows: int,
    prevalence: float,
    missing: float,
    categorical: int,
    max_weight: float | None,
    parameters: dict[str, Any],
    base_score: float | None,
) -> None:
    rng = np.random.default_rng(seed)
    table = synthetic_table(
        n_rows, 4, rng, missing=missing, categorical=categorical, prevalence=prevalence
    )
    if max_weight is not None:
        table = replace(table, weights=weights(rng, n_rows, max_weight), max_weight=max_weight)
    settings_of_run = {**parameters, "num_boost_round": 6}
    if base_score is not None:
        settings_of_run["base_score"] = base_score
    # The cohort raises BoundError where absolute values over the banks exceed a bound.
    result = train_by_label(table, BoosterParams.parse(settings_of_run))
    assert len(result.model.trees) == 6


@pytest.mark.parametrize("name", ["after_first_root", "after_tree"])
def test_control_a_bound_that_is_too_narrow_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    table = synthetic_table(2000, 4, np.random.default_rng(1), prevalence=0.1)
    right = getattr(BinBounds, name)

    def too_narrow(self: BinBounds, *arguments: Any, **named: Any) -> BinBounds:
        found: BinBounds = right(self, *arguments, **named)
        return replace(
            found,
            negative_mass=0.2 * found.negative_mass,
            positive_mass=0.2 * found.positive_mass,
            root=0.2 * found.root,
        )

    params = BoosterParams.parse({"max_depth": 3, "max_bin": 8, "num_boost_round": 4})
    train_by_label(table, params)
    monkeypatch.setattr(BinBounds, name, too_narrow)
    with pytest.raises(BoundError):
        train_by_label(table, params)


class CountingCommunicator:
    """Alone, and counts plaintexts by what is summed."""

    def __init__(self) -> None:
        self.plaintexts: dict[str, int] = {}

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        layout = SlotLayout.for_bounds(bound, values.shape, low=low, plaintext_bits=3070)
        kind = label.partition(":")[0]
        self.plaintexts[kind] = self.plaintexts.get(kind, 0) + layout.n_plaintexts
        return values.copy()


def test_known_bins_save_ciphertexts_and_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    table = synthetic_table(20_000, 12, np.random.default_rng(0))
    params = BoosterParams.parse({"max_depth": 4, "max_bin": 64, "num_boost_round": 30})
    knowing, ignorant = CountingCommunicator(), CountingCommunicator()
    model = train(params, table, knowing).model.to_json()
    monkeypatch.setattr(BinBounds, "after_first_root", lambda self, *_, **__: self)
    monkeypatch.setattr(BinBounds, "after_tree", lambda self, *_, **__: self)
    assert train(params, table, ignorant).model.to_json() == model
    assert knowing.plaintexts["histogram"] < 0.95 * ignorant.plaintexts["histogram"]


def test_masses_are_those_of_the_labels() -> None:
    rng = np.random.default_rng(3)
    n_rows, p0 = 5000, 0.04
    labels = rng.random(n_rows) < 0.04
    bins = rng.integers(0, 7, n_rows)
    gradient, hessian = p0 - labels, np.full(n_rows, p0 * (1 - p0))
    pairs = np.rint(np.stack((gradient, hessian)) * 2.0**32).astype(np.int64)
    sums = np.stack([np.bincount(bins, row, 7).astype(np.int64) for row in pairs])
    known = np.array([True] * 6 + [False])
    found = BinBounds.unknown(7).after_first_root(sums, known, probability=p0, n_rows=n_rows)
    for label, mass in ((0, found.negative_mass), (1, found.positive_mass)):
        true = np.bincount(bins[labels == label], minlength=7) * 2.0**32
        assert (mass[:6] >= true[:6]).all()
        assert (mass[:6] <= 1.02 * true[:6] + 2.0**28).all()
        assert np.isinf(mass[6])


@pytest.mark.parametrize("probability", [0.0, 1e-6, 1.0 - 1e-6, 1.0])
def test_probabilities_at_their_ends_teach_nothing_wrong(probability: float) -> None:
    sums = np.array([[-5, 7], [0, 3]], dtype=np.int64)
    found = BinBounds.unknown(2).after_first_root(
        sums, np.array([True, True]), probability=probability, n_rows=10
    )
    near_0 = probability < bin_bounds._LEAST_DISTANCE
    assert np.isinf(found.negative_mass).all() == near_0
    assert np.isinf(found.positive_mass).all() != near_0


def test_nothing_known_leaves_the_limits_of_the_root() -> None:
    assert BinBounds.unknown(2).limit_root((9, 5)).tolist() == [[9, 9], [5, 5]]
