"""What must be true of a training state from elsewhere, beyond being well-formed.

A bank that comes into a run continues from a state that other banks hand over. Any of them may
have made it up, so it has to be one that this run can have come to: trees, depth, bins and counts
within the run's parameters, numbers that follow from each other as they do in a training.
``TrainingState`` checks the form of the bytes; this module checks the rules of the run.

Law: every state that ``train`` hands to ``on_step`` passes.
"""

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX
from fraudfed.boosting.bounds.bins import BinBounds
from fraudfed.boosting.bounds.rows import NodeBounds
from fraudfed.boosting.cuts import DEFAULT_RESOLUTION_BITS
from fraudfed.boosting.engine.keys import KEY_BITS, keys_from_values
from fraudfed.boosting.growth.expansion_queue import LEAST_LOSS_CHANGE
from fraudfed.boosting.metrics import check_validation_rows
from fraudfed.boosting.objective import gradient_bounds
from fraudfed.boosting.resume.state import TrainingState, params_digest
from fraudfed.boosting.sampling import ColumnSampler
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import FIXED_POINT_ONE, Int64Array
from fraudfed.errors import DataError, StateError
from fraudfed.parameters import BoosterParams

#: Relative errors of a few float32 roundings, far below anything that is looked for.
_ROUNDING = 2.0**-20
#: For bounds of leaves, which a few more roundings lie in.
_LEAF_SLACK = 1.001
#: Of each metric; logloss ends where a probability is XGBoost's least.
_MOST_METRIC = {"logloss": 37.0, "auc": 1.0, "aucpr": 1.0, "error": 1.0}


def check_state(
    state: TrainingState, params: BoosterParams, *, max_weight: float, has_validation: bool
) -> None:
    """Check that a run with these rules can have come to a state.

    Parameters
    ----------
    state : TrainingState
        As ``TrainingState.from_bytes`` has read it, with the schema of the run.
    params : BoosterParams
        Of the run.
    max_weight : float
        Of the run's data contract.
    has_validation : bool
        Whether the banks of the run give validation rows.

    Raises
    ------
    StateError
        If it cannot. The text quotes nothing of the state.
    """
    if (state.of_params, state.num_boost_round) != (params_digest(params), params.num_boost_round):
        raise _refused("it is of a training with other parameters")
    if state.has_validation != has_validation:
        raise _refused("it has validation rows where the run has none, or none where it has some")
    if state.counts_validation:
        raise _refused("it asks for a count that no finished step asks for")
    _check_base_score(state, params)
    _check_history(state, params)
    _check_cuts(state, params)
    bounds = _bounds(state, params, max_weight=max_weight)
    for number, tree in enumerate(state.trees):
        _check_tree(tree, number, state, params, bounds)
    _check_bins(state, params, bounds)


def _check_base_score(state: TrainingState, params: BoosterParams) -> None:
    score = state.base_score
    if not 0.0 < score < 1.0 or float(np.float32(score)) != score:
        raise _refused("its base score is no probability in float32")
    if params.base_score is not None and score != params.base_score:
        raise _refused("its base score is not that of the parameters")


def _check_history(state: TrainingState, params: BoosterParams) -> None:
    """Check the metrics, and that no tree follows one after which the training had ended."""
    names = params.eval_metric if state.has_validation else ()
    for number, progress in enumerate(state.history):
        if tuple(progress.metrics) != names:
            raise _refused("its metrics are not those of the parameters")
        if any(not 0.0 <= value <= _MOST_METRIC[name] for name, value in progress.metrics.items()):
            raise _refused("a metric is out of its range")
        patience, best = params.early_stopping_rounds, progress.best_iteration
        is_last = number == len(state.history) - 1
        if not is_last and patience is not None and best is not None and number - best >= patience:
            raise _refused("it has trees that early stopping would not have grown")


def _check_cuts(state: TrainingState, params: BoosterParams) -> None:
    for feature, counts in state.cuts.counts.items():
        edges = state.cuts.values[feature]
        if edges.size > params.max_bin:
            raise _refused("a feature has more bins than the parameters allow")
        if edges.size > 1 and int(counts.min()) < 1:
            raise _refused("a feature has a bin without rows")
        # A finer edge than the search looks for would show a row's value.
        width = 1 << (KEY_BITS - DEFAULT_RESOLUTION_BITS)
        if (keys_from_values(edges[:-1]) % np.uint32(width)).any():
            raise _refused("an edge between bins is finer than the run looks for")


def _bounds(state: TrainingState, params: BoosterParams, *, max_weight: float) -> NodeBounds:
    row = gradient_bounds(max_weight=max_weight, scale_pos_weight=params.scale_pos_weight)
    try:
        row.check_rows(state.most_negatives + state.most_positives, state.most_positives)
        check_validation_rows(params.eval_metric, state.counts.n_validation_rows)
    except DataError:
        raise _refused("it has more rows than exact sums can hold") from None
    return NodeBounds(
        n_rows=state.most_rows,
        n_negatives=state.most_negatives,
        n_positives=state.most_positives,
        row=row,
    )


def _check_tree(
    tree: Tree, number: int, state: TrainingState, params: BoosterParams, bounds: NodeBounds
) -> None:
    inner = np.flatnonzero(tree.left_children != NO_CHILD)
    depths = _depths(tree)
    if params.max_depth > 0 and int(depths.max()) > params.max_depth:
        raise _refused("a tree is deeper than the parameters allow")
    if params.max_leaves > 0 and tree.n_nodes - inner.size > params.max_leaves:
        raise _refused("a tree has more leaves than the parameters allow")
    gains = tree.loss_changes[inner]
    if not ((gains > LEAST_LOSS_CHANGE) & (gains >= np.float32(params.gamma))).all():
        raise _refused("a split gains less than the parameters ask for")
    _check_hessians(tree, inner, params, bounds)
    _check_leaves(tree, params, bounds)
    columns = ColumnSampler(params, n_features=state.cuts.schema.n_features, tree_index=number)
    for node in inner.tolist():
        _check_split(tree, node, state, params)
        if tree.split_features[node] not in columns.node_features(
            depth=int(depths[node]), node=node
        ):
            raise _refused("a node is split on a feature that was not drawn for it")


def _depths(tree: Tree) -> Int64Array:
    """Return the depth of each node; a parent comes before its children."""
    depths = np.zeros(tree.n_nodes, dtype=np.int64)
    for node in range(1, tree.n_nodes):
        depths[node] = depths[tree.parents[node]] + 1
    return depths


def _check_hessians(
    tree: Tree, inner: Int64Array, params: BoosterParams, bounds: NodeBounds
) -> None:
    hessians = tree.sum_hessians.astype(np.float64)
    most = int(bounds.of_counts(np.array([bounds.n_rows])).hessian[0]) / FIXED_POINT_ONE
    if not ((hessians >= 0.0) & (hessians <= most * (1.0 + _ROUNDING))).all():
        raise _refused("a node has a sum of hessians that its rows cannot have")
    children = hessians[tree.left_children[inner]], hessians[tree.right_children[inner]]
    if any(not ((part >= params.min_child_weight) & (part > 0.0)).all() for part in children):
        raise _refused("a child has a smaller sum of hessians than the parameters ask for")
    whole = hessians[inner]
    if not (np.abs(whole - children[0] - children[1]) <= whole * _ROUNDING).all():
        raise _refused("the hessians of children do not add up to their parent's")


def _check_leaves(tree: Tree, params: BoosterParams, bounds: NodeBounds) -> None:
    leaves = tree.left_children == NO_CHILD
    values, weights = tree.split_conditions[leaves], tree.base_weights[leaves]
    if tree.n_nodes == 1:
        weights = np.float32(params.eta) * weights
    if not np.array_equal(values, weights):
        raise _refused("a leaf has another weight than value")
    if any(direction for _, direction in params.constrained()):
        return  # A constraint moves a leaf to the weight of others.
    most = int(bounds.of_counts(np.array([bounds.n_rows])).by_label.max()) / FIXED_POINT_ONE
    divisors = tree.sum_hessians[leaves].astype(np.float64) + params.reg_lambda
    limits = most / np.where(divisors > 0.0, divisors, 1.0)
    if params.max_delta_step > 0.0:
        limits = np.minimum(limits, params.max_delta_step)
    limits *= params.eta * _LEAF_SLACK
    if not (np.abs(values.astype(np.float64)) <= limits + np.finfo(np.float32).tiny).all():
        raise _refused("a leaf is larger than any rows make it")


def _check_split(tree: Tree, node: int, state: TrainingState, params: BoosterParams) -> None:
    feature, condition = int(tree.split_features[node]), tree.split_conditions[node]
    if tree.is_categorical[node]:
        n_categories = state.cuts.schema.n_categories[feature]
        n_right = len(tree.right_categories[node])
        is_single = n_categories < params.max_cat_to_onehot
        if n_right < 1 or n_right > (1 if is_single else n_categories - 1):
            raise _refused("a split sends no category to one side, or more than it may")
        expected = np.finfo(np.float32).smallest_subnormal
    else:
        at = int(tree.split_bins[node])
        expected = np.float32(-FLOAT32_MAX) if at < 0 else state.cuts.values[feature][at]
    if condition != expected:
        raise _refused("a threshold is not the edge of its bin")


def _check_bins(state: TrainingState, params: BoosterParams, bounds: NodeBounds) -> None:
    bins = state.bins
    if (bins is not None) != (bool(state.trees) and params.subsample >= 1.0):
        raise _refused("it knows of single bins what no step says, or not what one has said")
    if bins is None:
        return
    if (bins.masses > BinBounds.before_training(state.cuts, bounds).masses).any():
        raise _refused("the masses of its bins are above what their rows can weigh")


def _refused(reason: str) -> StateError:
    return StateError(
        f"training state does not meet the rules of the run: {reason}; a bank of the run uses "
        "another release, or is at fault"
    )
