"""A member hands over a state that another training has made, as that of this run."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from bank_node.jobs import training
from bank_node.jobs.training import TrainingWork
from bank_node.run.progress import RunProgress
from fraudfed.boosting.resume.state import TrainingState, params_digest
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import StateError
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams

TABLE = synthetic_table(400, 3, np.random.default_rng(0), prevalence=0.3)
PARAMS = BoosterParams.parse({"num_boost_round": 3, "max_depth": 2, "max_bin": 8})


def entrant() -> TrainingWork:
    return TrainingWork(
        params=PARAMS,
        table=TABLE,
        validation=None,
        rows_read=TABLE.n_rows,
        data_sha256="0" * 64,
        row_keys=("0" * 32,),
        progress=RunProgress(Console(), enabled=False),
        threads=1,
    )


def handed_over(**settings: object) -> bytes:
    """Return the state after two trees of a training with other settings, under this run's name."""
    params = BoosterParams.parse({"num_boost_round": 3, "max_depth": 2, "max_bin": 8} | settings)
    found: list[TrainingState] = []
    train(params, TABLE, SoloCommunicator(), on_step=found.append)
    return replace(found[2], of_params=params_digest(PARAMS)).to_bytes()


def test_a_state_of_this_run_is_continued() -> None:
    work, data = entrant(), handed_over()
    state = work.decode(data)
    assert state.to_bytes() == data
    outcome = work.run(SoloCommunicator(), start=state, on_step=lambda _: None)
    assert outcome.content == train(PARAMS, TABLE, SoloCommunicator()).model.to_json()


@pytest.mark.parametrize("settings", [{"max_depth": 5}, {"max_bin": 200}])
def test_a_state_of_another_training_is_not_continued(settings: dict[str, object]) -> None:
    """Deeper trees, finer bins: both look closer at the rows than the run's parameters allow."""
    with pytest.raises(StateError, match="does not meet the rules of the run"):
        entrant().decode(handed_over(**settings))


def test_control_without_the_rules_deeper_trees_are_continued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "check_state", lambda *state, **rules: None)
    work = entrant()
    state = work.decode(handed_over(max_depth=5))
    assert max(tree.n_nodes for tree in state.work.trees) > 7
    outcome = work.run(SoloCommunicator(), start=state, on_step=lambda _: None)
    assert outcome.result.trees == 3
