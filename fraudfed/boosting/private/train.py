"""Train under differential privacy, by one of three ways; every bank ends with the same bytes.

Law: what leaves a bank enters one of the plan's noised sums. The model follows from what these
open to, from what was declared, and from public parameters; resumed from any of its states, the
training continues as if it had not been interrupted, given the same opened sums.

``fraudfed.privacy.plan`` says how much noise each sum carries and how far one unit can move it.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from fraudfed.boosting.model import Model
from fraudfed.boosting.private.bounds import PrivateBounds, private_bounds
from fraudfed.boosting.private.counts import start_of
from fraudfed.boosting.private.cuts import declared_cuts, find_private_cuts
from fraudfed.boosting.private.state import check_private_start, first_state
from fraudfed.boosting.private.ways import TreeGrower, grower_of
from fraudfed.boosting.resume.state import TrainingState, TreeProgress, progress_after
from fraudfed.boosting.shard.local import shard_of
from fraudfed.boosting.shard.protocol import BoostedRows, GradientCap, Shard
from fraudfed.boosting.table import TrainingTable, check_schema
from fraudfed.boosting.train import TrainResult
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import NoisingCommunicator
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError, ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.parameters import check_private_params
from fraudfed.privacy.plan import PrivacyPlan, plan_of
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit, PrivateCuts

logger = logging.getLogger(__name__)


def train_private(
    params: BoosterParams,
    terms: PrivacyTerms,
    rows: TrainingTable | Shard,
    communicator: NoisingCommunicator,
    *,
    edges: Mapping[str, Float32Array] | None = None,
    start: TrainingState | None = None,
    on_step: Callable[[TrainingState], None] | None = None,
    on_tree: Callable[[TreeProgress], None] | None = None,
    threads: int | None = None,
) -> TrainResult:
    """Train a model over the rows of all banks with noise.

    Parameters
    ----------
    params : BoosterParams
        The same at every bank.
    terms : PrivacyTerms
        The same at every bank.
    rows : TrainingTable or Shard
        This bank's rows, in memory or wherever; there may be none. For the unit customer a table
        has ``customers``.
    communicator : NoisingCommunicator
    edges : mapping of str to ndarray of shape (n,), dtype=float32, or None
        Declared cuts of numeric features, ascending; needed if ``terms.cuts`` is ``contract``.
    start : TrainingState or None
        Where to continue, the same at every bank; None is from the beginning.
    on_step : callable or None
        Called with the state after each step that this call finishes: the preparation, each tree.
    on_tree : callable or None
        Called after each tree that this call grows, after ``on_step``.
    threads : int or None
        Threads for rows that come as a table; they change no result. None is as many as the process
        may use cores.

    Raises
    ------
    ParameterError, DataError
        As ``check_private``.
    StateError
        If ``start`` is none that this training can have come to.
    FraudFedError
        If a sum fails.
    """
    rows = shard_of(rows, threads=threads)
    check_private(params, terms, rows, edges=edges)
    return train_private_checked(
        params,
        terms,
        rows,
        communicator,
        edges=edges,
        start=start,
        on_step=on_step,
        on_tree=on_tree,
        threads=threads,
    )


def train_private_checked(
    params: BoosterParams,
    terms: PrivacyTerms,
    rows: TrainingTable | Shard,
    communicator: NoisingCommunicator,
    *,
    edges: Mapping[str, Float32Array] | None = None,
    start: TrainingState | None = None,
    on_step: Callable[[TrainingState], None] | None = None,
    on_tree: Callable[[TreeProgress], None] | None = None,
    threads: int | None = None,
) -> TrainResult:
    """Train on rows that ``check_private`` has accepted: nothing fails by one bank's rows alone.

    Parameters
    ----------
    params, terms, rows, communicator, edges, start, on_step, on_tree, threads
        As ``train_private``.

    Raises
    ------
    StateError, FraudFedError
        As ``train_private``.
    """
    shard = shard_of(rows, threads=threads)
    plan = _plan(params, terms, shard)
    bounds = private_bounds(terms, plan)
    if start is None:
        state = _prepare(params, terms, shard, plan, bounds, communicator, edges=edges)
        if on_step is not None:
            on_step(state)
    else:
        check_private_start(start, params, terms, shard.schema)
        state = start
    boosting = _PrivateBoosting(params, terms, shard, plan, bounds, state)
    while len(boosting.trees) < params.num_boost_round:
        progress = boosting.add_tree(communicator)
        logger.debug("tree %d: %s", progress.tree_index, progress)
        if on_step is not None:
            on_step(boosting.state())
        if on_tree is not None:
            on_tree(progress)
    return boosting.result()


def check_private(
    params: BoosterParams,
    terms: PrivacyTerms,
    rows: TrainingTable | Shard,
    *,
    edges: Mapping[str, Float32Array] | None = None,
) -> None:
    """Check parameters, terms and this bank's rows before another bank waits for it.

    Raises
    ------
    ParameterError
        As ``check_private_params``; or if cuts are declared where none are asked for, or do not fit
        the features; or if the unit is the customer and the shard does not bound customers.
    DataError
        If a row breaks the contract of ``TrainingTable``, or there are more than were declared.
    """
    check_private_params(params, terms)
    rows = shard_of(rows)
    check_schema(rows.schema)
    if terms.cuts is PrivateCuts.CONTRACT:
        declared_cuts(rows.schema, edges or {}, max_bin=params.max_bin)
    if terms.unit is PrivacyUnit.CUSTOMER and not rows.caps_customers:
        raise ParameterError(
            "the privacy unit is the customer, and the rows do not say whose they are, or lie in "
            "several parts, where a customer's cannot be bounded together; train on transactions "
            "in memory, or choose the unit row"
        )
    plan = _plan(params, terms, rows)
    private_bounds(terms, plan)
    rows.check("training rows")
    if rows.n_rows > terms.declared_rows:
        raise DataError(
            f"there are {rows.n_rows} training rows at this bank alone, and the run declares "
            f"{terms.declared_rows} for all banks; a run with more declared rows is needed"
        )


def _plan(params: BoosterParams, terms: PrivacyTerms, shard: Shard) -> PrivacyPlan:
    return plan_of(
        terms,
        params,
        n_features=shard.schema.n_features,
        n_numeric=sum(n == 0 for n in shard.schema.n_categories),
        max_weight=shard.max_weight,
    )


def _prepare(
    params: BoosterParams,
    terms: PrivacyTerms,
    shard: Shard,
    plan: PrivacyPlan,
    bounds: PrivateBounds,
    communicator: NoisingCommunicator,
    *,
    edges: Mapping[str, Float32Array] | None,
) -> TrainingState:
    """Find base score and cuts: step 0."""
    # Whose the rows are matters for the unit customer only.
    customer_rows = plan.count_cap if terms.unit is PrivacyUnit.CUSTOMER else None
    base_score, counts = start_of(
        params,
        shard,
        plan,
        bounds,
        communicator,
        declared_rows=terms.declared_rows,
        customer_rows=customer_rows,
    )
    if terms.cuts is PrivateCuts.CONTRACT:
        cuts = declared_cuts(shard.schema, edges or {}, max_bin=params.max_bin)
    else:
        cuts = find_private_cuts(
            params, shard, plan, bounds, communicator, customer_rows=customer_rows
        )
    return first_state(params, terms, cuts=cuts, base_score=base_score, counts=counts)


class _PrivateBoosting:
    """The state as it grows, and this bank's rows."""

    def __init__(
        self,
        params: BoosterParams,
        terms: PrivacyTerms,
        shard: Shard,
        plan: PrivacyPlan,
        bounds: PrivateBounds,
        state: TrainingState,
    ) -> None:
        self._params = params
        self._start = state
        self.trees: list[Tree] = list(state.trees)
        self._history = list(state.history)
        self._cap = GradientCap(
            plan.row_norm, plan.unit_norm if terms.unit is PrivacyUnit.CUSTOMER else None
        )
        self._grower: TreeGrower = grower_of(params, terms, plan, bounds, state.cuts)
        self._rows: BoostedRows = shard.bin(state.cuts).start(state.trees, state.base_score)

    def add_tree(self, communicator: NoisingCommunicator) -> TreeProgress:
        """Grow the next tree."""
        growing = self._rows.grow(scale_pos_weight=self._params.scale_pos_weight, cap=self._cap)
        tree = self._grower.grow(self._rows, growing, self.trees, communicator)
        self.trees.append(tree)
        progress = progress_after(self._history, tree, {}, n_trees=self._params.num_boost_round)
        self._history.append(progress)
        return progress

    def state(self) -> TrainingState:
        """Return the state after the last tree."""
        return replace(self._start, trees=tuple(self.trees), history=tuple(self._history))

    def result(self) -> TrainResult:
        """Return the model and how it came about."""
        model = Model(
            trees=tuple(self.trees),
            base_score=self._start.base_score,
            schema=self._start.cuts.schema,
            scale_pos_weight=self._params.scale_pos_weight,
            statistics_bits=self._params.statistics_bits,
        )
        return TrainResult(
            model=model,
            history=tuple(self._history),
            cuts=self._start.cuts,
            counts=self._start.counts,
            best_iteration=None,
            rows=self._rows,
        )
