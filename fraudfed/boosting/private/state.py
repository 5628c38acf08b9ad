"""Where a private training stands between two steps: a ``TrainingState`` without counts of rows.

What stands where counts would is declared, or follows from noised sums: the rows are the declared
ones, bins have no counts, nothing is known of single bins. So another set of banks continues from
the same bytes, and no number of rows has to be told when a bank comes in.
"""

import hashlib
import json

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.bounds.pooled_counts import PooledCounts
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.errors import StateError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.parameters import longest_step
from fraudfed.privacy.terms import PrivacyTerms

#: Of several float32 roundings.
_SLACK = 1.0 + 2.0**-20


def terms_digest(params: BoosterParams, terms: PrivacyTerms) -> bytes:
    """Return the SHA-256 of all that a private training was asked for, 32 bytes."""
    asked = {
        "parameters": params.to_mapping(),
        "privacy": {name: getattr(terms, name) for name in PrivacyTerms.__dataclass_fields__},
    }
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).digest()


def first_state(
    params: BoosterParams,
    terms: PrivacyTerms,
    *,
    cuts: Cuts,
    base_score: float,
    counts: PooledCounts,
) -> TrainingState:
    """Return the state after the preparation."""
    return TrainingState(
        of_params=terms_digest(params, terms),
        num_boost_round=params.num_boost_round,
        counts=counts,
        base_score=base_score,
        cuts=cuts,
    )


def check_private_start(
    state: TrainingState, params: BoosterParams, terms: PrivacyTerms, schema: FeatureSchema
) -> None:
    """Check that a training with these terms can have come to a state.

    Raises
    ------
    StateError
        If it cannot. The text quotes nothing of the state.
    """
    if state.of_params != terms_digest(params, terms):
        raise _refused("it is of a training with other parameters or other privacy terms")
    if state.num_boost_round != params.num_boost_round:
        raise _refused("it is of a training with another number of trees")
    if state.cuts.schema != schema:
        raise _refused("it is of a training with other features")
    if state.has_validation or state.counts_validation or state.more_rows or state.bins:
        raise _refused("it holds what no private training opens")
    if state.counts.n_rows != terms.declared_rows:
        raise _refused("it has other rows than were declared")
    if any(counts.any() for counts in state.cuts.counts.values()):
        raise _refused("it counts the rows of bins")
    if any(edges.size > params.max_bin for edges in _numeric_edges(state.cuts)):
        raise _refused("a feature has more bins than the parameters allow")
    if not 0.0 < state.base_score < 1.0:
        raise _refused("its base score is no probability")
    if params.base_score is not None and state.base_score != params.base_score:
        raise _refused("its base score is not that of the parameters")
    longest = longest_step(params) * params.eta * _SLACK
    for tree in state.trees:
        _check_tree(tree, params, longest=longest)


def _check_tree(tree: Tree, params: BoosterParams, *, longest: float) -> None:
    depths = np.zeros(tree.n_nodes, dtype=np.int64)
    for node in range(1, tree.n_nodes):
        depths[node] = depths[tree.parents[node]] + 1
    if int(depths.max()) > params.max_depth:
        raise _refused("a tree is deeper than the parameters allow")
    leaves = tree.left_children == NO_CHILD
    if not (np.abs(tree.split_conditions[leaves].astype(np.float64)) <= longest).all():
        raise _refused("a leaf is larger than max_delta_step makes it")


def _numeric_edges(cuts: Cuts) -> list[np.ndarray]:
    schema = cuts.schema
    return [cuts.values[f] for f in range(schema.n_features) if not schema.is_categorical(f)]


def _refused(reason: str) -> StateError:
    return StateError(
        f"training state does not meet the rules of the run: {reason}; a bank of the run uses "
        "another release, or is at fault"
    )
