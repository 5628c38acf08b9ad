"""The builder of each recipe, by the name that a data contract gives."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import pandas as pd

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import find_recipe
from fraudfed.features.build import build_features
from fraudfed.features.inbound.build import build_inbound_features
from fraudfed.features.own_columns import with_own_columns
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.table import FeatureTable
from fraudfed.wire.messages import FeatureSpec


class _Builder(Protocol):
    def __call__(
        self,
        transactions: pd.DataFrame,
        *,
        risk_delay_days: int = 0,
        shared: SharedRisk | None = None,
    ) -> FeatureTable: ...


_BUILDERS: Mapping[str, _Builder] = {
    RECIPE: build_features,
    INBOUND_RECIPE: build_inbound_features,
}


def build_recipe(
    recipe: str,
    transactions: pd.DataFrame,
    *,
    risk_delay_days: int = 0,
    shared: SharedRisk | None = None,
    own_columns: Sequence[FeatureSpec] = (),
) -> FeatureTable:
    """Compute every feature of a recipe for the payments of a table that it judges.

    Parameters
    ----------
    recipe : str
        Name of the recipe.
    transactions, risk_delay_days, shared, own_columns
        As for ``build_features``. Rows of the other direction may be history.

    Returns
    -------
    FeatureTable
        Its ``positions`` say which rows of the table it holds.

    Raises
    ------
    ConfigurationError
        If this release has no recipe of that name.
    DataError, ValueError
        As ``build_features``.
    """
    build = _BUILDERS[find_recipe(recipe).name]
    built = build(transactions, risk_delay_days=risk_delay_days, shared=shared)
    return with_own_columns(built, own_columns, transactions)
