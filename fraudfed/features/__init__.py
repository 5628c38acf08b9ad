"""From raw transactions to feature columns, looking only at the past.

``schema`` says what a raw transaction is, and ``check`` checks a table against it. ``mapping`` and
``mapped`` turn other tables into raw transactions. ``recipe`` publishes what each feature means,
and ``formulas`` computes it. ``build`` finds what the formulas need for a whole table, by the
``windows`` of a sorted time axis, and returns a ``table``; ``online`` finds it for one payment at a
time in the ``history`` that it keeps. ``shared_risk`` adds what all banks counted together.
"""

from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.features.build import build_features
from fraudfed.features.check import check_transactions
from fraudfed.features.online import OnlineFeatures
from fraudfed.features.payment import Payment
from fraudfed.features.table import FeatureTable

__all__ = [
    "RECIPE",
    "FeatureTable",
    "OnlineFeatures",
    "Payment",
    "build_features",
    "check_transactions",
    "contract_features",
]
