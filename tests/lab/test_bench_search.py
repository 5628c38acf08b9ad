"""``fraudfed bench search``: what it measures is what happened; the figures are not tested."""

import dataclasses
import json
from typing import Any

import pytest
from click.testing import CliRunner

from fraudfed.catalogue.plans import PLANS, find_plan
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.search.command import scaled, search_command
from fraudfed.lab.bench.search.result import RunCost, SearchCase, SearchFigures

SMALL = ("--rows", "3000", "--features", "4", "--trees", "4", "--plan", "quick")


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """One real search, a training of its winner, and the refit: three banks, an aggregator."""
    arguments = (*SMALL, "--key-bits", "2048", "--prevalence", "0.2", "--threads", "1", "--json")
    done = CliRunner().invoke(search_command, arguments)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.e2e
def test_ratios_are_of_what_was_counted_and_the_model_is_the_trainings(
    figures: dict[str, Any],
) -> None:
    assert set(figures) == {field.name for field in dataclasses.fields(SearchFigures)}
    search, training, refit = (figures[name] for name in ("search", "training", "refit"))
    assert figures["ratio_to_one_training"] == search["seconds"] / training["seconds"]
    assert figures["rounds_ratio"] == search["rounds"] / training["rounds"]
    both = search["seconds"] + refit["seconds"]
    assert figures["with_refit_ratio"] == both / training["seconds"]
    rounds = search["rounds"] + refit["rounds"]
    assert figures["with_refit_rounds_ratio"] == rounds / training["rounds"]
    assert figures["is_model_of_training"]
    names = [candidate.name for candidate in find_plan("quick").spec.candidates]
    assert figures["winner"] in names
    assert 1 <= figures["winner_trees"] <= 4


def test_a_report_names_what_the_ratios_are_of() -> None:
    cost = RunCost(2.0, 10, 1000, 50, 80_000, {"sum": 0.5}, {"sum": 1.0}, 0.25)
    case = SearchCase(3000, 4, 4, 3, "quick", 2048, 0.2, 0, 1)
    text = SearchFigures(
        ratio_to_one_training=3.25,
        rounds_ratio=1.25,
        with_refit_ratio=4.5,
        with_refit_rounds_ratio=2.125,
        ciphertexts_ratio=5.0,
        winner="stock",
        winner_trees=3,
        is_model_of_training=False,
        search=cost,
        training=cost,
        refit=cost,
        case=case,
        kernel="gmp",
        date="2026-11-29T00:00:00+00:00",
        load_average=0.1,
        machine=Machine("cpu", 2, 2**30, {"python": "3"}),
    ).to_text()
    assert "3.25x time" in text
    assert "2.12x rounds" in text
    assert "they ARE NOT the first of the training" in text
    assert "plan quick up to 4 trees" in text


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("trees", [4, 8, 50, 400])
def test_rungs_are_in_the_plans_proportion_and_stay_rungs(name: str, trees: int) -> None:
    spec, plan = scaled(find_plan(name), trees), find_plan(name).spec
    assert spec.rungs[-1].trees == trees
    assert [rung.alive for rung in spec.rungs] == [rung.alive for rung in plan.rungs]
    assert spec.patience is None
    assert spec.candidates == plan.candidates
