"""A bank's part in a training with privacy terms."""

from dataclasses import replace

import numpy as np
import pytest
from cohorts.noising import ChosenNoise, noise_of_labels
from private_tables import PARAMS, table_of, terms_of
from rich.console import Console

from bank_node.jobs.judging import JudgedState
from bank_node.jobs.training import TrainingWork
from bank_node.run.progress import RunProgress
from fraudfed.boosting.private.train import train_private
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.errors import StateError
from fraudfed.privacy.terms import PrivateCuts

TABLE = replace(table_of(500), customers=None)
EDGES = {name: np.array([5.0, 30.0], dtype=np.float32) for name in ("amount", "hour")}


def work_of(**given: object) -> TrainingWork:
    return TrainingWork(
        params=PARAMS,
        table=TABLE,
        validation=None,
        rows_read=TABLE.n_rows,
        data_sha256="0" * 64,
        row_keys=("0" * 32,),
        progress=RunProgress(Console(), enabled=False),
        threads=1,
        terms=terms_of(**given),
        edges=EDGES,
    )


def test_all_that_is_summed_carries_noise_and_the_model_is_that_of_the_library() -> None:
    # A communicator that refuses any exact sum.
    communicator = ChosenNoise(noise_of_labels(1))
    found = work_of().run(communicator, start=None, on_step=lambda _: None)
    expected = train_private(PARAMS, terms_of(), TABLE, ChosenNoise(noise_of_labels(1)))
    assert found.content == expected.model.to_json()
    assert found.result.trees == PARAMS.num_boost_round
    kinds = {each.label.partition(":")[0] for each in communicator.sums}
    assert kinds == {"noised-counts", "noised-cuts", "noised-bins"}


def test_it_continues_from_its_own_state_with_other_banks_as_if_nothing_had_happened() -> None:
    work, steps = work_of(), list[JudgedState[TrainingState]]()
    whole = work.run(ChosenNoise(noise_of_labels(2)), start=None, on_step=steps.append)
    start = work.regroup(work.decode(steps[2].to_bytes()), more_rows=100)
    assert start.to_bytes() == steps[2].to_bytes()
    again = work.run(ChosenNoise(noise_of_labels(2)), start=start, on_step=lambda _: None)
    assert again.content == whole.content


def test_a_state_of_other_terms_or_of_no_private_training_is_refused() -> None:
    steps = list[JudgedState[TrainingState]]()
    work_of().run(ChosenNoise(noise_of_labels(3)), start=None, on_step=steps.append)
    with pytest.raises(StateError, match="other privacy terms"):
        work_of(epsilon=1.0).decode(steps[1].to_bytes())
    forged = steps[1].work
    for state, reason in (
        (replace(forged, num_boost_round=7), "number of trees"),
        (replace(forged, counts=replace(forged.counts, n_rows=1 << 21)), "other rows"),
        (replace(forged, base_score=1.0), "no probability"),
        (forged.regrouped(more_rows=5), "no private training opens"),
    ):
        with pytest.raises(StateError, match=reason):
            work_of().decode(state.to_bytes())
    tree = forged.trees[0]
    long = replace(tree, split_conditions=np.full_like(tree.split_conditions, 50.0))
    if long.n_nodes == 1:
        with pytest.raises(StateError, match="larger than"):
            work_of().decode(replace(forged, trees=(long,)).to_bytes())


def test_cuts_of_the_contract_are_taken_only_where_the_terms_say_so() -> None:
    declared = ChosenNoise(noise_of_labels(4))
    work_of(cuts=PrivateCuts.CONTRACT).run(declared, start=None, on_step=lambda _: None)
    assert not any("cuts" in each.label for each in declared.sums)
