"""What a reader of a model must know about its features; a file beside the model.

It follows from the data contract alone, so every bank of a run writes the same bytes.
"""

import json
from collections.abc import Iterable
from typing import Any

from fraudfed.catalogue.recipe import RECIPE, contract_features, recipe_features
from fraudfed.wire.messages import DataContract, FeatureSpec

#: Raised with every change of meaning of a key.
_FORMAT_VERSION = 1


def features_file(contract: DataContract) -> bytes:
    """Return the contents of ``features.json``: what the columns of a run's model are.

    Parameters
    ----------
    contract : DataContract
        Of the run. The features of a plain table are defined by the operator, and have no unit.

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
        "label_delay_seconds": contract.label_delay_seconds,
        "features": _features(contract.features, by_recipe=contract.recipe is not None),
    }
    return json.dumps(published, indent=1, ensure_ascii=False).encode() + b"\n"


def published_recipe() -> dict[str, Any]:
    """Return the whole recipe in the form of ``features.json``, without what a run decides.

    The features that need risk tables are the last.
    """
    return {
        "format_version": _FORMAT_VERSION,
        "recipe": RECIPE,
        "features": _features(contract_features(shared=True), by_recipe=True),
    }


def _features(specs: Iterable[FeatureSpec], *, by_recipe: bool) -> list[dict[str, Any]]:
    known = recipe_features(shared=True) if by_recipe else ()
    definitions = {feature.name: feature for feature in known}
    found = []
    for spec in specs:
        own = definitions.get(spec.name)
        found.append(
            {
                "name": spec.name,
                "type": spec.type.value,
                "unit": None if own is None else own.unit,
                "definition": spec.description if own is None else own.description,
                "categories": None if spec.categories is None else list(spec.categories),
            }
        )
    return found
