"""What must be true of a search state from elsewhere, beyond being well-formed.

A bank that comes into a search continues from a state that other banks hand over; any of them may
have made it up. See ``boosting.resume.held_state``, whose rules hold for every live candidate.

Law: every state that ``search`` hands to ``on_step`` passes.
"""

from collections.abc import Mapping
from typing import Any

from fraudfed.boosting.resume.held_state import check_state
from fraudfed.boosting.table import FeatureSchema
from fraudfed.errors import StateError
from fraudfed.search.candidates import read_candidates, search_digest
from fraudfed.search.state import SearchState
from fraudfed.wire.messages.kinds.search import SearchSpec


def check_search_state(
    state: SearchState,
    spec: SearchSpec,
    common: Mapping[str, Any],
    *,
    schema: FeatureSchema,
    max_weight: float,
) -> None:
    """Check that a search with these rules can have come to a state.

    Parameters
    ----------
    state : SearchState
        As ``SearchState.from_bytes`` has read it, with the schema of the run.
    spec : SearchSpec
    common : mapping of str to value
        Parameters that all candidates share.
    schema : FeatureSchema
        Of the run.
    max_weight : float
        Of the run's data contract.

    Raises
    ------
    StateError
        If it cannot. The text quotes nothing of the state.
    """
    candidates = read_candidates(spec, common, schema)
    if state.of_search != search_digest(candidates, spec):
        raise _refused("it is of another search")
    if state.counts_select:
        raise _refused("it asks for a count that no finished step asks for")
    params = [each.params(state.n_positives) for each in candidates]
    if [each.max_bin for each in params] != [each.max_bin for each in state.candidates] or {
        each.max_bin for each in params
    } != set(state.cuts):
        raise _refused("its candidates or cuts are not those of the run")
    n_trees = state.n_trees
    if n_trees > spec.rungs[-1].trees:
        raise _refused("it has more trees than the last rung")
    alive = next(
        rung.alive for rung in spec.rungs if n_trees < rung.trees or rung == spec.rungs[-1]
    )
    if sum(each.is_alive for each in state.candidates) != alive:
        raise _refused("it has another number of live candidates than its rung")
    ends = {rung.trees for rung in spec.rungs[:-1]}
    for number, (each, own) in enumerate(zip(state.candidates, params, strict=True)):
        if not each.is_alive and each.n_trees not in ends:
            raise _refused("a candidate was dropped where no rung ends")
        # A tree is measured at the end of its rung, or else with the tree that follows.
        measured = each.n_trees - (each.n_trees not in ends | {spec.rungs[-1].trees})
        if [point.trees for point in each.curve] != list(range(1, measured + 1)):
            raise _refused("a candidate was not measured after each of its trees")
        if each.is_alive:
            check_state(
                state.training(number, own), own, max_weight=max_weight, has_validation=False
            )


def _refused(reason: str) -> StateError:
    return StateError(
        f"search state does not meet the rules of the run: {reason}; a bank of the run uses "
        "another release, or is at fault"
    )
