"""What one bank's rows weigh is bounded by what was agreed, and nothing else changes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cohorts.exact import CohortCommunicator, run_cohort
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.boosting.bank_weight import bound_weight
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.table import FeatureSchema, TrainingTable, check_rows
from fraudfed.boosting.train import train
from fraudfed.catalogue.search_check import check_search
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages.kinds.search import SearchCandidate, SearchRung, SearchSpec

SCHEMA = FeatureSchema(("a", "b"), (0, 0))
SETTINGS: dict[str, Any] = {"num_boost_round": 2, "max_depth": 2, "max_bin": 8}


def rows_of(n_rows: int, seed: int, weights: Any = None) -> TrainingTable:
    rng = np.random.default_rng(seed)
    features = np.asfortranarray(rng.normal(size=(n_rows, 2)).astype(np.float32))
    labels = (features[:, 0] + rng.normal(size=n_rows) > 0.5).astype(np.float32)
    labels[:2] = (0, 1)
    given_ = None if weights is None else np.asarray(weights, dtype=np.float32)
    return TrainingTable(SCHEMA, features, labels, given_, 1.0 if weights is None else 100.0)


@given(
    weights=st.lists(st.floats(2.0**-10, 100, width=32), min_size=2, max_size=40),
    most=st.floats(1e-3, 2000),
)
def test_the_sum_is_bounded_and_no_weight_grows(weights: list[float], most: float) -> None:
    table = rows_of(len(weights), 1, weights)
    bounded = bound_weight(LocalShard(table), most).table
    assert bounded.weights is not None
    assert table.weights is not None
    total = float(bounded.weights.astype(np.float64).sum())
    assert total <= max(most, 0)
    assert (bounded.weights <= table.weights).all()
    check_rows(bounded, what="bounded")
    if float(table.weights.astype(np.float64).sum()) > most:
        assert total >= most * (1 - 1e-6)
    else:
        assert bounded.weights.tobytes() == table.weights.tobytes()


def test_no_bound_is_the_table_itself() -> None:
    table = rows_of(20, 1)
    shard = LocalShard(table)
    assert bound_weight(shard, 0.0) is shard
    params = BoosterParams.parse(SETTINGS)
    spelt = BoosterParams.parse({**SETTINGS, "max_bank_weight": 0})
    assert params == spelt


def test_a_bound_that_nobody_reaches_changes_no_tree() -> None:
    table = rows_of(200, 3)
    free = train(BoosterParams.parse(SETTINGS), table, SoloCommunicator())
    loose = BoosterParams.parse({**SETTINGS, "max_bank_weight": 1e6})
    assert train(loose, table, SoloCommunicator()).model.to_json() == free.model.to_json()


def test_a_training_with_a_bound_is_one_of_rows_that_each_bank_has_scaled() -> None:
    tables = [rows_of(400, 1), rows_of(50, 2)]
    params = BoosterParams.parse({**SETTINGS, "max_bank_weight": 60})

    def program(bank: int, communicator: CohortCommunicator) -> bytes:
        return train(params, tables[bank], communicator).model.to_json()

    models = run_cohort(2, program)
    scaled = [bound_weight(LocalShard(table), 60).table for table in tables]
    pooled = TrainingTable(
        SCHEMA,
        np.asfortranarray(np.concatenate([table.features for table in scaled])),
        np.concatenate([table.labels for table in scaled]),
        np.concatenate([t.weights for t in scaled if t.weights is not None]),
    )
    expected = train(replace(params, max_bank_weight=0.0), pooled, SoloCommunicator())
    assert set(models) == {expected.model.to_json()}
    unbounded = train(BoosterParams.parse(SETTINGS), pooled, SoloCommunicator())
    assert unbounded.model.to_json() == models[0]
    free = train(BoosterParams.parse(SETTINGS), replace(pooled, weights=None), SoloCommunicator())
    assert free.model.to_json() != models[0]


def test_candidates_share_the_bound() -> None:
    spec = SearchSpec(
        candidates=(
            SearchCandidate(name="a", parameters={"max_bank_weight": 10}),
            SearchCandidate(name="b", parameters={"max_depth": 3}),
        ),
        rungs=(SearchRung(trees=2, alive=2),),
    )
    with pytest.raises(ParameterError, match="2 values of max_bank_weight"):
        check_search(spec, {})
    alike = {"a": {"max_depth": 2}, "b": {"max_depth": 3}}
    candidates = tuple(SearchCandidate(name=n, parameters=p) for n, p in alike.items())
    found = check_search(spec.model_copy(update={"candidates": candidates}), {"max_bank_weight": 5})
    assert [each.max_bank_weight for each in found] == [5.0, 5.0]
