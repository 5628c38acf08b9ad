"""The recipes of this release by name: which payments each judges, and its features.

A data contract names one of them. What is trained on and scored are the payments of the recipe's
direction; the others of a file are history to it, or nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fraudfed.catalogue.inbound import (
    INBOUND_FEATURES,
    INBOUND_RECIPE,
    INBOUND_SHARED_FEATURES,
)
from fraudfed.catalogue.recipe import FEATURES, RECIPE, SHARED_FEATURES, FeatureDefinition
from fraudfed.errors import ConfigurationError
from fraudfed.payments.columns import INBOUND, OUTBOUND
from fraudfed.wire.messages import FeatureSpec


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes
    ----------
    name : str
        Name and version, as a data contract has it.
    purpose : str
        Which payments it judges, in a few words.
    direction : str
        One of ``schema.DIRECTIONS``: of the payments that are trained on and scored.
    unused : frozenset of str
        Raw columns that no feature of it is built on, beside those for analysis.
    features : tuple of FeatureDefinition
        In column order.
    shared_features : tuple of FeatureDefinition
        What a run with risk tables adds after them.
    """

    name: str
    purpose: str
    direction: str
    unused: frozenset[str]
    features: tuple[FeatureDefinition, ...]
    shared_features: tuple[FeatureDefinition, ...]

    def definitions(self, *, shared: bool) -> tuple[FeatureDefinition, ...]:
        """Return every feature in column order, with those of risk tables or without."""
        return self.features + self.shared_features if shared else self.features


_ALL = (
    Recipe(
        name=RECIPE,
        purpose="payments that the bank's customers make",
        direction=OUTBOUND,
        unused=frozenset({"direction", "payer_id"}),
        features=FEATURES,
        shared_features=SHARED_FEATURES,
    ),
    Recipe(
        name=INBOUND_RECIPE,
        purpose="payments that the bank's customers receive",
        direction=INBOUND,
        unused=frozenset(
            {
                "merchant_id",
                "terminal_id",
                "device_id",
                "merchant_category",
                "latitude",
                "longitude",
            }
        ),
        features=INBOUND_FEATURES,
        shared_features=INBOUND_SHARED_FEATURES,
    ),
)
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises
    ------
    ConfigurationError
        If this release has none of that name.
    """
    found = RECIPES.get(name)
    if found is None:
        raise ConfigurationError(
            f"recipe {name!r}: this release knows {', '.join(map(repr, RECIPES))}; use the "
            "fraudfed release of the other banks, or one of these recipes"
        )
    return found


def contract_features(recipe: str = RECIPE, *, shared: bool = False) -> tuple[FeatureSpec, ...]:
    """Return the features as a data contract publishes them, in column order.

    Parameters
    ----------
    recipe : str
        Name of the recipe.
    shared : bool
        With the features that need risk tables.

    Raises
    ------
    ConfigurationError
        If this release has no recipe of that name.
    """
    return tuple(
        FeatureSpec(
            name=feature.name,
            type=feature.kind,
            categories=feature.categories,
            description=f"{feature.description} [{feature.unit}]",
        )
        for feature in find_recipe(recipe).definitions(shared=shared)
    )
