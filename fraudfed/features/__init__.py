"""From raw transactions to feature columns, looking only at the past.

``schema`` says what a raw transaction is, and ``check`` checks a table against it. ``mapping`` and
``mapped`` turn other tables into raw transactions. ``recipe`` publishes what each feature means,
and ``formulas`` computes it. ``build`` finds what the formulas need for a whole table, by the
``windows`` of a sorted time axis, and returns a ``table``; ``online`` finds it for one payment at a
time in the ``history`` that it keeps. ``shared_risk`` adds what all banks counted together.

The names below are imported when they are first used: a program that asks for a mapping or a risk
table need not wait for pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraudfed.catalogue.recipe import RECIPE
    from fraudfed.catalogue.recipes import contract_features
    from fraudfed.features.build import build_features
    from fraudfed.features.check import check_transactions
    from fraudfed.features.online import OnlineFeatures
    from fraudfed.features.payment import Payment
    from fraudfed.features.table import FeatureTable

_MODULES = {
    "RECIPE": "fraudfed.catalogue.recipe",
    "FeatureTable": "fraudfed.features.table",
    "OnlineFeatures": "fraudfed.features.online",
    "Payment": "fraudfed.features.payment",
    "build_features": "fraudfed.features.build",
    "check_transactions": "fraudfed.features.check",
    "contract_features": "fraudfed.catalogue.recipes",
}

__all__ = [
    "RECIPE",
    "FeatureTable",
    "OnlineFeatures",
    "Payment",
    "build_features",
    "check_transactions",
    "contract_features",
]


def __getattr__(name: str) -> object:
    """Import a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found
