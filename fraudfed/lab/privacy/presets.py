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

#: By way, from loud to silent: least loudness, trees (of the way cyclic: rounds, each a tree for
#: every feature), step and depth. Loud signals pay for many small steps.
_STEPS: Final[Mapping[str, tuple[tuple[float, int, float, int], ...]]] = MappingProxyType(
    {
        TrainingWay.CYCLIC: ((20.0, 5, 0.4, 5), (4.0, 4, 0.4, 5), (0.0, 2, 0.5, 5)),
        TrainingWay.HISTOGRAMS: ((20.0, 40, 0.3, 3), (4.0, 20, 0.4, 3), (0.0, 10, 0.5, 2)),
        TrainingWay.RANDOM_SPLITS: ((20.0, 250, 0.4, 6), (4.0, 150, 0.5, 6), (0.0, 80, 0.5, 5)),
    }
)
#: Features of a tree of the way histograms.
FEATURES_PER_TREE: Final = 8


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
    trees, eta, depth = next(rest for least, *rest in _STEPS[way] if loudness >= least)
    return {
        "num_boost_round": trees * n_features if way == TrainingWay.CYCLIC else trees,
        "eta": eta,
        "max_depth": int(depth),
        "max_bin": 32,
        "max_delta_step": 4,
        "lambda": 1.0,
    }
