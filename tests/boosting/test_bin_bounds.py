"""Bounds of single bins: never below what a bin holds, narrow enough to be worth their proof."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cohorts.exact import CohortCommunicator, run_cohort
from cohorts.recording import RecordingCommunicator
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.trees import bounds_of

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.bounds.bins import BinBounds, TreeBounds
from fraudfed.boosting.bounds.rows import MarginRange, NodeBounds
from fraudfed.boosting.bounds.sums import SumBounds
from fraudfed.boosting.engine.elementary import logit, sigmoid
from fraudfed.boosting.growth.grower import _Grower
from fraudfed.boosting.objective import gradient_bounds, gradients
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.errors import SumError
from fraudfed.lab.bench.ciphertexts import CountingCommunicator
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams


def by_label(table: TrainingTable, label: int) -> TrainingTable:
    chosen = table.labels == label
    return replace(
        table,
        features=table.features[chosen],
        labels=table.labels[chosen],
        weights=None if table.weights is None else table.weights[chosen],
    )


def train_by_label(table: TrainingTable, params: BoosterParams) -> TrainResult:
    """Train with one bank for each label, whose sums of g are the lowest and highest there can be.

    Gradients of one label have one sign, so no other part of the rows has a sum further out.
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
    # The cohort raises BoundError where the sum over any of the banks leaves its bounds.
    result = train_by_label(table, BoosterParams.parse(settings_of_run))
    assert len(result.model.trees) == 6


@pytest.mark.parametrize("positives", [0.1, 0.9])
def test_probabilities_that_reach_their_ends_stay_within_bounds(positives: float) -> None:
    """Float32 computes 1 - p in steps of 2^-24 near 1: there h and g of a label may jump."""
    rng = np.random.default_rng(8)
    table = synthetic_table(400, 2, rng, prevalence=positives)
    params = BoosterParams.parse(
        {
            "max_depth": 6,
            "max_bin": 8,
            "num_boost_round": 40,
            "eta": 1.0,
            "reg_lambda": 0.0,
            "min_child_weight": 0.0,
        }
    )
    # The first feature decides: every tree drives the margins further apart.
    order = np.argsort(table.features[:, 0])
    labels = np.zeros(400, dtype=np.float32)
    labels[order[400 - int(400 * positives) :]] = 1.0
    result = train_by_label(replace(table, labels=labels), params)
    assert np.abs(result.margins).max() > 17.0


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_rows=st.integers(1, 300),
    centre=st.sampled_from([-17.4, -4.0, 0.0, 3.0, 16.0, 17.4]),
    spread=st.sampled_from([0.0, 1.0]),
    positives=st.sampled_from([0.02, 0.5, 1.0]),
    leaves=st.tuples(st.floats(-2, 2, width=32), st.floats(-2, 2, width=32)),
    max_weight=st.sampled_from([1.0, 1e-3, 7.0]),
)
def test_no_root_exceeds_what_the_one_before_says(
    seed: int,
    n_rows: int,
    centre: float,
    spread: float,
    positives: float,
    leaves: tuple[float, float],
    max_weight: float,
) -> None:
    """Near p = 1, float32 computes 1 - p in steps of 2^-24: sums of zero become sums of many."""
    rng = np.random.default_rng(seed)
    margins = (centre + spread * rng.normal(size=n_rows)).astype(np.float32)
    labels = (rng.random(n_rows) < positives).astype(np.float32)
    of_rows = weights(rng, n_rows, max_weight)
    bins = rng.integers(0, 3, n_rows)
    tree = replace(STUMP, split_conditions=np.array([0.0, *leaves], dtype=np.float32))
    moved = margins + rng.choice(tree.split_conditions[1:], n_rows)

    def pairs_at(at: Float32Array) -> Int64Array:
        return gradients(at, labels, of_rows, scale_pos_weight=1.0)

    def sums(pairs: Int64Array) -> Int64Array:
        each = [np.bincount(bins, weights=column, minlength=3) for column in pairs.T]
        return np.column_stack((np.stack(each).astype(np.int64), pairs.sum(axis=0)))

    low, high = sigmoid(np.array([margins.min(), margins.max()]))
    of_any_tree = bounds_of(labels, gradient_bounds(max_weight=max_weight, scale_pos_weight=1.0))
    bounds = replace(of_any_tree, min_probability=float(low), max_probability=float(high))
    counts = np.append(np.bincount(bins, minlength=3), n_rows)
    before = BinBounds(counts, of_any_tree.of_counts(counts).by_label)
    opened = before.open_root(bounds, sums(pairs_at(margins)), np.ones(4, dtype=np.bool_))
    after = opened.after(tree, MarginRange(float(margins.min()), float(margins.max())))
    assert after.root is not None
    found = pairs_at(moved)
    assert (sums(found)[1] <= after.root.hessian).all()
    for label in (0, 1):
        own = np.abs(np.where(labels[:, None] == label, found, 0))
        assert (sums(own)[0] <= after.root.by_label[label]).all()


STUMP = train(
    BoosterParams.parse({"max_depth": 1, "num_boost_round": 1}),
    synthetic_table(500, 2, np.random.default_rng(0)),
    SoloCommunicator(),
).model.trees[0]


def test_counts_weights_and_losses_take_no_sign() -> None:
    rng = np.random.default_rng(0)
    table, held_out = synthetic_table(500, 3, rng), synthetic_table(300, 3, rng)
    table = replace(table, weights=weights(rng, 500, 1.0), max_weight=1.0)
    params = BoosterParams.parse(
        {"num_boost_round": 1, "eval_metric": ["logloss", "error", "auc", "aucpr"]}
    )
    recorder = RecordingCommunicator()
    train(params, table, recorder, validation=held_out)
    least: dict[str, int] = {}
    for one in recorder.sums:
        kind = one.label.partition(":")[0]
        low = -np.max(one.bound) if one.low is None else np.min(one.low)
        least[kind] = min(least.get(kind, 0), int(low))
    assert least.pop("histogram") < 0
    assert least == {"rows": 0, "base-score": 0, "cuts": 0, "metric": 0}


def _narrow(found: Any) -> Any:
    """Take 40 % of every bound in what a method of this module returns."""
    if isinstance(found, SumBounds):
        return SumBounds(found.by_label * 2 // 5, found.hessian * 2 // 5)
    if isinstance(found, TreeBounds):
        return replace(found, excesses=found.excesses * 2 // 5, root=_narrow(found.root))
    return replace(found, root=_narrow(found.root))


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (BinBounds, "of_root"),
        (BinBounds, "open_root"),
        (TreeBounds, "of_children"),
        (TreeBounds, "after"),
    ],
)
def test_control_a_bound_that_is_too_narrow_is_noticed(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    table = synthetic_table(2000, 4, np.random.default_rng(1), prevalence=0.1)
    right = getattr(owner, name)

    def too_narrow(self: Any, *arguments: Any, **named: Any) -> Any:
        return _narrow(right(self, *arguments, **named))

    params = BoosterParams.parse({"max_depth": 3, "max_bin": 8, "num_boost_round": 4})
    train_by_label(table, params)
    monkeypatch.setattr(owner, name, too_narrow)
    with pytest.raises(SumError):
        train_by_label(table, params)


def test_control_a_bin_wrongly_taken_for_empty_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = synthetic_table(2000, 4, np.random.default_rng(1), prevalence=0.1)
    right = _Grower._possible

    def swapped(
        self: _Grower, of_node: BoolArray, feature: int, table: BoolArray
    ) -> tuple[BoolArray, BoolArray]:
        left, right_ = right(self, of_node, feature, table)
        return right_, left

    monkeypatch.setattr(_Grower, "_possible", swapped)
    params = BoosterParams.parse({"max_depth": 3, "max_bin": 8, "num_boost_round": 1})
    with pytest.raises(SumError):
        train_by_label(table, params)


def test_control_a_feature_wrongly_taken_for_complete_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = synthetic_table(2000, 4, np.random.default_rng(1), missing=0.3, prevalence=0.1)
    params = BoosterParams.parse({"max_depth": 3, "max_bin": 8, "num_boost_round": 2})
    train(params, table, SoloCommunicator())
    monkeypatch.setattr(Cuts, "is_complete", lambda self, n_rows: np.ones(4, dtype=np.bool_))
    # What is derived is then too large, and what follows from it does not fit.
    with pytest.raises(SumError):
        train(params, table, SoloCommunicator())


def without_masses(
    self: BinBounds, bounds: NodeBounds, sums: Int64Array, is_known: BoolArray
) -> TreeBounds:
    found = OPEN_ROOT(self, bounds, sums, is_known)
    return replace(found, masses=self.masses, excesses=self.masses)


def without_excess(
    self: BinBounds, bounds: NodeBounds, sums: Int64Array, is_known: BoolArray
) -> TreeBounds:
    found = OPEN_ROOT(self, bounds, sums, is_known)
    return replace(found, excesses=found.masses)


def without_last_root(self: TreeBounds, tree: Tree, margins: MarginRange) -> BinBounds:
    return BinBounds(self.n_rows, self.masses)


OPEN_ROOT = BinBounds.open_root


def without_parents(self: TreeBounds, bins: Int64Array, **named: Any) -> SumBounds:
    return OF_CHILDREN(self, bins, **{**named, "is_known": np.zeros(bins.size, dtype=np.bool_)})


OF_CHILDREN = TreeBounds.of_children


def test_all_that_is_known_saves_ciphertexts_and_changes_no_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = synthetic_table(20_000, 12, np.random.default_rng(0))
    params = BoosterParams.parse({"max_depth": 4, "max_bin": 64, "num_boost_round": 30})

    def outcome() -> tuple[int, str]:
        communicator = CountingCommunicator(3072)
        model = train(params, table, communicator).model.to_json()
        return communicator.figures.histogram, model

    knowing, model = outcome()
    for name, replaced, factor in (
        ("fraudfed.boosting.bounds.bins.BinBounds.open_root", without_masses, 0.98),
        ("fraudfed.boosting.bounds.bins.BinBounds.open_root", without_excess, 0.999),
        ("fraudfed.boosting.bounds.bins.TreeBounds.after", without_last_root, 0.995),
        ("fraudfed.boosting.bounds.bins.TreeBounds.of_children", without_parents, 0.98),
        ("fraudfed.boosting.bins.Cuts.rows_of_bins", every_row, 0.9995),
        ("fraudfed.boosting.growth.grower._Grower._possible", everywhere, 0.97),
        ("fraudfed.boosting.bins.Cuts.is_complete", nowhere, 0.99),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, replaced)
            ignorant, same = outcome()
        assert same == model
        assert knowing < factor * ignorant, (name, knowing / ignorant)


def every_row(self: Cuts, n_rows: int) -> Int64Array:
    return np.full(int(self.offsets[-1]), n_rows, dtype=np.int64)


def nowhere(self: Cuts, n_rows: int) -> BoolArray:
    return np.zeros(len(self.values), dtype=np.bool_)


def everywhere(
    self: _Grower, of_node: BoolArray, feature: int, table: BoolArray
) -> tuple[BoolArray, BoolArray]:
    return of_node, of_node


def test_masses_are_those_of_the_labels() -> None:
    rng = np.random.default_rng(3)
    n_rows, p0 = 5000, 0.04
    labels = (rng.random(n_rows) < 0.04).astype(np.float32)
    bins = rng.integers(0, 7, n_rows)
    margins = np.full(n_rows, logit(p0))
    pairs = gradients(margins, labels, None, scale_pos_weight=1.0)
    sums = np.stack(
        [np.bincount(bins, weights=column, minlength=7).astype(np.int64) for column in pairs.T]
    )
    (probability,) = sigmoid(margins[:1])
    bounds = replace(
        bounds_of(labels, gradient_bounds(max_weight=1.0, scale_pos_weight=1.0)),
        min_probability=float(probability),
        max_probability=float(probability),
    )
    found = bounds.masses(sums, np.bincount(bins, minlength=7))
    for label in (0, 1):
        true = np.bincount(bins[labels == label], minlength=7) * 2.0**32
        assert (found[label] >= true).all()
        assert (found[label] <= 1.02 * true + 2.0**29).all()


def test_what_is_not_summed_of_a_root_teaches_nothing() -> None:
    row = gradient_bounds(max_weight=1.0, scale_pos_weight=1.0)
    bounds = NodeBounds(10, 7, 3, row, min_probability=0.5, max_probability=0.5)
    before = BinBounds(np.array([4, 10]), bounds.of_counts(np.array([4, 10])).by_label)
    sums = np.array([[2**32, 2 * 2**32], [2**32, 5 * 2**31]])
    opened = before.open_root(bounds, sums, np.array([False, True]))
    assert opened.masses[:, 0].tolist() == before.masses[:, 0].tolist()
    assert opened.root.hessian[0] == before.of_root(bounds).hessian[0]
    assert opened.root.hessian[1] == 5 * 2**31


def test_margins_too_far_out_say_nothing_of_the_next_root() -> None:
    row = gradient_bounds(max_weight=1.0, scale_pos_weight=1.0)
    bounds = NodeBounds(10, 7, 3, row, min_probability=0.5, max_probability=0.5)
    before = BinBounds(np.array([10]), bounds.of_counts(np.array([10])).by_label)
    opened = before.open_root(bounds, np.array([[2**32], [2**33]]), np.array([True]))
    assert opened.after(STUMP, MarginRange.at(0.0)).root is not None
    assert opened.after(STUMP, MarginRange.at(1e4)).root is None
    assert opened.after(STUMP, MarginRange.at(-1e4)).root is None
