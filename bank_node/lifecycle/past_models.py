"""The model of a past decision, by its digest."""

from bank_node.lifecycle.models_on_hand import model_of_digest
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
    found = model_of_digest(state, sha256)
    if found is None:
        return None
    path, run_id = found
    return Scorer.read(path, state.current_run(run_id).contract)
