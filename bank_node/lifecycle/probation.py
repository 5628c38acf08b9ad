"""An adopted model decides nothing by itself before this bank's own gate has let it be promoted."""

from bank_node.lifecycle.stage_history import Stage
from bank_node.lifecycle.stages import StageDirectory
from bank_node.state.adopted import read_adopted
from bank_node.state.directory import StateDirectory
from fraudfed.errors import ConfigurationError


def on_probation(state: StateDirectory, run_id: str, model_sha256: str) -> bool:
    """Tell whether a model was adopted, and was not promoted since.

    Raises
    ------
    StateError
        If a file cannot be read.
    """
    if read_adopted(state, run_id) is None:
        return False
    stages = StageDirectory.of_state(state.path).read()
    return stages.now.of(model_sha256) is not Stage.CHAMPION


def require_warn_only(
    state: StateDirectory, run_id: str, model_sha256: str, *, warn_only: bool, source: str
) -> None:
    """Refuse a policy that may hold or block by a model on probation.

    Raises
    ------
    ConfigurationError
    """
    if not warn_only and on_probation(state, run_id, model_sha256):
        raise ConfigurationError(
            f"{source}: warn_only is false, expected true, as the model of run {run_id} was "
            "adopted and is not promoted; once the gate has 50 cases of this bank: 'bank-node "
            f"evaluate --run {run_id} --data FILE', then 'bank-node models promote {run_id}'"
        )
