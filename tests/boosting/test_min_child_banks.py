"""No leaf on the rows of fewer banks than were agreed, and the same bytes where nobody asked."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cohorts.exact import CohortCommunicator, run_cohort
from cohorts.recording import RecordingCommunicator
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.bins import bin_table
from fraudfed.boosting.booster import Booster
from fraudfed.boosting.growth.presence import MOST_TRIES
from fraudfed.boosting.resume.state import TrainingState, params_digest
from fraudfed.boosting.sampling import row_keys, sample_rows
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.shard.partition import assign_leaves
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import Communicator, SoloCommunicator, carry_out
from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError, ParameterError
from fraudfed.parameters import MOST_BANKS, BoosterParams, alone
from fraudfed.search.lockstep import together

SCHEMA = FeatureSchema(("amount", "hour", "channel"), (0, 0, 5))
SETTINGS: dict[str, Any] = {"num_boost_round": 3, "max_depth": 3, "max_bin": 16, "eta": 0.5}


def rows_of(bank: int, n_rows: int, *, seed: int = 0) -> TrainingTable:
    """Rows of one bank; each bank has a region that is almost its own."""
    rng = np.random.default_rng((seed, bank))
    features = rng.normal(size=(n_rows, 3)).astype(np.float32)
    features[:, 0] += 2 * bank
    features[:, 2] = rng.integers(0, 5, n_rows)
    features[rng.random(n_rows) < 0.05, 1] = np.nan
    score = features[:, 0] - 2 * bank + np.nan_to_num(features[:, 1]) + (features[:, 2] == 3)
    labels = (score + rng.normal(size=n_rows) > 1).astype(np.float32)
    labels[:2] = (0, 1)
    return TrainingTable(SCHEMA, np.asfortranarray(features), labels)


def train_banks(parameters: dict[str, Any], tables: list[TrainingTable]) -> list[TrainResult]:
    params = BoosterParams.parse(parameters)

    def program(bank: int, communicator: CohortCommunicator) -> TrainResult:
        return train(params, tables[bank], communicator, threads=1)

    return run_cohort(len(tables), program)


def banks_of_nodes(
    tree: Tree, result: TrainResult, tables: list[TrainingTable], *, share: float, params: Any
) -> Int64Array:
    """Return how many banks have a share of each node's rows, counted from the model alone."""
    counts = []
    for table in tables:
        leaves = assign_leaves(tree, bin_table(table, result.cuts)).of_rows()
        if params.subsample < 1:
            number = next(n for n, each in enumerate(result.model.trees) if each is tree)
            keys = row_keys(table)
            leaves = leaves[
                sample_rows(keys, seed=params.seed, tree_index=number, fraction=params.subsample)
            ]
        inside = np.bincount(leaves, minlength=tree.n_nodes)
        # Children have higher numbers than their parents.
        for node in range(tree.n_nodes - 1, 0, -1):
            inside[tree.parents[node]] += inside[node]
        counts.append(inside)
    every = np.array(counts)
    return ((every > 0) & (every >= share * every.sum(axis=0))).sum(axis=0)


VARIANTS = [
    {},
    {"subsample": 0.5, "seed": 4},
    {"grow_policy": "lossguide", "max_leaves": 6, "max_depth": 0},
    {"colsample_bynode": 0.7},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize(("least_banks", "share"), [(2, 0.0), (3, 0.05), (4, 0.01)])
def test_every_node_rests_on_so_many_banks(
    variant: dict[str, Any], least_banks: int, share: float
) -> None:
    """From a base score of 0.5 all hessians of the first tree are equal: shares are of rows."""
    tables = [rows_of(bank, 300) for bank in range(4)]
    asked = {"min_child_banks": least_banks, "min_bank_share": share, "base_score": 0.5}
    parameters = {**SETTINGS, **variant, **asked}
    results = train_banks(parameters, tables)
    assert len({result.model.to_json() for result in results}) == 1
    params = BoosterParams.parse(parameters)
    for number, tree in enumerate(results[0].model.trees):
        of_rows = 0.0 if number else share
        banks = banks_of_nodes(tree, results[0], tables, share=of_rows, params=params)
        assert (banks[1:] >= least_banks).all()
    assert any(tree.n_nodes > 1 for tree in results[0].model.trees)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_control_without_it_some_node_is_of_few_banks(variant: dict[str, Any]) -> None:
    tables = [rows_of(bank, 300) for bank in range(4)]
    parameters = {**SETTINGS, **variant}
    result = train_banks(parameters, tables)[0]
    params = BoosterParams.parse(parameters)
    fewest = [
        banks_of_nodes(tree, result, tables, share=0.05, params=params).min()
        for tree in result.model.trees
    ]
    assert min(fewest) < 3


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    least_banks=st.integers(0, 4),
    share=st.floats(0, 0.5),
    sizes=st.lists(st.integers(5, 120), min_size=1, max_size=4),
)
def test_for_any_rows_every_node_rests_on_so_many_banks(
    seed: int, least_banks: int, share: float, sizes: list[int]
) -> None:
    tables = [rows_of(bank, n_rows, seed=seed) for bank, n_rows in enumerate(sizes)]
    asked = {"min_child_banks": least_banks, "min_bank_share": share, "base_score": 0.5}
    parameters = {**SETTINGS, "num_boost_round": 1, **asked}
    result = train_banks(parameters, tables)[0]
    params = BoosterParams.parse(parameters)
    [tree] = result.model.trees
    # As a float32, and a whole number of rows: a little less for rounding.
    banks = banks_of_nodes(tree, result, tables, share=share * (1 - 1e-6), params=params)
    assert (banks[1:] >= least_banks).all()
    if len(sizes) < least_banks:
        assert tree.n_nodes == 1


def test_without_it_nothing_is_asked_and_no_byte_is_another() -> None:
    table = rows_of(0, 400)
    usual, spelt = RecordingCommunicator(), RecordingCommunicator()
    expected = train(BoosterParams.parse(SETTINGS), table, usual)
    given_ = {**SETTINGS, "min_child_banks": 0, "min_bank_share": 0.5}
    found = train(BoosterParams.parse(given_), table, spelt)
    assert found.model.to_json() == expected.model.to_json()
    assert [call.label for call in spelt.sums] == [call.label for call in usual.sums]
    assert not [call for call in usual.sums if call.label.startswith("presence")]


def test_a_requirement_that_every_node_meets_changes_no_byte() -> None:
    """One bank always has a row on either side of its own best split."""
    table = rows_of(0, 400)
    expected = train(BoosterParams.parse(SETTINGS), table, SoloCommunicator())
    params = BoosterParams.parse({**SETTINGS, "min_child_banks": 1})
    counted = RecordingCommunicator()
    found = train(params, table, counted)
    assert found.model.to_json() == expected.model.to_json()
    assert [call for call in counted.sums if call.label.startswith("presence")]


def test_the_state_of_a_training_without_it_is_that_of_an_earlier_release() -> None:
    """Digest of the default parameters before banks could be counted."""
    assert params_digest(BoosterParams()).hex() == (
        "e2cee85a5011ef1032f416e00d711106a4d6ba4a0d37b454d7db6432c90de8ed"
    )
    assert params_digest(BoosterParams(min_child_banks=2)) != params_digest(BoosterParams())
    assert params_digest(BoosterParams(min_bank_share=0.5)) != params_digest(BoosterParams())


def test_a_training_resumes_to_the_same_bytes() -> None:
    tables = [rows_of(bank, 300) for bank in range(3)]
    params = BoosterParams.parse({**SETTINGS, "min_child_banks": 3, "min_bank_share": 0.1})
    states: list[bytes] = []

    def first(bank: int, communicator: CohortCommunicator) -> bytes:
        def keep(state: TrainingState) -> None:
            if bank == 0:
                states.append(state.to_bytes())

        return train(params, tables[bank], communicator, on_step=keep).model.to_json()

    expected = run_cohort(3, first)
    assert len(states) == 4
    for data in states:

        def again(bank: int, communicator: CohortCommunicator, data: bytes = data) -> bytes:
            start = TrainingState.from_bytes(data, schema=SCHEMA)
            return train(params, tables[bank], communicator, start=start).model.to_json()

        assert run_cohort(3, again) == expected


def test_models_that_grow_together_count_their_banks_together() -> None:
    """In a search the counts of all candidates share a sum, and no model is another for it."""
    tables = [rows_of(bank, 300) for bank in range(3)]
    asked = [{"min_child_banks": 2}, {"min_child_banks": 3, "min_bank_share": 0.2}, {}]
    every = [BoosterParams.parse({**SETTINGS, "num_boost_round": 1, **each}) for each in asked]

    def program(bank: int, communicator: CohortCommunicator) -> list[bytes]:
        recording = RecordingCommunicator(communicator)
        state = None

        def keep(found: TrainingState) -> None:
            nonlocal state
            state = state or found

        train(every[2], tables[bank], recording, on_step=keep)
        assert state is not None
        binned = LocalShard(tables[bank]).bin(state.cuts)
        boosters = [Booster(params, binned, state, max_weight=1.0) for params in every]
        before = len(recording.sums)
        trees = carry_out(together([each.adding_tree() for each in boosters]), recording)
        # A level takes one sum, and up to three that count; the deepest model sets the pace.
        assert len(recording.sums) - before <= 3 * (1 + MOST_TRIES)
        return [_bytes_of(tree) for tree in trees]

    alone_ = [
        _bytes_of(train_banks({**SETTINGS, "num_boost_round": 1, **each}, tables)[0].model.trees[0])
        for each in asked
    ]
    assert run_cohort(3, program) == [alone_] * 3
    assert len(set(alone_)) > 1


def _bytes_of(tree: Tree) -> bytes:
    return tree.split_features.tobytes() + tree.split_conditions.tobytes()


def test_a_refused_split_gives_way_to_the_next_best_column() -> None:
    """One column tells the frauds of bank 0 alone, the other those of both a little less well."""
    schema = FeatureSchema(("planted", "honest"), (0, 0))
    tables = []
    for bank in range(2):
        rng = np.random.default_rng(bank)
        labels = (rng.random(600) < 0.5).astype(np.float32)
        honest = np.where(rng.random(600) < 0.6, labels, 1 - labels)
        planted = labels if bank == 0 else np.zeros(600)
        features = np.asfortranarray(np.column_stack((planted, honest)).astype(np.float32))
        tables.append(TrainingTable(schema, features, labels))
    parameters = {**SETTINGS, "num_boost_round": 1, "max_depth": 1}
    [free] = train_banks(parameters, tables)[0].model.trees
    [bound] = train_banks({**parameters, "min_child_banks": 2}, tables)[0].model.trees
    assert (free.split_features[0], bound.split_features[0]) == (0, 1)


def test_no_more_sums_are_asked_for_than_there_are_tries() -> None:
    table = rows_of(0, 400)
    params = BoosterParams.parse({**SETTINGS, "num_boost_round": 1, "min_child_banks": 2})
    counted = RecordingCommunicator()
    [tree] = train(params, table, counted).model.trees
    assert tree.n_nodes == 1
    presence = [call for call in counted.sums if call.label.startswith("presence")]
    assert len(presence) == MOST_TRIES == SCHEMA.n_features
    assert [call.label for call in presence] == [
        f"presence:tree 0 step {n}" for n in range(MOST_TRIES)
    ]


class _Claiming:
    """A communicator whose bank claims to be ``claimed`` banks wherever banks are counted."""

    def __init__(self, inner: Communicator, claimed: int) -> None:
        self._inner, self._claimed = inner, claimed

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        if label.startswith("presence"):
            values = np.full_like(values, self._claimed)
        return self._inner.sum(values, bound=bound, low=low, label=label)


def test_control_a_program_that_lies_is_not_bound_by_the_count() -> None:
    """What docs/attacks.md says it is not: nothing holds what a bank adds to 0 or 1."""
    table = rows_of(0, 400)
    params = BoosterParams.parse({**SETTINGS, "min_child_banks": 3})
    honest = train(params, table, SoloCommunicator())
    lying = train(params, table, _Claiming(SoloCommunicator(), 3))
    assert all(tree.n_nodes == 1 for tree in honest.model.trees)
    assert any(tree.n_nodes > 1 for tree in lying.model.trees)


def test_more_banks_than_can_be_are_refused_by_all() -> None:
    tables = [rows_of(bank, 200) for bank in range(2)]
    params = BoosterParams.parse({**SETTINGS, "min_child_banks": 2})

    def program(bank: int, communicator: CohortCommunicator) -> TrainResult:
        claiming = _Claiming(communicator, MOST_BANKS) if bank else communicator
        return train(params, tables[bank], claiming)

    with pytest.raises(BoundError, match="exceed the bound"):
        run_cohort(2, program)


def test_a_bank_alone_trains_without_it() -> None:
    params = {**SETTINGS, "min_child_banks": 3, "min_bank_share": 0.25}
    assert alone(params) == SETTINGS
    assert BoosterParams.parse(alone(params)) == replace(
        BoosterParams.parse(params), min_child_banks=0, min_bank_share=0.0
    )


@pytest.mark.parametrize(
    ("name", "value"), [("min_child_banks", -1), ("min_child_banks", 4096), ("min_bank_share", 1.5)]
)
def test_ranges(name: str, value: int) -> None:
    with pytest.raises(ParameterError, match=name):
        BoosterParams.parse({name: value})
