"""The best model that this bank could have alone: the same plan and windows, its own rows only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bank_node.state.pinned_run import PinnedRun
from fraudfed.adaptation.scaled_model import column_positions
from fraudfed.boosting.model import Model
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.train import train
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.catalogue.plans import find_plan
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Float32Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.windows import SELECT, TRAIN, Windows
from fraudfed.parameters import BoosterParams, alone
from fraudfed.search.running import SearchProgress
from fraudfed.search.search import search
from fraudfed.wire.messages import RunKind, SearchSpec

#: Of a training, which has no plan of its own.
DEFAULT_PLAN = "standard"
#: What names of features of the consortium's risk tables begin with.
SHARED_RISK = "shared_"


@dataclass(frozen=True, eq=False)
class OwnPlan:
    """How a bank's own models are made.

    Attributes
    ----------
    text : str
        In words.
    spec : SearchSpec or None
        None: one training with ``common``, for want of rows to select by.
    common : mapping of str to value
    """

    text: str
    spec: SearchSpec | None
    common: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class OwnModel:
    """A model that was trained here alone.

    Attributes
    ----------
    name : str
        ``own``: without the consortium's risk tables. ``own_risk``: with them.
    what : str
    model : Model
        With the columns of the run, so that all that scores a file with the run's model can score
        it with this one.
    candidate : str or None
    select_auprc : float or None
        None without a search.
    """

    name: str
    what: str
    model: Model
    candidate: str | None
    select_auprc: float | None


def own_plan(run: PinnedRun, plan: str | None, *, has_select: bool) -> OwnPlan:
    """Return the plan of a bank's own models: that of the run, or a named one.

    Raises
    ------
    ConfigurationError
        If there is no such plan, or no rows to select by.
    """
    if plan is not None and not has_select:
        raise ConfigurationError(
            f"plan {plan!r}: run {run.run_id} has no window to select by; leave --plan out, the "
            "own models then have the run's parameters"
        )
    if plan is None and run.spec.kind is RunKind.SEARCH:
        count = len(run.search.candidates)
        return OwnPlan(f"the run's {count} candidates", run.search, run.spec.parameters)
    if not has_select:
        return OwnPlan("the run's parameters", None, run.spec.parameters)
    found = find_plan(plan or DEFAULT_PLAN)
    spec = found.spec_for(run.contract)
    return OwnPlan(f"plan {found.name}, {len(spec.candidates)} candidates", spec, found.common)


def train_own(
    run: PinnedRun,
    windows: Windows,
    plan: OwnPlan,
    *,
    on_tree: Callable[[str, int, int], None],
    threads: int | None,
) -> tuple[OwnModel, ...]:
    """Train this bank's own models, each by the whole plan.

    Parameters
    ----------
    run : PinnedRun
    windows : Windows
    plan : OwnPlan
    on_tree : callable
        Called with the model's name, trees so far, and most trees.
    threads : int or None

    Raises
    ------
    DataError
        If this bank has one class only in a window that trains or selects.
    ParameterError
        If a candidate does not fit the columns.
    """
    for name in (TRAIN, SELECT):
        _check_classes(name, windows)
    names = windows.train.schema.names
    local = tuple(name for name in names if not name.startswith(SHARED_RISK))
    wanted = {"own": ("its own rows and reports", local)}
    if len(local) < len(names):
        wanted["own_risk"] = ("its own rows, and the consortium's risk tables", names)
    if not local:
        raise ConfigurationError(
            f"run {run.run_id}: all of its {len(names)} features are of shared risk; a model of "
            "this bank alone needs others, expected a contract with both"
        )
    whole = contract_schema(run.contract)
    found = []
    for name, (what, columns) in wanted.items():
        own = _with_columns(windows, columns)
        model, candidate, value = _best(plan, own, whole, name, on_tree=on_tree, threads=threads)
        found.append(OwnModel(name, what, widened(model, whole), candidate, value))
    return tuple(found)


def better_own(models: tuple[OwnModel, ...]) -> OwnModel:
    """Return the own model with the better average precision on the select window.

    The judge window has no say in it: all are then compared there with one that was named before.
    Equal ones, and without a search, the one that knows more.
    """
    last = models[-1]
    return max(models, key=lambda own: (own.select_auprc or 0.0, own is last))


def widened(model: Model, schema: FeatureSchema) -> Model:
    """Return a model of some columns as one of all columns of a schema, with the same scores."""
    if model.schema.names == schema.names:
        return replace(model, schema=schema)
    places = np.array(column_positions(model.schema, schema))

    def of(tree: Tree) -> Tree:
        inner = tree.left_children != NO_CHILD
        features = np.where(inner, places[tree.split_features], 0)
        return replace(tree, split_features=features.astype(np.int32))

    return replace(model, trees=tuple(of(tree) for tree in model.trees), schema=schema)


def without_absent(parameters: Mapping[str, Any], whole: FeatureSchema, part: FeatureSchema) -> Any:
    """Return parameters whose monotone constraints name columns of a part only."""
    name = "monotone_constraints"
    if name not in parameters:
        return dict(parameters)
    directions = BoosterParams.parse({name: parameters[name]}).resolve_monotone_constraints(whole)
    kept = {
        column: direction
        for column, direction in zip(whole.names, directions, strict=True)
        if direction and column in part.names
    }
    others = {key: value for key, value in parameters.items() if key != name}
    return {**others, name: kept} if kept else others


def _check_classes(name: str, windows: Windows) -> None:
    count = windows.counts.get(name)
    if count is None:
        return
    clean = count.rows - count.frauds - count.censored
    if count.frauds and clean > 0:
        return
    missing = "fraud" if not count.frauds else "payment that is known to be clean"
    raise DataError(
        f"{name} window: has no {missing} among {count.rows} payments, expected both; this bank "
        "alone can make no model to compare with"
    )


def _best(
    plan: OwnPlan,
    windows: Windows,
    whole: FeatureSchema,
    name: str,
    *,
    on_tree: Callable[[str, int, int], None],
    threads: int | None,
) -> tuple[Model, str | None, float | None]:
    part = windows.train.schema
    common = alone(without_absent(plan.common, whole, part))
    if plan.spec is None or windows.select is None:
        # There are no rows to stop by.
        given = {key: value for key, value in common.items() if key != "early_stopping_rounds"}
        params = BoosterParams.parse(given)
        total = params.num_boost_round
        result = train(
            params,
            windows.train,
            SoloCommunicator(),
            on_tree=lambda tree: on_tree(name, tree.tree_index + 1, total),
            threads=threads,
        )
        return result.model, None, None
    candidates = tuple(
        each.model_copy(update={"parameters": alone(without_absent(each.parameters, whole, part))})
        for each in plan.spec.candidates
    )

    def on_progress(progress: SearchProgress) -> None:
        on_tree(name, progress.tree_index + 1, progress.n_trees)

    found = search(
        plan.spec.model_copy(update={"candidates": candidates}),
        common,
        windows.train,
        windows.select,
        SoloCommunicator(),
        on_progress=on_progress,
        threads=threads,
    )
    return found.model, found.winner, found.best.mean_of_banks


def _with_columns(windows: Windows, columns: tuple[str, ...]) -> Windows:
    """Return the windows with some of their columns."""
    schema = windows.train.schema
    if columns == schema.names:
        return windows
    places = [schema.names.index(name) for name in columns]
    part = FeatureSchema(
        names=columns,
        n_categories=tuple(schema.n_categories[place] for place in places),
        categories=tuple(schema.categories[place] for place in places) if schema.categories else (),
    )

    def of(features: Float32Array) -> Float32Array:
        # Kept column by column, as binning reads it.
        return np.ascontiguousarray(features.T[places]).T

    select = windows.select
    return replace(
        windows,
        train=replace(windows.train, schema=part, features=of(windows.train.features)),
        select=None
        if select is None
        else replace(select, schema=part, features=of(select.features)),
        judge=None,
    )
