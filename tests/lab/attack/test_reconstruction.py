"""Reconstruction from a model file breaks what it must, and finds nothing where nothing is."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.lab.attack.reconstruction import chain
from fraudfed.lab.attack.reconstruction.cells import Cells, leaf_boxes
from fraudfed.lab.attack.reconstruction.marginals import Marginals
from fraudfed.lab.attack.reconstruction.matching import Ranks, matched_hits
from fraudfed.lab.attack.reconstruction.measure import Question, attack_model
from fraudfed.lab.attack.reconstruction.node_sums import LeafSums, first_counts
from fraudfed.lab.attack.reconstruction.proportional import settled, spread
from fraudfed.lab.attack.reconstruction.result import CaseFigures, ReconstructionFigures
from fraudfed.lab.attack.worlds import OVERFITTED, published
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams

CLOSE = BoosterParams.parse({**OVERFITTED, "num_boost_round": 20})
FEW_TREES = BoosterParams.parse({**OVERFITTED, "num_boost_round": 3})
BLUNT = BoosterParams.parse({"num_boost_round": 25, "min_child_weight": 20.0, "max_depth": 4})


def small_table(seed: int, n_rows: int, n_features: int) -> TrainingTable:
    return synthetic_table(n_rows, n_features, np.random.default_rng(seed), prevalence=0.4)


def trained(params: BoosterParams, table: TrainingTable) -> Model:
    return train(params, table, SoloCommunicator(), threads=1).model


@cache
def attacked(params: BoosterParams, bits: int, n_features: int = 2) -> CaseFigures:
    tables = small_table(0, 80, n_features), small_table(1, 80, n_features)
    generator = np.random.default_rng(3)
    question = Question.of(*tables, targets=len(tables[0].labels), generator=generator)
    return attack_model(
        question,
        (trained(params, tables[0]), trained(params, tables[1])),
        params,
        parameters="of the test",
        bits=bits,
        trees=params.num_boost_round,
        generator=generator,
    )


def true_counts(model: Model, table: TrainingTable) -> np.ndarray:
    """Count rows of each label in the leaves of the first tree, leaf after leaf, in node order."""
    cells = Cells.of(model)
    boxes = leaf_boxes(model.trees[0], cells)
    inside = np.ones((len(boxes.nodes), table.n_rows), dtype=bool)
    for feature in range(table.schema.n_features):
        places = cells.places(table.features[:, feature], feature) + cells.starts[feature]
        inside &= boxes.masks[:, places]
    assert (inside.sum(axis=0) == 1).all()  # the boxes of a tree hold every row once
    found = np.stack([(inside & (table.labels == label)).sum(axis=1) for label in (0, 1)], axis=1)
    return found[np.argsort(boxes.nodes)]


@pytest.mark.parametrize("bits", [6, 24])
def test_control_a_model_that_remembers_its_rows_gives_them_away(bits: int) -> None:
    case = attacked(CLOSE, bits)
    assert case.counts_right.estimate == 1.0
    assert case.smallest_leaf == 1
    for reference in ("guess", "control", "elsewhere"):
        assert case.mean("attack") > case.mean(reference) + 0.08


@pytest.mark.parametrize("bits", [6, 24])
def test_rows_spread_in_proportion_are_given_away_too(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with many rows: in proportion they are found less well than in whole numbers, but are."""
    monkeypatch.setattr(chain, "_MOST_WHOLE_ROWS", 0)
    case = attacked.__wrapped__(CLOSE, bits)
    for reference in ("guess", "control", "elsewhere"):
        assert case.mean("attack") > case.mean(reference) + 0.05


def test_a_model_with_large_leaves_gives_no_attribute_away() -> None:
    case = attacked(BLUNT, 6, n_features=5)
    assert case.recovered == ()
    assert case.smallest_leaf >= 40 or not case.attributes


def test_a_model_of_other_rows_gives_nothing_away_of_these() -> None:
    """The negative control: independent rows of the same kind have no advantage."""
    case = attacked(CLOSE, 24)
    assert abs(case.mean("control") - case.mean("guess")) < 0.1


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_rows=st.integers(30, 250),
    bits=st.sampled_from([6, 24]),
    missing=st.sampled_from([0.0, 0.3]),
    depth=st.integers(1, 6),
)
def test_counts_of_the_first_tree_are_read_exactly(seed, n_rows, bits, missing, depth) -> None:
    """Law: of leaves of up to some hundred rows, rounded statistics or not."""
    table = synthetic_table(
        n_rows, 6, np.random.default_rng(seed), missing=missing, categorical=2, prevalence=0.3
    )
    params = BoosterParams.parse(
        {"num_boost_round": 1, "max_depth": depth, "min_child_weight": 0, "statistics_bits": bits}
    )
    model = published(trained(params, table))
    assert np.array_equal(first_counts(model, params), true_counts(model, table))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(1, 40))
def test_rows_fill_the_boxes_that_they_are_drawn_for(seed, n_rows) -> None:
    generator = np.random.default_rng(seed)
    table = synthetic_table(60, 5, generator, missing=0.2, categorical=2, prevalence=0.4)
    model = published(trained(BoosterParams.parse({"num_boost_round": 3}), table))
    cells = Cells.of(model)
    marginals = Marginals.of(table.features, cells)
    rows = marginals.fill(np.ones((n_rows, cells.n_cells), dtype=bool), generator)
    own = np.stack([cells.places(rows[:, i], i) + cells.starts[i] for i in range(5)], axis=1)
    boxes = np.zeros((n_rows, cells.n_cells), dtype=bool)
    np.put_along_axis(boxes, own, True, axis=1)
    again = marginals.fill(boxes, generator)
    there = np.stack([cells.places(again[:, i], i) + cells.starts[i] for i in range(5)], axis=1)
    assert np.array_equal(own, there)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(1, 30))
def test_the_rows_themselves_in_any_order_are_right_throughout(seed, n_rows) -> None:
    generator = np.random.default_rng(seed)
    rows = synthetic_table(n_rows, 5, generator, missing=0.2, categorical=2).features
    schema = FeatureSchema(tuple("abcde"), (0, 0, 0, 3, 12))
    hits = matched_hits(Ranks.of(schema, rows), rows, rows[generator.permutation(n_rows)])
    assert hits.all()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(2, 60), n_leaves=st.integers(1, 8))
def test_rows_are_spread_such_that_sums_come_out(seed, n_rows, n_leaves) -> None:
    """Law: any sums that some whole assignment has, to within a fifth of a row."""
    generator = np.random.default_rng(seed)
    likely = generator.random((n_rows, n_leaves)) * (generator.random((n_rows, n_leaves)) < 0.7)
    true = generator.integers(n_leaves, size=n_rows)
    likely[np.arange(n_rows), true] += 0.1
    probability = generator.uniform(0.05, 0.95, size=n_rows)
    gradient = probability - (generator.random(n_rows) < 0.4)
    pairs = np.stack([gradient, probability * (1 - probability)], axis=1)
    totals = np.zeros((n_leaves, 2))
    np.add.at(totals, true, pairs)
    weights = generator.normal(size=n_leaves)
    sums = LeafSums(
        weights,
        totals[:, 0] + weights * totals[:, 1],
        np.ones(n_leaves, dtype=bool),
        totals[:, 1],
        totals[:, 1],
    )
    shares = spread(likely, sums, pairs, np.ones(n_rows), drawn=1.0)
    assert np.allclose(shares.sum(axis=1), 1.0)
    assert (shares[likely == 0.0] == 0.0).all()
    assert np.abs(shares.T @ pairs - totals).max() < 0.2
    leaves = settled(shares)
    assert (likely[np.arange(n_rows), leaves] > 0.0).all()


def test_figures_are_given_by_the_attributes_with_most_gain() -> None:
    tables = small_table(0, 80, 5), small_table(1, 80, 5)
    generator = np.random.default_rng(3)
    question = Question.of(*tables, targets=80, generator=generator).about(["f0", "f1", "f2"])
    models = (trained(FEW_TREES, question.world), trained(FEW_TREES, question.other))
    case = attack_model(
        question,
        models,
        FEW_TREES,
        parameters="of the test",
        bits=6,
        trees=3,
        generator=generator,
        attributes=1,
    )
    (only,) = case.attributes
    gains = np.zeros(3)
    for tree in models[0].trees:
        np.add.at(gains, tree.split_features, tree.loss_changes)
    assert only.attribute == question.world.schema.names[int(gains.argmax())]


def test_figures_say_what_is_recovered() -> None:
    case = attacked(CLOSE, 24)
    figures = ReconstructionFigures("w", 1, 80, 80, 20, "rows", (case, replace(case)))
    text = figures.to_text()
    assert text.count("all columns, of the test, 24 bits") == 2
    assert set(case.recovered) <= set(case.better_than_guess)
    for each in case.attributes:
        assert f"`{each.attribute}`" in text
