"""A state that was handed over: what a training writes passes, all else is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.bounds.sums import SumBounds
from fraudfed.boosting.resume.canonical_bytes import TRAINING_STATE
from fraudfed.boosting.resume.held_state import check_state
from fraudfed.boosting.resume.state import TrainingState, params_digest, progress_after
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import FraudFedError, StateError
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams

MAX_WEIGHT = 3.0
SETTINGS = {
    "num_boost_round": 4,
    "max_bin": 8,
    "max_depth": 3,
    "max_leaves": 7,
    "min_child_weight": 2.0,
    "gamma": 0.01,
    "eval_metric": ["auc", "logloss"],
    "early_stopping_rounds": 2,
}


def tables(*, is_weighted: bool = True) -> tuple[TrainingTable, TrainingTable]:
    rng = np.random.default_rng(3)
    found = []
    for n_rows in (500, 200):
        table = synthetic_table(n_rows, 5, rng, missing=0.1, categorical=2, prevalence=0.3)
        weights = rng.uniform(0.1, 3.0, n_rows).astype(np.float32) if is_weighted else None
        found.append(replace(table, weights=weights, max_weight=MAX_WEIGHT))
    return found[0], found[1]


def states_of(
    params: BoosterParams, *, is_weighted: bool = True, more_rows: int | None = None
) -> list[TrainingState]:
    """Return the state after each step, a regrouped training's from the second on."""
    table, held_out = tables(is_weighted=is_weighted)
    validation = held_out if params.early_stopping_rounds is not None else None
    found: list[TrainingState] = []
    train(params, table, SoloCommunicator(), validation=validation, on_step=found.append)
    if more_rows is not None:
        start = found[min(1, len(found) - 1)].regrouped(more_rows=more_rows)
        train(
            params,
            table,
            SoloCommunicator(),
            validation=validation,
            start=start,
            on_step=found.append,
        )
    return found


def check(state: TrainingState, params: BoosterParams) -> TrainingState:
    """Read the state's bytes as an entrant does."""
    found = TrainingState.from_bytes(state.to_bytes(), schema=state.cuts.schema)
    check_state(
        found,
        params,
        max_weight=MAX_WEIGHT,
        has_validation=params.early_stopping_rounds is not None,
    )
    return found


VARIANTS: list[dict[str, Any]] = [
    {},
    {"early_stopping_rounds": None},
    {"subsample": 0.6, "colsample_bytree": 0.7, "colsample_bylevel": 0.8, "colsample_bynode": 0.6},
    {"grow_policy": "lossguide", "max_depth": 0, "max_leaves": 5},
    {"max_cat_to_onehot": 1},
    {"max_cat_to_onehot": 100},
    {"xgboost_version": "3.2", "min_child_weight": 0.0, "lambda": 0.0, "eta": 1.0},
    {"xgboost_version": "3.4", "min_child_weight": 0.0, "lambda": 0.0, "max_leaves": 0},
    {"min_child_weight": 1e6},
    {"scale_pos_weight": 9.0, "alpha": 0.5, "base_score": 0.25},
    {"max_delta_step": 0.25, "reg_lambda": 0.0},
    {"monotone_constraints": [1, -1, 1]},
    {"max_bin": 2, "eval_metric": ["aucpr", "error"]},
    {"num_boost_round": 12, "eta": 3.0, "early_stopping_rounds": 1},
]


@pytest.mark.parametrize("more_rows", [None, 0, 100_000])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_state_that_a_training_writes_passes(
    variant: dict[str, Any], more_rows: int | None
) -> None:
    params = BoosterParams.parse(SETTINGS | variant)
    for state in states_of(params, is_weighted="alpha" not in variant, more_rows=more_rows):
        assert check(state, params).to_bytes() == state.to_bytes()


PARAMS = BoosterParams.parse(SETTINGS)
STATE = states_of(PARAMS)[-1]
Change = Callable[[TrainingState], TrainingState]


def on_tree(**changes: Callable[[Tree], Any]) -> Change:
    """Change arrays of the first tree."""

    def change(state: TrainingState) -> TrainingState:
        first = state.trees[0]
        forged = replace(first, **{name: make(first) for name, make in changes.items()})
        return replace(state, trees=(forged, *state.trees[1:]))

    return change


def put(name: str, at: int, value: Any) -> Callable[[Tree], Any]:
    """Return an array of a tree with one entry replaced; ``value`` may be a function of it."""

    def make(tree: Tree) -> Any:
        found = getattr(tree, name).copy()
        found[at] = value(found[at]) if callable(value) else value
        return found

    return make


def inner(tree: Tree) -> int:
    """Return a numeric split."""
    return int(np.flatnonzero((tree.left_children >= 0) & ~tree.is_categorical)[0])


def on_cuts(make: Callable[[Cuts], Cuts]) -> Change:
    return lambda state: replace(state, cuts=make(state.cuts), trees=(), history=(), bins=None)


def on_bins(make: Callable[[Any], Any]) -> Change:
    return lambda state: replace(state, bins=make(state.bins))


def other_params(**changes: Any) -> Change:
    """Claim the parameters of a training that was another one."""

    def change(state: TrainingState) -> TrainingState:
        forged = states_of(BoosterParams.parse(SETTINGS | changes))[-1]
        rounds = PARAMS.num_boost_round
        return replace(
            forged,
            of_params=params_digest(PARAMS),
            num_boost_round=rounds,
            history=tuple(replace(one, n_trees=rounds) for one in forged.history),
        )

    return change


def _first_numeric(cuts: Cuts) -> int:
    return next(iter(cuts.counts))


def _without_rows(cuts: Cuts) -> Cuts:
    feature = _first_numeric(cuts)
    counts = cuts.counts[feature].copy()
    counts[0] = 0
    return replace(cuts, counts={**cuts.counts, feature: counts})


def _finer(cuts: Cuts) -> Cuts:
    feature = _first_numeric(cuts)
    values = list(cuts.values)
    values[feature] = values[feature].copy()
    values[feature][0] = np.nextafter(values[feature][0], np.float32(np.inf))
    return replace(cuts, values=tuple(values))


def _stopped_late(state: TrainingState) -> TrainingState:
    """Say that the first tree was the best of four, with a patience of two."""
    history: list[Any] = []
    for tree, value in zip((state.trees[0],) * 4, (0.1, 0.2, 0.3, 0.4), strict=True):
        metrics = {"auc": 0.5, "logloss": value}
        history.append(progress_after(history, tree, metrics, n_trees=4))
    return replace(state, trees=(state.trees[0],) * 4, history=tuple(history))


def _metrics(**metrics: float) -> Change:
    def change(state: TrainingState) -> TrainingState:
        history: list[Any] = []
        for tree in state.trees:
            history.append(progress_after(history, tree, metrics, n_trees=4))
        return replace(state, history=tuple(history))

    return change


def _rows(state: TrainingState) -> TrainingState:
    cuts = replace(state.cuts, more_rows=2**34)
    return replace(state, cuts=cuts, trees=(), history=(), bins=None)


FORGED: dict[str, tuple[Change, str]] = {
    "other parameters": (lambda s: replace(s, of_params=b"\0" * 32), "other parameters"),
    "another number of trees": (lambda s: replace(s, num_boost_round=9), "other parameters"),
    "no validation": (
        lambda s: replace(
            s,
            counts=replace(s.counts, n_validation_rows=0, n_validation_positives=0),
            history=(),
            trees=(),
            bins=None,
        ),
        "validation rows",
    ),
    "a count again": (lambda s: replace(s, counts_validation=True), "asks for a count"),
    "a base score of 0": (lambda s: replace(s, base_score=0.0), "base score"),
    "a base score beside float32": (lambda s: replace(s, base_score=0.1), "base score"),
    "deeper trees": (other_params(max_depth=6, max_leaves=0), "deeper|more leaves"),
    "more leaves": (other_params(max_leaves=0), "more leaves"),
    "more bins": (other_params(max_bin=64), "more bins"),
    "lighter children": (other_params(min_child_weight=0.0, max_depth=3), "smaller sum"),
    "another step length": (
        on_tree(
            split_conditions=put("split_conditions", -1, 9e5),
            base_weights=put("base_weights", -1, 9e5),
        ),
        "larger than any rows",
    ),
    "a leaf beside its weight": (
        on_tree(split_conditions=put("split_conditions", -1, 0.125)),
        "another weight",
    ),
    "a split that gains nothing": (
        lambda s: on_tree(loss_changes=put("loss_changes", inner(s.trees[0]), 1e-7))(s),
        "gains less",
    ),
    "a split below gamma": (
        lambda s: on_tree(loss_changes=put("loss_changes", inner(s.trees[0]), 0.009))(s),
        "gains less",
    ),
    "a threshold inside a bin": (
        lambda s: on_tree(
            split_conditions=put("split_conditions", inner(s.trees[0]), lambda x: x * 1.5)
        )(s),
        "edge of its bin",
    ),
    "a negative hessian": (on_tree(sum_hessians=put("sum_hessians", -1, -1.0)), "cannot have"),
    "a hessian of more rows": (on_tree(sum_hessians=put("sum_hessians", 0, 1e9)), "cannot have"),
    "children above their parent": (
        on_tree(sum_hessians=put("sum_hessians", -1, lambda x: x * 1.1)),
        "add up",
    ),
    "metrics of other names": (_metrics(logloss=0.3, auc=0.5), "metrics are not"),
    "one metric": (_metrics(logloss=0.3), "metrics are not"),
    "a metric above its range": (_metrics(auc=1.5, logloss=0.3), "out of its range"),
    "a negative metric": (_metrics(auc=0.5, logloss=-0.3), "out of its range"),
    "trees after the end": (_stopped_late, "early stopping"),
    "a bin without rows": (on_cuts(_without_rows), "bin without rows"),
    "a finer edge": (on_cuts(_finer), "finer"),
    "rows beyond exact sums": (_rows, "exact sums"),
    "no bounds of bins": (lambda s: replace(s, bins=None), "single bins"),
    "heavier bins": (on_bins(lambda b: replace(b, masses=b.masses + 2**40)), "above what their"),
    "masses that overflow": (
        on_bins(lambda b: replace(b, masses=np.full_like(b.masses, 2**62))),
        "more than all rows weigh",
    ),
    "roots beyond their masses": (
        on_bins(
            lambda b: replace(b, root=SumBounds(b.masses + 1, b.root.hessian)),
        ),
        "more than its masses",
    ),
    "hessians beyond their masses": (
        on_bins(
            lambda b: replace(b, root=SumBounds(b.root.by_label, b.masses.sum(axis=0) + 1)),
        ),
        "more than its masses",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_the_run_cannot_have_come_to_is_refused(case: str) -> None:
    change, expected = FORGED[case]
    with pytest.raises(StateError, match=expected) as caught:
        check(change(STATE), PARAMS)
    assert "\n" not in str(caught.value)


def test_columns_that_were_not_drawn_are_refused() -> None:
    drawn = BoosterParams.parse(SETTINGS | {"colsample_bynode": 0.3})
    forged = replace(STATE, of_params=params_digest(drawn))
    with pytest.raises(StateError, match="not drawn"):
        check(forged, drawn)


def test_bounds_of_bins_are_refused_with_row_sampling() -> None:
    sampled = BoosterParams.parse(SETTINGS | {"subsample": 0.5})
    with pytest.raises(StateError, match="single bins"):
        check(replace(STATE, of_params=params_digest(sampled)), sampled)


CONTENT = TRAINING_STATE.unpack(STATE.to_bytes(), source="test")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_any_change_of_the_bytes_is_refused_or_can_be_trained_on(
    changes: list[tuple[int, int]],
) -> None:
    """Trained on to the end: what was accepted overflows nothing and ends as a training ends."""
    content = bytearray(CONTENT)
    for at, value in changes:
        content[at] = value
    table, held_out = tables()
    try:
        state = TrainingState.from_bytes(TRAINING_STATE.pack(bytes(content)), schema=table.schema)
        check_state(state, PARAMS, max_weight=MAX_WEIGHT, has_validation=True)
    except StateError:
        return
    unfinished = replace(state, trees=state.trees[:1], history=state.history[:1])
    try:
        train(PARAMS, table, SoloCommunicator(), validation=held_out, start=unfinished)
    except FraudFedError:
        return  # bounds that are too narrow for the rows: a sum says so
