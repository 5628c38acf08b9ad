"""A resumed training is the training that was never interrupted, from every step on."""

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cohorts.recording import RecordingCommunicator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import numpy_only

from fraudfed.boosting.resume.state import TrainingState, TreeProgress
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import StateError
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams

Calls = list[tuple[str, bytes, bytes, bytes]]


class Undisturbed:
    """A training from beginning to end, with what was known and summed by each step."""

    def __init__(
        self, params: BoosterParams, table: TrainingTable, validation: TrainingTable | None
    ) -> None:
        self.params, self.table, self.validation = params, table, validation
        self.states: list[bytes] = []
        self.n_sums: list[int] = []
        recorder = RecordingCommunicator()

        def on_step(state: TrainingState) -> None:
            assert state.n_steps == len(self.states) + 1
            self.states.append(state.to_bytes())
            self.n_sums.append(len(recorder.sums))

        self.result = train(params, table, recorder, validation=validation, on_step=on_step)
        self.calls: Calls = recorder.calls

    def check_resumed(self, step: int) -> None:
        """Resume after ``step`` steps and compare all that comes."""
        start = TrainingState.from_bytes(self.states[step - 1], schema=self.table.schema)
        assert start.n_steps == step
        assert start.to_bytes() == self.states[step - 1]
        later: list[bytes] = []
        told: list[TreeProgress] = []
        recorder = RecordingCommunicator()
        found = train(
            self.params,
            self.table,
            recorder,
            validation=self.validation,
            start=start,
            on_step=lambda state: later.append(state.to_bytes()),
            on_tree=told.append,
        )
        assert recorder.calls == self.calls[self.n_sums[step - 1] :]
        assert later == self.states[step:]
        assert tuple(told) == self.result.history[step - 1 :]
        check_same(found, self.result)


def check_same(found: TrainResult, expected: TrainResult) -> None:
    assert found.model.to_json() == expected.model.to_json()
    assert found.history == expected.history
    assert found.counts == expected.counts
    assert found.best_iteration == expected.best_iteration
    assert found.margins.tobytes() == expected.margins.tobytes()


def params_of(**given_settings: Any) -> BoosterParams:
    return BoosterParams.parse(
        {"num_boost_round": 4, "max_bin": 16, "max_depth": 3} | given_settings
    )


def tables(
    n_rows: int, *, missing: float, categorical: int, weighted: bool, seed: int = 2
) -> tuple[TrainingTable, TrainingTable]:
    rng = np.random.default_rng(seed)
    table, held_out = (
        synthetic_table(n, 6, rng, missing=missing, categorical=categorical, prevalence=0.2)
        for n in (n_rows, n_rows // 2)
    )
    if weighted:
        weights = rng.uniform(0.1, 3.0, n_rows).astype(np.float32)
        table = replace(table, weights=weights, max_weight=3.0)
    return table, held_out


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize(
    ("chosen", "of_table", "validated"),
    [
        ({}, {}, False),
        ({}, {"missing": 0.2}, True),
        ({"subsample": 0.6, "seed": 9}, {"missing": 0.1}, True),
        ({"colsample_bytree": 0.5, "colsample_bynode": 0.5}, {"categorical": 2}, False),
        ({"max_cat_to_onehot": 1, "max_depth": 4}, {"categorical": 4, "missing": 0.1}, True),
        ({"max_depth": 0, "max_leaves": 6, "grow_policy": "lossguide"}, {"categorical": 1}, False),
        ({"scale_pos_weight": 5.0, "base_score": 0.25}, {"weighted": True}, False),
        ({"eval_metric": ["auc", "error", "logloss"], "eta": 1.0}, {"weighted": True}, True),
        ({"max_depth": 1, "gamma": 1e6}, {}, True),
    ],
    ids=str,
)
def test_every_step_can_be_resumed(
    chosen: dict[str, Any], of_table: dict[str, Any], validated: bool, engine: str
) -> None:
    with numpy_only() if engine == "numpy" else contextlib.nullcontext():
        table, held_out = tables(
            500, **{"missing": 0.0, "categorical": 0, "weighted": False, **of_table}
        )
        whole = Undisturbed(params_of(**chosen), table, held_out if validated else None)
        assert len(whole.states) == 5
        for step in range(1, 6):
            whole.check_resumed(step)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(60, 300),
    missing=st.sampled_from([0.0, 0.2]),
    categorical=st.sampled_from([0, 2, 6]),
    weighted=st.booleans(),
    validated=st.booleans(),
    chosen=st.fixed_dictionaries(
        {
            "max_bin": st.sampled_from([2, 5, 64]),
            "eta": st.sampled_from([0.05, 1.0]),
            "subsample": st.sampled_from([1.0, 1.0, 0.5]),
            "colsample_bytree": st.sampled_from([1.0, 0.5]),
            "colsample_bylevel": st.sampled_from([1.0, 0.5]),
            "scale_pos_weight": st.sampled_from([1.0, 20.0]),
            "max_cat_to_onehot": st.sampled_from([1, 4]),
        }
    ),
    shape=st.sampled_from(
        [
            {"max_depth": 1},
            {"max_depth": 4},
            {"max_depth": 0, "max_leaves": 5, "grow_policy": "lossguide"},
        ]
    ),
    step=st.integers(1, 5),
)
def test_any_training_can_be_resumed(
    seed: int,
    n_rows: int,
    missing: float,
    categorical: int,
    weighted: bool,
    validated: bool,
    chosen: dict[str, Any],
    shape: dict[str, Any],
    step: int,
) -> None:
    table, held_out = tables(
        n_rows, missing=missing, categorical=categorical, weighted=weighted, seed=seed
    )
    params = params_of(**chosen, **shape)
    Undisturbed(params, table, held_out if validated else None).check_resumed(step)


def test_early_stopping_is_resumed_as_well() -> None:
    rng = np.random.default_rng(4)
    # Half of the labels are noise: more trees soon make it worse.
    table, held_out = (
        replace(part, labels=(rng.random(part.n_rows) < 0.3).astype(np.float32))
        for part in tables(500, missing=0.0, categorical=0, weighted=False)
    )
    params = params_of(num_boost_round=30, early_stopping_rounds=3, eval_metric=["error", "auc"])
    whole = Undisturbed(params, table, held_out)
    assert whole.result.best_iteration is not None
    assert 5 < len(whole.states) == 1 + whole.result.best_iteration + 1 + 3 < 31
    for step in range(1, len(whole.states) + 1):
        whole.check_resumed(step)


class Deaf:
    """Sums nothing."""

    def sum(self, *args: object, **options: object) -> Int64Array:
        raise AssertionError("a sum was asked for")


def test_a_finished_training_needs_no_sum_even_with_other_banks() -> None:
    table, held_out = tables(300, missing=0.1, categorical=1, weighted=False)
    whole = Undisturbed(params_of(), table, held_out)
    last = TrainingState.from_bytes(whole.states[-1], schema=table.schema)
    told: list[object] = []
    for start in (last, last.regrouped(), last.regrouped(more_rows=7)):
        found = train(
            whole.params,
            table,
            Deaf(),
            validation=held_out,
            start=start,
            on_step=told.append,
            on_tree=told.append,
        )
        check_same(found, whole.result)
    assert told == []


def test_an_exception_from_on_step_ends_the_training_there() -> None:
    table, _ = tables(300, missing=0.0, categorical=0, weighted=False)
    steps: list[int] = []

    def on_step(state: TrainingState) -> None:
        steps.append(state.n_steps)
        if state.n_steps == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(params_of(), table, SoloCommunicator(), on_step=on_step)
    assert steps == [1, 2, 3]


def test_a_state_is_kept_before_its_tree_is_told() -> None:
    table, _ = tables(300, missing=0.0, categorical=0, weighted=False)
    told: list[tuple[str, int]] = []
    train(
        params_of(num_boost_round=2),
        table,
        SoloCommunicator(),
        on_step=lambda state: told.append(("step", state.n_steps)),
        on_tree=lambda progress: told.append(("tree", progress.tree_index)),
    )
    assert told == [("step", 1), ("step", 2), ("tree", 0), ("step", 3), ("tree", 1)]


def test_a_state_of_another_training_is_refused_before_any_sum() -> None:
    table, held_out = tables(300, missing=0.1, categorical=1, weighted=False)
    params = params_of()
    states: list[TrainingState] = []
    train(params, table, SoloCommunicator(), on_step=states.append)

    def resume(params: BoosterParams, table: TrainingTable, **more: Any) -> None:
        train(params, table, Deaf(), start=states[2], **more)

    with pytest.raises(StateError, match="with other parameters"):
        resume(params_of(eta=0.31), table)
    with pytest.raises(StateError, match="with other parameters"):
        resume(params_of(num_boost_round=9), table)
    with pytest.raises(StateError, match="without validation rows"):
        resume(params, table, validation=held_out)
    names = ("z", *table.schema.names[1:])
    other = replace(table, schema=replace(table.schema, names=names))
    with pytest.raises(StateError, match="with other features"):
        resume(params, other)
    train(params, table, SoloCommunicator(), validation=held_out, on_step=states.append)
    states[2] = states[-1]
    with pytest.raises(StateError, match="training with validation rows"):
        resume(params, table)
