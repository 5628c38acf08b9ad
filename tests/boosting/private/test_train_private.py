"""A private training: what any way of it must hold to."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xgboost
from cohorts.exact import run_cohort
from cohorts.noising import ChosenNoise, NoiseOf, no_noise, noise_of_labels
from private_tables import PARAMS, SCHEMA, part_of, table_of, terms_of

from fraudfed.boosting.predict import predict
from fraudfed.boosting.private.train import train_private
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainResult
from fraudfed.errors import DataError, ParameterError, StateError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.terms import PrivacyUnit, PrivateCuts, TrainingWay

WAYS = tuple(TrainingWay)


def trained(
    table: TrainingTable,
    noise: NoiseOf = no_noise,
    params: BoosterParams = PARAMS,
    **given: Any,
) -> tuple[TrainResult, ChosenNoise]:
    communicator = ChosenNoise(noise)
    return train_private(params, terms_of(**given), table, communicator), communicator


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("unit", list(PrivacyUnit))
def test_xgboost_predicts_the_same_with_the_model(way: TrainingWay, unit: PrivacyUnit) -> None:
    table = table_of(weighted=True)
    result, _ = trained(table, noise_of_labels(1), way=way, unit=unit)
    booster = xgboost.Booster()
    booster.load_model(bytearray(result.model.to_json()))
    kinds = ["c" if n else "q" for n in SCHEMA.n_categories]
    matrix = xgboost.DMatrix(
        table.features,
        feature_names=list(SCHEMA.names),
        feature_types=kinds,
        enable_categorical=True,
    )
    theirs = booster.predict(matrix, output_margin=True)
    assert np.allclose(theirs, result.margins, atol=1e-5)
    ours = predict(result.model, table.features)
    assert np.allclose(booster.predict(matrix), ours, atol=1e-6)
    assert unit is PrivacyUnit.CUSTOMER or any(tree.n_nodes > 1 for tree in result.model.trees)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("unit", list(PrivacyUnit))
def test_several_banks_sum_what_one_with_all_rows_sums(way: TrainingWay, unit: PrivacyUnit) -> None:
    table = table_of(1000)
    assert table.customers is not None
    noise = noise_of_labels(2)
    whole, alone = trained(table, noise, way=way, unit=unit)
    # A customer is one bank's: banks part by customers, so that a cap means the same.
    parts = [part_of(table, np.flatnonzero(table.customers % 3 == bank)) for bank in range(3)]

    def program(bank: int, inner: Any) -> bytes:
        communicator = ChosenNoise(noise, inner)
        terms = terms_of(way=way, unit=unit)
        result = train_private(PARAMS, terms, parts[bank], communicator)
        for mine, pooled in zip(communicator.sums, alone.sums, strict=True):
            assert mine.label == pooled.label
            assert np.array_equal(mine.opened, pooled.opened)
        return result.model.to_json()

    assert set(run_cohort(3, program)) == {whole.model.to_json()}


@pytest.mark.parametrize("way", WAYS)
def test_resumed_from_any_step_it_is_the_same_training(way: TrainingWay) -> None:
    table, noise, terms = table_of(800), noise_of_labels(3), terms_of(way=way)
    states: list[bytes] = []
    straight = ChosenNoise(noise)
    whole = train_private(
        PARAMS, terms, table, straight, on_step=lambda state: states.append(state.to_bytes())
    )
    assert len(states) == PARAMS.num_boost_round + 1
    for step, data in enumerate(states):
        later: list[bytes] = []
        communicator = ChosenNoise(noise)
        result = train_private(
            PARAMS,
            terms,
            table,
            communicator,
            start=TrainingState.from_bytes(data, schema=SCHEMA),
            on_step=lambda state, later=later: later.append(state.to_bytes()),
        )
        assert later == states[step + 1 :]
        assert result.model.to_json() == whole.model.to_json()
        assert np.array_equal(result.margins, whole.margins)
        for mine in communicator.sums:
            assert np.array_equal(mine.values, straight.by_label[mine.label].values)


@pytest.mark.parametrize("way", WAYS)
def test_threads_change_nothing(way: TrainingWay) -> None:
    table = table_of(2000)
    models = {
        train_private(
            PARAMS, terms_of(way=way), table, ChosenNoise(noise_of_labels(4)), threads=threads
        ).model.to_json()
        for threads in (1, 2, 3)
    }
    assert len(models) == 1


def test_a_state_of_other_terms_is_refused() -> None:
    table, states = table_of(300), []
    train_private(PARAMS, terms_of(), table, ChosenNoise(), on_step=states.append)
    with pytest.raises(StateError, match="other privacy terms"):
        train_private(PARAMS, terms_of(epsilon=7.0), table, ChosenNoise(), start=states[1])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"subsample": 0.5}, "subsample"),
        ({"early_stopping_rounds": 3}, "early_stopping_rounds"),
        ({"monotone_constraints": (1, 0, 0)}, "monotone_constraints"),
        ({"grow_policy": "lossguide"}, "grow_policy"),
        ({"max_depth": 0, "max_leaves": 4}, "max_depth"),
        ({"max_depth": 11}, "max_depth"),
        ({"min_child_banks": 2}, "min_child_banks"),
        ({"min_child_banks": 2, "min_bank_share": 0.1}, "min_bank_share|min_child_banks"),
        ({"max_bank_weight": 100.0}, "max_bank_weight"),
        ({"colsample_bytree": 0.5}, "colsample_bytree"),
        ({"colsample_bylevel": 0.5}, "colsample_bylevel"),
        ({"colsample_bynode": 0.5}, "colsample_bynode"),
    ],
)
def test_parameters_without_a_meaning_are_refused(given: dict[str, Any], name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        trained(table_of(50), params=replace(PARAMS, **given))


def test_more_rows_than_were_declared_are_refused_before_any_sum() -> None:
    communicator = ChosenNoise()
    with pytest.raises(DataError, match="declares 49"):
        train_private(PARAMS, terms_of(declared_rows=49), table_of(50), communicator)
    assert communicator.sums == []


def test_the_unit_customer_needs_to_know_whose_rows_they_are() -> None:
    table = replace(table_of(50), customers=None)
    with pytest.raises(ParameterError, match="whose they are"):
        trained(table, unit=PrivacyUnit.CUSTOMER)


def test_cuts_from_the_contract_cost_no_sum() -> None:
    edges = {
        "amount": np.array([10.0, 40.0], dtype=np.float32),
        "hour": np.array([6.0, 22.0], dtype=np.float32),
    }
    communicator = ChosenNoise()
    params = replace(PARAMS, base_score=0.25)
    result = train_private(
        params, terms_of(cuts=PrivateCuts.CONTRACT), table_of(), communicator, edges=edges
    )
    assert {each.label.split(":")[0] for each in communicator.sums} == {"noised-bins"}
    assert [edge.size for edge in result.cuts.values] == [3, 3, 5]
    with pytest.raises(ParameterError, match="no cuts are declared for 'hour'"):
        train_private(
            params,
            terms_of(cuts=PrivateCuts.CONTRACT),
            table_of(),
            ChosenNoise(),
            edges={"amount": edges["amount"]},
        )
