"""Parameters of each way of training, fixed on synthetic worlds that no measurement uses.

How many trees pay depends on how loud the noise is: what every row can say is divided by the number
of trees. ``loudness_of`` is the public number that decides it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from fraudfed.privacy.terms import TrainingWay

#: The bounds of the curve.
EPSILONS: Final = (10.0, 3.0, 1.0, 0.3)
#: What a bank tries alone; the better one on its own select window is its model.
OWN_CANDIDATES: Final[tuple[Mapping[str, Any], ...]] = (
    MappingProxyType(
        {"max_depth": 5, "min_child_weight": 5, "colsample_bytree": 0.5, "lambda": 1.0}
    ),
    MappingProxyType(
        {"max_depth": 4, "min_child_weight": 1, "colsample_bytree": 0.5, "lambda": 10.0}
    ),
)
#: What they have in common, with the exact model over all rows.
EXACT_COMMON: Final[Mapping[str, Any]] = MappingProxyType(
    {"eta": 0.1, "max_delta_step": 4, "subsample": 0.8, "max_bin": 64}
)
EXACT_TREES: Final = 150
PATIENCE: Final = 20

#: Least loudness, rounds and step: loud signals pay for many small steps. For the way cyclic a
#: round is a tree for every feature.
_ROUNDS: Final = ((20.0, 8, 0.3), (4.0, 4, 0.4), (0.0, 2, 0.5))


def loudness_of(epsilon: float | None, declared_rows: int) -> float:
    """Return how far signals stand out: epsilon times millions of rows; infinite without noise."""
    return float("inf") if epsilon is None else epsilon * declared_rows / 1e6


def parameters_of(
    way: str, *, epsilon: float | None, declared_rows: int, n_features: int
) -> dict[str, Any]:
    """Return the parameters of a private training.

    Parameters
    ----------
    way : str
        A value of ``TrainingWay``.
    epsilon : float or None
    declared_rows, n_features : int
    """
    loudness = loudness_of(epsilon, declared_rows)
    rounds, eta = next((rounds, eta) for least, rounds, eta in _ROUNDS if loudness >= least)
    common = {"lambda": 1.0, "max_delta_step": 4, "max_bin": 32, "eta": eta}
    if way == TrainingWay.CYCLIC:
        return common | {"num_boost_round": rounds * n_features, "max_depth": 4}
    if way == TrainingWay.HISTOGRAMS:
        return common | {"num_boost_round": 8 * rounds, "max_depth": 3}
    return common | {"num_boost_round": 50 * rounds, "max_depth": 4}
