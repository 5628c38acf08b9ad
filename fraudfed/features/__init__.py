"""From raw transactions to feature columns, looking only at the past.

``schema`` says what a raw transaction is, ``windows`` counts and sums over time windows per key,
``recipe`` publishes what each feature means, ``build`` computes them.
"""

from fraudfed.features.build import FeatureTable, build_features
from fraudfed.features.recipe import RECIPE, contract_features
from fraudfed.features.schema import check_transactions

__all__ = [
    "RECIPE",
    "FeatureTable",
    "build_features",
    "check_transactions",
    "contract_features",
]
