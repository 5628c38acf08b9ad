"""Models that need no federation: a bank's own, and one on everybody's rows in one table.

They are fitted as the federation's are: by the same plan on the same windows and with the same
code, only that there is nobody to add up with.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.catalogue.plans import SearchPlan
from fraudfed.catalogue.presets import find_preset
from fraudfed.communicator import SoloCommunicator
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.intake.windows import labelled_table
from fraudfed.lab.demo.plan import Fitting
from fraudfed.lab.report.facts import Choice
from fraudfed.parameters import BoosterParams, overridden
from fraudfed.search.search import search
from fraudfed.wire.messages import DataContract

#: Where a bank has no frauds to choose by.
_FALLBACK = "fraud"


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A model and what it was fitted with.

    Attributes
    ----------
    model_json : bytes
    choice : Choice
    """

    model_json: bytes
    choice: Choice


def fit_alone(
    fitting: Fitting,
    contract: DataContract,
    table: TrainingTable,
    select: JudgedRows,
    *,
    threads: int,
) -> FittedModel | None:
    """Fit a model on rows that lie in one place; None where they hold only one class.

    Parameters
    ----------
    fitting : Fitting
    contract : DataContract
        Of these features.
    table : TrainingTable
    select : JudgedRows
        A search chooses by them, and early stopping stops by them. Where they hold only one class,
        nothing can be chosen: then the model has the parameters of the preset ``fraud``.
    threads : int
    """
    if np.unique(table.labels).size < 2:
        return None
    if fitting.plan is None:
        return _fixed(fitting.parameters, contract, table, select, threads=threads)
    labels = select.outcomes.labels
    if not ((labels == 0).any() and (labels == 1).any()):
        given = overridden(fitting.parameters, find_preset(_FALLBACK).parameters)
        note = f"preset {_FALLBACK}: no frauds to choose by"
        return _fixed(given, contract, table, select, threads=threads, note=note)
    found = search(
        fitting.plan.spec_for(contract),
        fitting.parameters,
        table,
        select,
        SoloCommunicator(),
        threads=threads,
    )
    choice = searched_choice(fitting, found.winner, found.params)
    return FittedModel(found.model.to_json(), choice)


def _fixed(
    parameters: Mapping[str, Any],
    contract: DataContract,
    table: TrainingTable,
    select: JudgedRows,
    *,
    threads: int,
    note: str = "",
) -> FittedModel:
    given = fitting_parameters(parameters, contract)
    params = BoosterParams.parse(given)
    validation = None if params.early_stopping_rounds is None else labelled_table(select)
    model = train(params, table, SoloCommunicator(), validation=validation, threads=threads).model
    return FittedModel(model.to_json(), Choice(None, len(model.trees), dict(given), note))


def searched_choice(fitting: Fitting, winner: str, params: BoosterParams, note: str = "") -> Choice:
    """Return what a search chose, with the parameters that the plan has anything to say about.

    Parameters
    ----------
    fitting : Fitting
    winner : str
        Name of the candidate.
    params : BoosterParams
        The winner's, with its best number of trees.
    note : str
        As in ``Choice``.
    """
    plan = _plan_of(fitting)
    names = {"min_child_weight", *fitting.parameters}
    names |= {name for one in plan.spec.candidates for name in one.parameters}
    if winner == "monotone":
        names.add("monotone_constraints")
    chosen = {name: value for name, value in params.to_mapping().items() if name in names}
    return Choice(winner, params.num_boost_round, chosen, note)


def read_choice(fitting: Fitting, search_json: bytes) -> Choice:
    """Return what the banks' search chose, as its result says."""
    choice = json.loads(search_json)["choice"]
    return searched_choice(fitting, choice["name"], BoosterParams.parse(choice["parameters"]))


def fitting_parameters(parameters: Mapping[str, Any], contract: DataContract) -> dict[str, Any]:
    """Return parameters without constraints of features that a contract does not have."""
    given = dict(parameters)
    constraints = given.get("monotone_constraints")
    if isinstance(constraints, Mapping):
        names = {spec.name for spec in contract.features}
        given["monotone_constraints"] = {n: d for n, d in constraints.items() if n in names}
    return given


def parameters_of(choice: Choice, contract: DataContract) -> dict[str, Any]:
    """Return the parameters of a training that does as a choice says."""
    given = fitting_parameters(choice.parameters, contract)
    return {**given, "num_boost_round": choice.trees}


def _plan_of(fitting: Fitting) -> SearchPlan:
    if fitting.plan is None:
        raise ValueError("no plan, so nothing was searched")
    return fitting.plan
