"""Parts that are lost, moved or asked twice give the bytes of one table; no cluster is needed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cohorts.noising import ChosenNoise, noise_of_labels
from examples.spread import Forgetful, in_parts, make_table, shard_on
from hypothesis import given, settings
from hypothesis import strategies as st
from private_tables import PARAMS as PRIVATE_PARAMS
from private_tables import table_of, terms_of

from fraudfed.boosting.private.train import check_private, train_private
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dask_engine import held
from fraudfed.errors import ClusterError, DataError, ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.terms import PrivacyUnit, TrainingWay

PARAMS = BoosterParams(num_boost_round=4, max_depth=3, eta=0.3, subsample=0.7, max_bin=16)
TABLE = make_table(600)
VALIDATION = make_table(200, seed=1)


def model_of(rows: Any, validation: Any = VALIDATION, params: BoosterParams = PARAMS) -> bytes:
    found = train(params, rows, SoloCommunicator(), validation=validation, threads=1)
    return found.model.to_json()


@settings(max_examples=12, deadline=None)
@given(
    n_parts=st.integers(1, 12),
    seed=st.integers(0, 99),
    every=st.sampled_from([0.0, 0.1, 0.5]),
    depth_first=st.booleans(),
)
def test_whatever_is_lost_the_model_has_the_bytes_of_one_table(
    n_parts: int, seed: int, every: float, depth_first: bool
) -> None:
    policy = {"grow_policy": "lossguide", "max_leaves": 6} if depth_first else {}
    params = BoosterParams.parse({**PARAMS.to_mapping(), **policy})
    work = Forgetful(seed, every)
    rows = shard_on(work, in_parts(TABLE, n_parts, seed=seed))
    validation = shard_on(work, in_parts(VALIDATION, n_parts, seed=seed + 1))
    assert model_of(rows, validation, params) == model_of(TABLE, VALIDATION, params)


@settings(max_examples=6, deadline=None)
@given(
    n_parts=st.integers(1, 5),
    seed=st.integers(0, 99),
    weighted=st.booleans(),
    way=st.sampled_from(TrainingWay),
)
def test_a_private_training_sums_and_makes_the_same_whatever_is_lost(
    n_parts: int, seed: int, weighted: bool, way: TrainingWay
) -> None:
    terms = terms_of(way=way)
    table = replace(table_of(300, seed=seed, weighted=weighted), customers=None)
    here, there = (ChosenNoise(noise_of_labels(seed)) for _ in range(2))
    expected = train_private(PRIVATE_PARAMS, terms, table, here)
    shard = shard_on(Forgetful(seed, 0.3), in_parts(table, n_parts, seed=seed))
    check_private(PRIVATE_PARAMS, terms, shard)
    found = train_private(PRIVATE_PARAMS, terms, shard, there)
    assert found.model.to_json() == expected.model.to_json()
    assert here.by_label.keys() == there.by_label.keys()
    for label, summed in here.by_label.items():
        np.testing.assert_array_equal(there.by_label[label].values, summed.values)


def test_customers_are_not_bounded_on_a_cluster() -> None:
    terms = terms_of(unit=PrivacyUnit.CUSTOMER, row_cap=4)
    shard = shard_on(Forgetful(), [replace(table_of(50), customers=None)])
    with pytest.raises(ParameterError, match=r"the privacy unit is the customer.*several parts"):
        check_private(PRIVATE_PARAMS, terms, shard)


def test_parts_are_really_lost_in_these_tests() -> None:
    work = Forgetful(1, 0.3)
    model_of(shard_on(work, in_parts(TABLE, 4)), VALIDATION)
    assert work.n_lost > 20


def test_a_level_takes_one_piece_of_work_a_part_and_brings_one_answer() -> None:
    work = Forgetful()
    shard = shard_on(work, in_parts(TABLE, 7))
    rows = shard.bin(model_cuts()).start((), 0.5)
    growing = rows.grow(scale_pos_weight=1.0)
    growing.sums([order(0)])
    given, received = work.n_given, work.n_received
    growing.split([half(0, 1, 2)])
    growing.sums([order(1), order(2)])
    # Seven parts and one addition, however many nodes there are.
    assert (work.n_given - given, work.n_received - received) == (8, 1)


def test_answers_are_those_of_one_table_call_by_call() -> None:
    one, cuts = LocalShard(TABLE), model_cuts()
    work = Forgetful(5, 0.2)
    many = shard_on(work, in_parts(TABLE, 5))
    assert (many.n_rows, many.n_positives) == (one.n_rows, one.n_positives)
    many.check("rows")
    np.testing.assert_array_equal(many.weight_parts(), one.weight_parts())
    np.testing.assert_array_equal(
        many.masses(scale_pos_weight=2.0), one.masses(scale_pos_weight=2.0)
    )
    np.testing.assert_array_equal(
        many.scaled(0.5).masses(scale_pos_weight=1.0), one.scaled(0.5).masses(scale_pos_weight=1.0)
    )
    rows = [shard.bin(cuts, for_draws=True).start((), 0.3) for shard in (one, many)]
    for each in rows:
        growing = each.grow(scale_pos_weight=1.5)
        growing.split([half(0, 1, 2)])
        growing.finish(np.array([0, 0.25, -0.5], dtype=np.float32))
    # Before anything else is asked of the rows.
    for name in ("case_margins", "margins"):
        expected, found = (getattr(each, name)() for each in rows)
        if name == "margins":
            expected, found = np.sort(expected), np.sort(found)
        np.testing.assert_array_equal(found, expected)
    thresholds = rows[0].case_margins()[0]
    np.testing.assert_array_equal(*(each.count_others(thresholds) for each in rows))
    tried = half(0, 1, 2)
    sides = [each.grow(scale_pos_weight=1.5).sides([tried]) for each in rows]
    np.testing.assert_array_equal(*sides)


def test_a_row_that_breaks_the_contract_is_named_by_its_number_over_all_parts() -> None:
    parts = in_parts(TABLE, 5)
    bad = parts[3]
    bad.features[2, 0] = np.inf
    before = sum(part.n_rows for part in parts[:3])
    with pytest.raises(DataError, match=rf"training rows: feature 'amount' of row {before + 2} is"):
        shard_on(Forgetful(), parts).check("training rows")


def test_a_model_that_no_longer_grows_is_forgotten_on_the_workers() -> None:
    work = Forgetful()
    binned = shard_on(work, in_parts(TABLE, 3)).bin(model_cuts())
    first, second = binned.start((), 0.5), binned.start((), 0.5)
    first.margins()
    second.margins()
    (part, *_) = [each.result() for each in binned._held]
    assert len(part.growths) == 2
    del first
    second.margins()
    assert len(part.growths) == 1


def test_rows_are_never_in_what_a_worker_writes_to_its_log() -> None:
    rows = held.HeldRows(3, TABLE)
    bins = rows.binned(model_cuts(), for_draws=False)
    assert (repr(rows), repr(bins)) == ("<rows of part 3>", "<bins of part 3>")


def test_a_cluster_that_loses_parts_at_every_step_is_given_up() -> None:
    work = Forgetful()
    rows = shard_on(work, in_parts(TABLE, 2)).bin(model_cuts()).start((), 0.5)
    rows.margins()

    for each in rows._binned._held:
        each.result().answer = lambda request: held.Answer(astray=(0,))
    with pytest.raises(ClusterError, match="lost 20 times at one step"):
        rows.margins()


def test_control_without_the_step_a_lost_part_changes_the_model(monkeypatch) -> None:
    expected = model_of(TABLE)
    monkeypatch.setattr(held._Growth, "is_at", lambda growth, step: step != 0)
    found = set()
    for seed in range(3):
        work = Forgetful(seed, 0.2)
        try:
            found.add(model_of(shard_on(work, in_parts(TABLE, 3))))
        except Exception as error:
            found.add(repr(error).encode())
    assert expected not in found


def model_cuts() -> Any:
    return train(PARAMS, TABLE, SoloCommunicator(), validation=VALIDATION, threads=1).cuts


def order(node: int) -> Any:
    from fraudfed.boosting.shard.protocol import SumOrder

    return SumOrder(node, np.arange(4, dtype=np.int64))


def half(node: int, left: int, right: int) -> Any:
    from fraudfed.boosting.shard.protocol import NodeSplit

    n_bins = len(model_cuts().values[0])
    table = np.append(np.arange(n_bins) < n_bins // 2, True)
    return NodeSplit(node, 0, table, left, right)
