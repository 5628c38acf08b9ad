"""Whether banks could take part in a run as it is described: all that can be said without data.

The operator's command asks before it sends a description, the aggregator before it stores one, and
each bank, which takes neither at its word, before it joins.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fraudfed.catalogue.privacy_check import check_privacy
from fraudfed.catalogue.recipes import Recipe, contract_features, find_recipe
from fraudfed.catalogue.search_check import check_search
from fraudfed.errors import ConfigurationError, ParameterError, RunDescriptionError
from fraudfed.parameters import BoosterParams
from fraudfed.payments.columns import COLUMNS
from fraudfed.wire.messages import DataContract, FeatureSpec, RunSpec, SearchSpec

#: The only label of transactions; what it means is a column of the schema.
TRANSACTIONS_LABEL = "is_fraud"
#: A bin number has 16 bits, and one of its values is that of a missing value.
_MOST_CATEGORIES = 65_535


@dataclass(frozen=True)
class _Columns:
    """The features of a contract, as constraints name them."""

    names: tuple[str, ...]
    n_categories: tuple[int, ...]


def check_run(spec: RunSpec) -> None:
    """Check the description of a training or search; others are checked by their message.

    Raises
    ------
    RunDescriptionError
        If contract, parameters or candidates cannot be met by any bank.
    """
    if spec.contract is None:
        return
    check_contract(spec.contract)
    try:
        if spec.search is not None:
            check_select_window(spec.contract)
            check_candidates(spec.contract, spec.search, spec.parameters)
            return
        params = check_parameters(spec)
    except ParameterError as error:
        raise RunDescriptionError(f"parameters: {error}") from None
    if (
        params.early_stopping_rounds is not None
        and spec.contract.kind == "transactions"
        and spec.contract.select_until is None
    ):
        raise RunDescriptionError(
            f"parameters: early_stopping_rounds is {params.early_stopping_rounds}, and the data "
            "contract has no select_until, the window whose payments decide when to stop; give it, "
            "or leave the parameter out"
        )


def check_parameters(spec: RunSpec) -> BoosterParams:
    """Return the parameters of a training, if they are some and fit its features and terms.

    Raises
    ------
    ParameterError
    RunDescriptionError
        If the contract does not fit the privacy terms.
    """
    params = BoosterParams.parse(spec.parameters)
    if spec.contract is not None:
        params.resolve_monotone_constraints(_columns(spec.contract))
        if spec.privacy is not None:
            check_privacy(spec.privacy, params, spec.contract)
    return params


def check_candidates(
    contract: DataContract, spec: SearchSpec, common: Mapping[str, Any]
) -> tuple[BoosterParams, ...]:
    """Return the parameters of each candidate, if they fit each other and the features.

    Parameters
    ----------
    contract : DataContract
    spec : SearchSpec
    common : mapping of str to value
        What all candidates share: the run's ``parameters``.

    Raises
    ------
    ParameterError
        Naming the candidate; as ``check_search``.
    """
    found, columns = check_search(spec, common), _columns(contract)
    for candidate, params in zip(spec.candidates, found, strict=True):
        try:
            params.resolve_monotone_constraints(columns)
        except ParameterError as error:
            raise ParameterError(f"candidate {candidate.name!r}: {error}") from None
    return found


def check_select_window(contract: DataContract) -> None:
    """Check that there are rows to compare candidates on: every row of a table can be one.

    Raises
    ------
    RunDescriptionError
    """
    if contract.kind == "transactions" and contract.select_until is None:
        raise RunDescriptionError(
            "data contract: has no select_until, expected one: a search compares its candidates on "
            "payments after those it trains on; give --select-until, later than --train-until"
        )


def _columns(contract: DataContract) -> _Columns:
    return _Columns(
        names=tuple(each.name for each in contract.features),
        n_categories=tuple(len(each.categories or ()) for each in contract.features),
    )


def check_contract(contract: DataContract) -> None:
    """Check that a recipe of this release makes the features, and from the tables that are named.

    Raises
    ------
    RunDescriptionError
    """
    for feature in contract.features:
        if len(feature.categories or ()) > _MOST_CATEGORIES:
            raise RunDescriptionError(
                f"data contract: feature {feature.name!r} has {len(feature.categories or ())} "
                f"categories, expected at most {_MOST_CATEGORIES}; it is an identifier"
            )
    if contract.kind == "table":
        return
    recipe = contract_recipe(contract)
    if contract.label != TRANSACTIONS_LABEL:
        raise RunDescriptionError(
            f"data contract: label {contract.label!r}, expected {TRANSACTIONS_LABEL!r} for "
            "transactions; correct the run's description"
        )
    if contract.weight in {column.name for column in COLUMNS}:
        raise RunDescriptionError(
            f"data contract: weight {contract.weight!r} is a column of every transaction; name a "
            "column of its own"
        )
    if needs_tables(contract) != bool(contract.shared_risk):
        raise RunDescriptionError(
            f"data contract: names {len(contract.shared_risk)} risk tables, expected them exactly "
            "for features 'shared_...', so that all banks train on the same; name tables, or leave "
            "these features out"
        )
    known = {spec.name: spec for spec in contract_features(recipe.name, shared=True)}
    for spec in contract.features:
        if not spec.is_own:
            _check_made(spec, known.get(spec.name), recipe, known)
        elif spec.name in known:
            raise RunDescriptionError(
                f"data contract: own column {spec.name!r} (it has a unit) is called as a feature "
                f"that recipe {recipe.name!r} makes; give it another name, or no unit"
            )


def needs_tables(contract: DataContract) -> bool:
    """Tell whether a feature of the contract is computed from risk tables.

    Raises
    ------
    RunDescriptionError
        If this release does not know the recipe.
    """
    if contract.kind != "transactions":
        return False
    shared = {feature.name for feature in contract_recipe(contract).shared_features}
    return any(feature.name in shared for feature in contract.features)


def contract_recipe(contract: DataContract) -> Recipe:
    """Return the recipe of a contract of transactions.

    Raises
    ------
    RunDescriptionError
        If this release does not know it.
    """
    try:
        return find_recipe(contract.recipe or "")
    except ConfigurationError as error:
        raise RunDescriptionError(f"data contract: {error}") from None


def _check_made(
    spec: FeatureSpec, own: FeatureSpec | None, recipe: Recipe, known: Iterable[str]
) -> None:
    if own is None:
        near = difflib.get_close_matches(spec.name, known, n=1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else "leave it out, or give it a unit and a description if it is an own column"
        )
        raise RunDescriptionError(
            f"data contract: feature {spec.name!r} is none of recipe {recipe.name!r}; {hint}"
        )
    if (own.type, own.categories) != (spec.type, spec.categories):
        raise RunDescriptionError(
            f"data contract: feature {spec.name!r} ({spec.type.value}) is not what recipe "
            f"{recipe.name!r} makes ({own.type.value}, with its own categories); correct the run's "
            "description"
        )
