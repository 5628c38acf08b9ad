"""Banks leave, come back and come late between two steps; the simulation says what must come."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cohorts.recording import RecordingCommunicator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles.stages import Bank, Simulated, Stage, StagedTraining, simulate, train_in_stages

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.errors import DataError, SumError
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams


def part_of(table: TrainingTable, chosen: Int64Array) -> TrainingTable:
    return replace(
        table,
        features=table.features[chosen],
        labels=table.labels[chosen],
        weights=None if table.weights is None else table.weights[chosen],
    )


def split_over_banks(
    table: TrainingTable, n_banks: int, rng: np.random.Generator, *, by_label: bool = False
) -> list[TrainingTable]:
    """Share out the rows unevenly; by label, the later banks have one label each, in turn."""
    bank_of_row = rng.choice(n_banks, table.n_rows, p=rng.dirichlet(np.full(n_banks, 1.5)))
    if by_label:
        # Sums of g over one label are the lowest and the highest there can be.
        for bank in range(1, n_banks):
            wrong = (bank_of_row == bank) & (table.labels != bank % 2)
            bank_of_row[wrong] = 0
    return [part_of(table, np.flatnonzero(bank_of_row == bank)) for bank in range(n_banks)]


def banks_of(
    n_banks: int,
    *,
    seed: int = 0,
    n_rows: int = 600,
    missing: float = 0.1,
    categorical: int = 2,
    weighted: bool = False,
    validated: bool = False,
    by_label: bool = False,
) -> list[Bank]:
    rng = np.random.default_rng(seed)
    both = synthetic_table(
        2 * n_rows, 5, rng, missing=missing, categorical=categorical, prevalence=0.3
    )
    table, held_out = (part_of(both, np.arange(at, 2 * n_rows, 2)) for at in (0, 1))
    if weighted:
        weights = rng.uniform(0.1, 2.0, n_rows).astype(np.float32)
        table = replace(table, weights=weights, max_weight=2.0)
    parts = split_over_banks(table, n_banks, rng, by_label=by_label)
    if not validated:
        return [Bank(part) for part in parts]
    validations = split_over_banks(held_out, n_banks, rng)
    return [Bank(*pair) for pair in zip(parts, validations, strict=True)]


def params_of(**given_settings: Any) -> BoosterParams:
    return BoosterParams.parse(
        {"num_boost_round": 6, "max_bin": 12, "max_depth": 3} | given_settings
    )


def check(found: StagedTraining, expected: Simulated, n_banks: int) -> None:
    assert len(found.results) == n_banks
    for result in found.results:
        assert result.model.to_json() == expected.model.to_json()
        assert len(result.history) == len(expected.trees)
        assert [dict(each.metrics) for each in result.history if each.metrics] == expected.metrics
    assert len(found.states) == 1 + len(expected.trees)


STAGES = {
    "drop": [Stage((0, 1, 2), 3), Stage((0, 2))],
    "drop after the preparation": [Stage((0, 1, 2), 1), Stage((0, 2))],
    "drop in the middle of a tree": [Stage((0, 1, 2), 3, n_sums=1), Stage((0, 2))],
    "drop in the middle of the first tree": [Stage((0, 1, 2), 1, n_sums=2), Stage((0, 2))],
    "rejoin": [Stage((0, 1, 2), 2), Stage((0, 2), 4), Stage((0, 1, 2))],
    "late": [Stage((0, 1), 3), Stage((0, 1, 2))],
    "late after the preparation": [Stage((0, 1), 1), Stage((0, 1, 2))],
    "late, gone, back": [
        Stage((0, 1), 2),
        Stage((0, 1, 2), 4),
        Stage((0, 1), 5, n_sums=1),
        Stage((0, 1, 2)),
    ],
    "two late ones": [Stage((0, 1), 2), Stage((0, 1, 2), 4), Stage((0, 1, 2, 3))],
    "one for another": [Stage((0, 1), 3), Stage((0, 2), 5), Stage((1, 2))],
    "changes twice in one place": [Stage((0, 1, 2), 3), Stage((0, 2), 3, n_sums=1), Stage((0, 1))],
}


@pytest.mark.parametrize("stages", STAGES.values(), ids=STAGES.keys())
@pytest.mark.parametrize("by_label", [False, True])
@pytest.mark.parametrize("validated", [False, True])
def test_trees_are_of_the_rows_that_are_there(
    stages: list[Stage], by_label: bool, validated: bool
) -> None:
    banks = banks_of(4, by_label=by_label, validated=validated)
    params = params_of(eval_metric=["aucpr", "logloss"])
    check(
        train_in_stages(params, banks, stages),
        simulate(params, banks, stages),
        len(stages[-1].banks),
    )


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(80, 400),
    missing=st.sampled_from([0.0, 0.2]),
    categorical=st.sampled_from([0, 2, 5]),
    weighted=st.booleans(),
    validated=st.booleans(),
    by_label=st.booleans(),
    spare_rows=st.sampled_from([0, 10_000]),
    chosen=st.fixed_dictionaries(
        {
            "max_bin": st.sampled_from([2, 6, 32]),
            "eta": st.sampled_from([0.1, 1.0]),
            "scale_pos_weight": st.sampled_from([1.0, 0.1, 20.0]),
            "min_child_weight": st.sampled_from([0.0, 1.0]),
            "subsample": st.sampled_from([1.0, 1.0, 0.5]),
            "colsample_bytree": st.sampled_from([1.0, 0.5]),
            "colsample_bynode": st.sampled_from([1.0, 0.5]),
        }
    ),
    shape=st.sampled_from(
        [{"max_depth": 4}, {"max_depth": 0, "max_leaves": 5, "grow_policy": "lossguide"}]
    ),
)
def test_any_schedule_gives_what_the_simulation_gives(
    data: st.DataObject,
    seed: int,
    n_rows: int,
    missing: float,
    categorical: int,
    weighted: bool,
    validated: bool,
    by_label: bool,
    spare_rows: int,
    chosen: dict[str, Any],
    shape: dict[str, Any],
) -> None:
    banks = banks_of(
        4,
        seed=seed,
        n_rows=n_rows,
        missing=missing,
        categorical=categorical,
        weighted=weighted,
        validated=validated,
        by_label=by_label,
    )
    # Bank 0 stays, and a bank that is there for the preparation has rows of either label.
    others = st.sets(st.integers(1, 3), min_size=1).map(lambda found: (0, *sorted(found)))
    ends = sorted(data.draw(st.sets(st.integers(1, 6), min_size=1, max_size=3)))
    stages = [Stage(data.draw(others), end, data.draw(st.integers(0, 2))) for end in ends]
    stages.append(Stage(data.draw(others)))
    if not _has_both_classes(banks, stages):
        return
    params = params_of(**chosen, **shape)
    check(
        train_in_stages(params, banks, stages, spare_rows=spare_rows),
        simulate(params, banks, stages),
        len(stages[-1].banks),
    )


def _has_both_classes(banks: list[Bank], stages: list[Stage]) -> bool:
    def found(parts: list[TrainingTable]) -> set[float]:
        return {float(label) for part in parts for label in part.labels}

    first = [banks[bank].table for bank in stages[0].banks]
    return len(found(first)) == 2 and all(
        banks[0].validation is None
        or len(found([v for b in s.banks if (v := banks[b].validation) is not None])) == 2
        for s in stages
    )


@pytest.mark.parametrize("end", [3, 7])
def test_early_stopping_goes_on_from_the_best_value_so_far(end: int) -> None:
    banks = banks_of(3, validated=True, n_rows=900)
    params = params_of(num_boost_round=40, early_stopping_rounds=3, eta=0.6)
    stages = [Stage((0, 1, 2), end), Stage((0, 1))]
    expected = simulate(params, banks, stages)
    assert 7 < len(expected.trees) < 40
    check(train_in_stages(params, banks, stages), expected, 2)
    # A bank that comes after the end gets the result.
    stages = [*stages[:1], Stage((0, 1), 40), Stage((0, 1, 2))]
    check(train_in_stages(params, banks, stages), expected, 3)


def test_validation_rows_are_counted_once_after_each_change() -> None:
    banks = banks_of(3, validated=True)
    params = params_of()
    found = train_in_stages(
        params, banks, [Stage((0, 1, 2), 3), Stage((0, 1), 5), Stage((0, 1, 2))]
    )
    labels = [[call.label for call in calls] for calls in found.calls]
    assert [of_stage[0] for of_stage in labels] == ["rows", "validation rows", "validation rows"]
    assert [of_stage.count("validation rows") for of_stage in labels] == [0, 1, 1]
    schema = banks[0].table.schema
    states = [TrainingState.from_bytes(state, schema=schema) for state in found.states]
    sizes = [bank.validation.n_rows for bank in banks if bank.validation is not None]
    counted = [state.counts.n_validation_rows for state in states]
    assert counted == [sum(sizes)] * 3 + [sum(sizes[:2])] * 2 + [sum(sizes)] * 2
    assert not any(state.counts_validation for state in states)
    # Resumed without a change, the step after it does not count again.
    solo = train_alone(params, banks[0], states[3])
    assert "validation rows" not in solo
    assert train_alone(params, banks[0], states[3].regrouped())[0] == "validation rows"


def train_alone(params: BoosterParams, bank: Bank, start: TrainingState) -> list[str]:
    recorder = RecordingCommunicator()
    train(params, bank.table, recorder, validation=bank.validation, start=start)
    return recorder.labels


def test_banks_without_both_classes_of_validation_rows_cannot_go_on() -> None:
    banks = banks_of(2, validated=True)
    params = params_of()
    states: list[TrainingState] = []
    train(
        params,
        banks[0].table,
        SoloCommunicator(),
        validation=banks[0].validation,
        on_step=states.append,
    )
    validation = banks[0].validation
    assert validation is not None
    for chosen, message in (
        (np.flatnonzero(validation.labels == 0), "only one class, label 0"),
        (np.empty(0, dtype=np.int64), "no bank has any validation rows"),
    ):
        with pytest.raises(DataError, match=message):
            train(
                params,
                banks[0].table,
                SoloCommunicator(),
                validation=part_of(validation, chosen),
                start=states[2].regrouped(),
            )


def test_training_goes_on_with_one_class_or_no_row_left() -> None:
    """Nobody counts training rows again: what is left is nobody's business but its sums'."""
    banks = banks_of(3, by_label=True)
    empty = Bank(part_of(banks[0].table, np.empty(0, dtype=np.int64)))
    for banks_left in ((1,), (2,), (3,)):
        stages = [Stage((0, 1, 2, 3), 3), Stage(banks_left)]
        params = params_of(reg_lambda=0.0, min_child_weight=0.0)
        check(
            train_in_stages(params, [*banks, empty], stages),
            simulate(params, [*banks, empty], stages),
            1,
        )


def test_rows_that_come_later_add_up() -> None:
    state = prepared(banks_of(2, missing=0.0))
    grown = state.regrouped(more_rows=5).regrouped().regrouped(more_rows=7)
    assert (state.more_rows, grown.more_rows) == (0, 12)
    counts = state.counts
    assert grown.counts == counts
    assert grown.most_rows == counts.n_rows + 12
    assert grown.most_negatives == counts.n_rows - counts.n_positives + 12
    assert grown.most_positives == counts.n_positives + 12
    again = TrainingState.from_bytes(grown.to_bytes(), schema=state.cuts.schema)
    assert again.to_bytes() == grown.to_bytes() == state.regrouped(more_rows=12).to_bytes()
    assert again.more_rows == 12
    # Each bin may hold all of them, and none is known to hold the rest.
    rows = state.cuts.rows_of_bins(state.most_rows)
    is_numeric = np.repeat(
        np.array(state.cuts.schema.n_categories) == 0, np.diff(state.cuts.offsets)
    )
    expected = np.where(is_numeric, rows + 12, grown.most_rows)
    assert grown.cuts.rows_of_bins(grown.most_rows).tolist() == expected.tolist()
    assert not grown.cuts.is_complete(grown.most_rows).any()
    assert state.cuts.is_complete(state.most_rows).any()


def prepared(banks: list[Bank]) -> TrainingState:
    states: list[TrainingState] = []
    params = params_of(num_boost_round=1)
    train(params, banks[0].table, SoloCommunicator(), on_step=states.append)
    return states[0]


def test_more_rows_than_sums_can_hold_are_refused() -> None:
    banks = banks_of(2, weighted=True)
    table = replace(banks[0].table, max_weight=2.0**16)
    states: list[TrainingState] = []
    params = params_of(num_boost_round=2)
    train(params, table, SoloCommunicator(), on_step=states.append)
    start = states[1].regrouped(more_rows=2**14)
    with pytest.raises(DataError, match="exceed the range of exact sums"):
        train(params, table, SoloCommunicator(), start=start)
    with pytest.raises(DataError, match="expected at most 68719476736; let fewer banks in"):
        states[1].regrouped(more_rows=2**36)
    with pytest.raises(ValueError, match="more_rows is -1"):
        states[1].regrouped(more_rows=-1)


REGROUPED = TrainingState.regrouped
IS_COMPLETE = Cuts.is_complete


def keeping_bins(self: TrainingState, *, more_rows: int = 0) -> TrainingState:
    return replace(REGROUPED(self, more_rows=more_rows), bins=self.bins)


def forgetting_rows(self: TrainingState, *, more_rows: int = 0) -> TrainingState:
    return REGROUPED(self)


def complete_before(self: Cuts, n_rows: int) -> BoolArray:
    return IS_COMPLETE(replace(self, more_rows=0), n_rows - self.more_rows)


def counted_negatives(self: TrainingState) -> int:
    return self.counts.n_rows - self.counts.n_positives


def counted_positives(self: TrainingState) -> int:
    return self.counts.n_positives


@pytest.mark.parametrize(
    ("name", "wrong", "stages"),
    [
        (
            "fraudfed.boosting.resume.state.TrainingState.regrouped",
            keeping_bins,
            [Stage((0,), 1), Stage((0, 1), 1), Stage((0,), 3), Stage((0, 1))],
        ),
        (
            "fraudfed.boosting.resume.state.TrainingState.regrouped",
            keeping_bins,
            [Stage((0, 1), 2), Stage((0,), 4), Stage((0, 1))],
        ),
        (
            "fraudfed.boosting.resume.state.TrainingState.regrouped",
            forgetting_rows,
            [Stage((0,), 3), Stage((0, 1))],
        ),
        (
            "fraudfed.boosting.bins.Cuts.is_complete",
            complete_before,
            [Stage((0,), 3), Stage((0, 1))],
        ),
        (
            "fraudfed.boosting.resume.state.TrainingState.most_negatives",
            property(counted_negatives),
            [Stage((0,), 1), Stage((0, 1))],
        ),
        (
            "fraudfed.boosting.resume.state.TrainingState.most_positives",
            property(counted_positives),
            [Stage((0,), 1), Stage((0, 1))],
        ),
    ],
    ids=["rejoin after late", "rejoin", "late", "complete", "negatives", "positives"],
)
def test_control_what_holds_no_longer_breaks_a_bound(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wrong: Callable[..., Any],
    stages: list[Stage],
) -> None:
    """Bank 0 has no missing value and few rows; bank 1 brings many, of the label in question."""
    rng = np.random.default_rng(1)
    label = 1.0 if "positives" in name else 0.0
    few = synthetic_table(300, 4, rng, prevalence=0.3)
    many = synthetic_table(3000, 4, rng, prevalence=0.3, missing=0.2)
    if "most_" in name:
        many = part_of(many, np.flatnonzero(many.labels == label))
    banks = [Bank(few), Bank(many)]
    params = params_of(max_bin=8)
    check(train_in_stages(params, banks, stages), simulate(params, banks, stages), 2)
    monkeypatch.setattr(name, wrong)
    with pytest.raises(SumError):
        train_in_stages(params, banks, stages)
