"""Models that a federation is compared with: fitted by the same plan, on rows in one place."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.catalogue.plans import SearchPlan
from fraudfed.catalogue.presets import find_preset
from fraudfed.communicator import SoloCommunicator
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.intake.outcomes import outcomes_without_times
from fraudfed.lab.demo.plan import DEMO_PLAN, PLAN_NAMES, Fitting, plan_named
from fraudfed.lab.demo.tuning import fit_alone, parameters_of, read_choice
from fraudfed.parameters import BoosterParams
from fraudfed.search.search import search
from fraudfed.wire.messages import DataContract, FeatureSpec
from fraudfed.wire.messages.kinds.search import SearchCandidate, SearchRung, SearchSpec

CONTRACT = DataContract(kind="table", features=(FeatureSpec(name="a"), FeatureSpec(name="b")))
SCHEMA = FeatureSchema(names=("a", "b"), n_categories=(0, 0), categories=((), ()))
COMMON: Mapping[str, Any] = {"eta": 0.3, "max_bin": 16, "subsample": 0.8}
TINY = SearchPlan(
    name="tiny",
    purpose="",
    common=COMMON,
    spec=SearchSpec(
        candidates=(
            SearchCandidate(name="plain", parameters={"max_depth": 2}, min_child_share=0.0),
            SearchCandidate(name="blunt", parameters={"max_depth": 1}, min_child_share=0.5),
        ),
        rungs=(SearchRung(trees=2, alive=2), SearchRung(trees=4, alive=1)),
        keep_each_share=False,
    ),
    monotone="plain",
)


def _rows(n_rows: int, seed: int) -> TrainingTable:
    rng = np.random.default_rng(seed)
    features = np.asfortranarray(rng.normal(size=(n_rows, 2)), dtype=np.float32)
    risk = 2.0 * features[:, 0] * (features[:, 1] > 0) - 2.0
    labels = (rng.random(n_rows) < 1 / (1 + np.exp(-risk))).astype(np.float32)
    return TrainingTable(SCHEMA, features, labels)


def _judged(table: TrainingTable) -> JudgedRows:
    return JudgedRows(table.schema, table.features, outcomes_without_times(table.labels))


def test_a_plan_chooses_and_what_it_chose_gives_the_model_again() -> None:
    fitting = Fitting(COMMON, TINY)
    table, select = _rows(600, 1), _judged(_rows(400, 2))
    fitted = fit_alone(fitting, CONTRACT, table, select, threads=1)
    assert fitted is not None
    assert fitted.choice.candidate == "plain"
    assert 1 <= fitted.choice.trees <= 4
    params = BoosterParams.parse(parameters_of(fitted.choice, CONTRACT))
    again = train(params, table, SoloCommunicator(), threads=1)
    assert again.model.to_json() == fitted.model_json
    found = search(TINY.spec, COMMON, table, select, SoloCommunicator(), threads=1)
    assert read_choice(fitting, found.to_json()) == fitted.choice


def test_one_class_is_no_model() -> None:
    table = _rows(100, 1)
    clean = TrainingTable(SCHEMA, table.features, np.zeros_like(table.labels))
    for fitting in (Fitting(COMMON, TINY), Fitting({"num_boost_round": 1})):
        assert fit_alone(fitting, CONTRACT, clean, _judged(table), threads=1) is None


def test_without_frauds_to_choose_by_the_preset_is_taken_and_the_note_says_so() -> None:
    table = _rows(300, 1)
    few = TrainingTable(SCHEMA, table.features, np.zeros_like(table.labels))
    fitted = fit_alone(Fitting(COMMON, TINY), CONTRACT, table, _judged(few), threads=1)
    assert fitted is not None
    assert fitted.choice.candidate is None
    assert fitted.choice.note == "preset fraud: no frauds to choose by"
    preset = find_preset("fraud").parameters
    assert {name: fitted.choice.parameters[name] for name in preset} == dict(preset)


def test_a_fixed_set_is_trained_as_it_is_and_stops_early_on_the_select_window() -> None:
    table, select = _rows(600, 1), _judged(_rows(400, 2))
    given = {**COMMON, "num_boost_round": 200, "early_stopping_rounds": 2, "max_depth": 3}
    fitted = fit_alone(Fitting(given), CONTRACT, table, select, threads=1)
    assert fitted is not None
    model = read_model(fitted.model_json, schema=SCHEMA, source="model")
    assert fitted.choice.trees == len(model.trees) < 200
    assert fitted.choice.parameters == given


def test_constraints_of_features_that_are_not_there_are_left_out() -> None:
    given = {**COMMON, "num_boost_round": 1, "monotone_constraints": {"b": 1, "shared_b": 1}}
    fitted = fit_alone(Fitting(given), CONTRACT, _rows(300, 1), _judged(_rows(100, 2)), threads=1)
    assert fitted is not None
    assert fitted.choice.parameters["monotone_constraints"] == {"b": 1}


@pytest.mark.parametrize("name", PLAN_NAMES)
def test_every_plan_that_the_demo_offers_is_one(name: str) -> None:
    plan = plan_named(name)
    if name == "none":
        assert plan is None
        return
    assert plan is not None
    assert plan.name == name
    for one in plan.spec_for(CONTRACT).candidates:
        BoosterParams.parse({**plan.common, **one.parameters})


def test_the_plan_of_the_demo_is_small() -> None:
    rungs = DEMO_PLAN.spec.rungs
    begin = (0, *(rung.trees for rung in rungs))
    work = sum(rung.alive * (rung.trees - start) for rung, start in zip(rungs, begin, strict=False))
    assert work <= 3 * rungs[-1].trees
