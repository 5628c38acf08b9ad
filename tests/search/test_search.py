"""Searches over several banks in one process, with exact sums."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cohorts.exact import run_cohort
from examples.searched import CANDIDATES, COMMON, SELECT, SPEC, TABLE, alone, only, part_of, rows

from fraudfed.boosting.metrics import average_precision
from fraudfed.boosting.score_cells import N_COARSE_CELLS, coarse_cells_of, count_cells
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError, ParameterError, StateError
from fraudfed.evaluation.bank_metric import METRIC_ONE, bank_auprc
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.search.held_state import check_search_state
from fraudfed.search.result import SearchResult
from fraudfed.search.running import SearchProgress
from fraudfed.search.search import search
from fraudfed.search.state import SearchState
from fraudfed.wire.messages.kinds.search import SearchCandidate, SearchRung, SearchSpec, SelectBy


def split(n_rows: int, n_banks: int) -> list[Int64Array]:
    bank = np.random.default_rng(n_banks).integers(0, n_banks, n_rows)
    return [np.flatnonzero(bank == number) for number in range(n_banks)]


def over_banks(
    n_banks: int,
    spec: SearchSpec = SPEC,
    *,
    table: TrainingTable = TABLE,
    select: Sequence[JudgedRows] | None = None,
    start: SearchState | None = None,
    on_step: Callable[[SearchState], None] | None = None,
) -> list[SearchResult]:
    parts = split(table.n_rows, n_banks)
    nothing = JudgedRows(
        SELECT.schema, SELECT.features[:0], SELECT.outcomes.take(np.arange(0, dtype=np.int64))
    )
    selects = [SELECT, *[nothing] * (n_banks - 1)] if select is None else select
    return run_cohort(
        n_banks,
        lambda bank, communicator: search(
            spec,
            COMMON,
            part_of(table, parts[bank]),
            selects[bank],
            communicator,
            start=start,
            on_step=on_step if bank == 0 else None,
            threads=1,
        ),
    )


@pytest.mark.parametrize(("n_banks", "weighted"), [(3, True), (7, False)])
def test_any_partition_of_the_training_rows_gives_the_same_bytes(
    n_banks: int, weighted: bool
) -> None:
    table = rows(weighted=weighted)
    expected = alone(table=table)
    for found in over_banks(n_banks, table=table):
        assert found.to_json() == expected.to_json()
        assert found.model.to_json() == expected.model.to_json()


@pytest.mark.parametrize("n_banks", [3])
def test_pooled_the_choice_does_not_depend_on_which_bank_selects_by_which_rows(
    n_banks: int,
) -> None:
    spec = SPEC.model_copy(update={"select_by": SelectBy.POOLED, "patience": 2})
    expected = alone(spec)
    selects = [
        JudgedRows(SELECT.schema, SELECT.features[part], SELECT.outcomes.take(part))
        for part in split(SELECT.n_rows, n_banks)
    ]
    for found in over_banks(n_banks, spec, select=selects):
        assert (found.winner, found.best.pooled) == (expected.winner, expected.best.pooled)
        assert found.model.to_json() == expected.model.to_json()


def test_the_model_is_that_of_a_training_with_the_chosen_parameters() -> None:
    for spec in (SPEC, *(only(candidate) for candidate in CANDIDATES)):
        found = alone(spec)
        trained = train(found.params, TABLE, SoloCommunicator(), threads=1)
        assert found.model.to_json() == trained.model.to_json()


def margins_of(trained: TrainResult, rows_: JudgedRows) -> Float32Array:
    known = ~rows_.outcomes.is_censored
    table = TrainingTable(rows_.schema, rows_.features[known], rows_.outcomes.labels[known])
    model = trained.model
    rows = LocalShard(table).bin(trained.cuts).start(model.trees, model.base_score)
    return rows.margins()


def test_points_are_what_evaluation_says_of_the_same_trees() -> None:
    found = alone(only(CANDIDATES[2]))
    known = ~SELECT.outcomes.is_censored
    labels = SELECT.outcomes.labels[known]
    for point in found.candidates[0].curve:
        params = replace(found.params, num_boost_round=point.trees)
        trained = train(params, TABLE, SoloCommunicator(), threads=1)
        margins = margins_of(trained, SELECT)
        expected = bank_auprc(margins, labels)
        assert expected is not None
        assert point.mean_of_banks == expected / METRIC_ONE
        if point.pooled is not None:
            counts = count_cells(
                coarse_cells_of(margins),
                (labels == 1).astype(np.int64),
                n_cells=N_COARSE_CELLS,
                n_classes=2,
            )
            assert point.pooled == average_precision(*counts)
    assert [point.pooled is not None for point in found.candidates[0].curve] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_banks_weigh_their_cases_and_at_most_200_of_them() -> None:
    half = np.arange(0, SELECT.n_rows, 2)
    few = np.setdiff1d(np.arange(60), half)
    pieces = [
        JudgedRows(SELECT.schema, SELECT.features[at], SELECT.outcomes.take(at))
        for at in (half, few, few[:0])
    ]
    big = JudgedRows(
        SELECT.schema,
        np.tile(SELECT.features, (4, 1)),
        Outcomes(
            labels=np.tile(SELECT.outcomes.labels, 4),
            is_blocked=np.tile(SELECT.outcomes.is_blocked, 4),
        ),
    )
    selects = [big, *pieces[1:]]
    [found, *_] = over_banks(3, only(CANDIDATES[0]), select=selects)
    n_few = int(np.count_nonzero(pieces[1].outcomes.labels == 1))
    assert found.counts["select_weight"] == 200 + n_few
    trained = train(found.params, TABLE, SoloCommunicator(), threads=1)
    total = 0
    for piece, weight in zip(selects[:2], (200, n_few), strict=True):
        known = ~piece.outcomes.is_censored
        margins = margins_of(trained, piece)
        total += weight * (bank_auprc(margins, piece.outcomes.labels[known]) or 0)
    assert found.best.mean_of_banks == total / ((200 + n_few) * METRIC_ONE)


@pytest.mark.parametrize("select_by", SelectBy)
def test_a_search_continues_from_every_state_with_the_same_bytes(select_by: SelectBy) -> None:
    spec = SPEC.model_copy(update={"select_by": select_by, "patience": 3})
    kept: list[bytes] = []
    expected = alone(spec, on_step=lambda state: kept.append(state.to_bytes()))
    assert len(kept) <= 1 + SPEC.rungs[-1].trees
    for number, data in enumerate(kept):
        state = SearchState.from_bytes(data, schema=TABLE.schema)
        assert (state.to_bytes(), state.n_steps) == (data, number + 1)
        check_search_state(state, spec, COMMON, schema=TABLE.schema, max_weight=1.0)
        if number % 2:
            found = over_banks(3, spec, start=state)
            assert {each.to_json() for each in found} == {expected.to_json()}
        else:
            later: list[bytes] = []
            alone(spec, start=state, on_step=lambda s: later.append(s.to_bytes()))  # noqa: B023
            assert later == kept[number + 1 :]


def test_other_banks_continue_a_search_with_what_it_knows() -> None:
    """Banks come and go; what all banks of a stage have is what one bank with their rows has."""
    kept: list[SearchState] = []
    first = part_of(TABLE, np.arange(350))
    alone(table=first, on_step=kept.append)
    for state in kept[:-1]:
        new = state.regrouped(more_rows=150)
        again = SearchState.from_bytes(new.to_bytes(), schema=TABLE.schema)
        assert again.to_bytes() == new.to_bytes()
        expected = alone(start=again)
        if state.n_trees % 3 == 1:
            for found in over_banks(3, start=again):
                assert found.to_json() == expected.to_json()
    without = kept[3].regrouped()
    fewer = alone(table=part_of(TABLE, np.arange(200)), start=without)
    assert fewer.candidates[0].curve[:2] == kept[3].candidates[0].curve[:2]
    with pytest.raises(DataError, match="let fewer banks in"):
        kept[0].regrouped(more_rows=2**36)
    with pytest.raises(ValueError, match="at least 0"):
        kept[0].regrouped(more_rows=-1)


def test_rounds_are_those_of_the_deepest_candidate_and_not_of_all() -> None:
    found = alone()
    # Counts; base score and cuts; then a tree of depth 4 or the default 6 a step, whose first sum
    # carries the points of the tree before; and one more at the end of each rung.
    assert found.rounds <= 1 + 8 + 7 * 7 + 3
    assert sum(each.trees for each in found.candidates) == 2 * 2 + 2 * 4 + 7


def test_patience_ends_the_last_rung_and_the_best_tree_is_kept() -> None:
    spec = SPEC.model_copy(
        update={
            "patience": 2,
            "rungs": (SearchRung(trees=2, alive=5), SearchRung(trees=60, alive=1)),
        }
    )
    seen: list[SearchProgress] = []
    found = alone(spec, on_progress=seen.append)
    last = next(each for each in found.candidates if each.is_alive)
    assert last.trees < 60
    assert last.curve[-1].trees - found.best.trees == 2
    assert len(found.model.trees) == found.best.trees
    assert seen[-1].alive == (found.winner,)
    assert (seen[-1].leader, seen[-1].value) == (found.winner, found.best.mean_of_banks)
    assert seen[0].leader is None


def test_search_json_tells_every_curve_and_the_choice() -> None:
    found = alone()
    document = json.loads(found.to_json())
    assert list(document) == sorted(document)
    assert [each["name"] for each in document["candidates"]] == [c.name for c in CANDIDATES]
    assert [each["trees"] for each in document["candidates"]].count(2) == 2
    heavy = document["candidates"][2]
    n_frauds = document["counts"]["train_frauds"]
    assert heavy["parameters"]["min_child_weight"] == pytest.approx(0.1 * n_frauds)
    assert document["candidates"][0]["parameters"]["min_child_weight"] == 1
    assert document["choice"]["name"] == found.winner
    assert document["choice"]["parameters"]["num_boost_round"] == found.best.trees
    assert document["choice"]["model_sha256"] == found.model.sha256
    assert document["cost"]["values_summed"] > sum(
        each["values_summed"] for each in document["candidates"]
    )
    best = max(point["mean_of_banks"] for each in document["candidates"] for point in each["curve"])
    assert document["best_by"]["mean_of_banks"]["value"] == best
    assert set(found.curves) == {candidate.name for candidate in CANDIDATES}


@pytest.mark.parametrize(
    ("common", "own", "message"),
    [
        ({"etta": 1}, {}, "of all candidates: unknown parameter 'etta'"),
        ({}, {"etta": 1}, "candidate 'second': unknown parameter 'etta'"),
        ({}, {"eta": -1}, "candidate 'second': .*eta is -1"),
        ({}, {"eta": 1, "learning_rate": 1}, "candidate 'second': .*the same parameter"),
        ({}, {"max_depth": 0}, "candidate 'second': max_depth and max_leaves are both 0"),
        ({}, {"min_child_weight": 3}, "candidate 'second': .*min_child_share and min_child_weight"),
        ({}, {"num_boost_round": 3}, "candidate 'second': num_boost_round .* the rungs"),
        ({"early_stopping_rounds": 3}, {}, "early_stopping_rounds is 3.* patience"),
        ({"eval_metric": "auc"}, {}, "eval_metric is 'auc'.* select_by"),
        ({}, {"monotone_constraints": {"nobody": 1}}, "candidate 'second': .*no feature 'nobody'"),
    ],
)
def test_a_wrong_parameter_is_refused_and_the_candidate_named(
    common: dict[str, Any], own: dict[str, Any], message: str
) -> None:
    second = SearchCandidate(name="second", parameters=own, min_child_share=0.1)
    spec = SearchSpec(candidates=(CANDIDATES[0], second), rungs=(SearchRung(trees=2, alive=2),))
    with pytest.raises(ParameterError, match=message):
        search(spec, common, TABLE, SELECT, SoloCommunicator())


def test_a_window_without_frauds_is_refused() -> None:
    no_fraud = replace(TABLE, labels=np.zeros_like(TABLE.labels))
    with pytest.raises(DataError, match="training rows of all banks have only one class"):
        alone(table=no_fraud)
    for value, message in (
        (0.0, "rows of the select window of all banks have only one class, label 0"),
        (np.nan, "no bank has any rows of the select window"),
    ):
        labels = np.full(SELECT.n_rows, value, dtype=np.float32)
        select = JudgedRows(SELECT.schema, SELECT.features, replace(SELECT.outcomes, labels=labels))
        with pytest.raises(DataError, match=message):
            search(SPEC, COMMON, TABLE, select, SoloCommunicator())


def test_no_bank_that_can_compare_is_refused() -> None:
    frauds = np.flatnonzero(SELECT.outcomes.labels == 1)
    others = np.flatnonzero(SELECT.outcomes.labels == 0)
    selects = [
        JudgedRows(SELECT.schema, SELECT.features[at], SELECT.outcomes.take(at))
        for at in (frauds, others, others[:0])
    ]
    with pytest.raises(DataError, match="no bank has both frauds and other payments"):
        over_banks(3, select=selects)


def test_a_state_of_another_search_is_refused() -> None:
    kept: list[SearchState] = []
    alone(on_step=kept.append)
    state = kept[4]
    with pytest.raises(StateError, match="other candidates, rungs or parameters"):
        alone(SPEC.model_copy(update={"patience": 7}), start=state)
    other = replace(TABLE.schema, names=("a", "b", "c", "d", "e"))
    with pytest.raises(StateError, match="other features"):
        SearchState.from_bytes(state.to_bytes(), schema=other)
    with pytest.raises(StateError, match="other features"):
        search(
            SPEC,
            COMMON,
            replace(TABLE, schema=other),
            replace(SELECT, schema=other),
            SoloCommunicator(),
            start=state,
        )
    with pytest.raises(DataError, match="another schema"):
        search(SPEC, COMMON, TABLE, replace(SELECT, schema=other), SoloCommunicator())
