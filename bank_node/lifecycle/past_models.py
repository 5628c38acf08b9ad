"""The model of a past decision, by its digest."""

from bank_node.lifecycle.models_on_hand import models_on_hand
from bank_node.lifecycle.stages import StageDirectory
from bank_node.serving.scorer import Scorer
from bank_node.state.directory import StateDirectory


def past_scorer(state: StateDirectory, sha256: str) -> Scorer | None:
    """Return a model that this bank has or had in use; None if it is not there any more.

    Raises
    ------
    StateError
        If the model, or the list of those in use, cannot be read.
    ConfigurationError
        If the run of the model is not known.
    """
    stages = StageDirectory.of_state(state.path)
    for staged in stages.read().models:
        path = stages.model_path(staged.sha256)
        if staged.sha256 == sha256 and path.is_file():
            return Scorer.read(path, state.current_run(staged.run_id).contract)
    for found in models_on_hand(state):
        if found.sha256 == sha256:
            return Scorer.read(found.path, state.current_run(found.run_id).contract)
    return None
