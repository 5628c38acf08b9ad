"""What a reader of a model must know about its features; a file beside the model.

It follows from the data contract alone, so every bank of a run writes the same bytes.
"""

import json
from collections.abc import Iterable
from typing import Any

from fraudfed.catalogue.recipe import RECIPE, FeatureDefinition
from fraudfed.catalogue.recipes import contract_features, find_recipe
from fraudfed.wire.messages import DataContract, FeatureSpec

#: Raised with every change of meaning of a key.
_FORMAT_VERSION = 1


def features_file(contract: DataContract) -> bytes:
    """Return the contents of ``features.json``: what the columns of a run's model are.

    Parameters
    ----------
    contract : DataContract
        Of the run. The features of a plain table are defined by the operator, as a contract's own
        columns are; the former may have no unit.

    Returns
    -------
    bytes
        UTF-8 JSON; equal contracts give equal bytes.
    """
    published = {
        "format_version": _FORMAT_VERSION,
        "kind": contract.kind,
        "recipe": contract.recipe,
        "label": contract.label,
        **_windows(contract),
        **_terms(contract),
        "features": _features(contract.features, _definitions(contract.recipe)),
    }
    return json.dumps(published, indent=1, ensure_ascii=False).encode() + b"\n"


def _windows(contract: DataContract) -> dict[str, Any]:
    """Return what a reader must know of time, where payments have times."""
    if contract.kind != "transactions":
        return {}
    horizon = contract.label_horizon_days
    return {
        "label_horizon_days": {"days": horizon.days, "by_channel": dict(horizon.by_channel)},
        "risk_delay_days": contract.risk_delay_days,
        "risk_publication_lag_days": contract.risk_publication_lag_days,
    }


def _terms(contract: DataContract) -> dict[str, Any]:
    """Return which payments the model is for, and in which currency, where the contract says so."""
    terms: dict[str, Any] = {}
    if contract.population is not None:
        terms["population"] = contract.population.model_dump(
            mode="json", exclude={"protocol_version"}, exclude_none=True
        )
    if contract.currency is not None:
        terms["currency"] = contract.currency.code
    return terms


def published_recipe(recipe: str = RECIPE) -> dict[str, Any]:
    """Return a whole recipe in the form of ``features.json``, without what a run decides.

    The features that need risk tables are the last.

    Raises
    ------
    ConfigurationError
        If this release has no recipe of that name.
    """
    return {
        "format_version": _FORMAT_VERSION,
        "recipe": recipe,
        "features": _features(contract_features(recipe, shared=True), _definitions(recipe)),
    }


def _definitions(recipe: str | None) -> tuple[FeatureDefinition, ...]:
    return () if recipe is None else find_recipe(recipe).definitions(shared=True)


def _features(
    specs: Iterable[FeatureSpec], known: tuple[FeatureDefinition, ...]
) -> list[dict[str, Any]]:
    definitions = {feature.name: feature for feature in known}
    found = []
    for spec in specs:
        own = definitions.get(spec.name)
        found.append(
            {
                "name": spec.name,
                "type": spec.type.value,
                "unit": spec.unit if own is None else own.unit,
                "definition": spec.description if own is None else own.description,
                "categories": None if spec.categories is None else list(spec.categories),
            }
        )
    return found
