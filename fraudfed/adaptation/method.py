"""Ways to make probabilities of scores; see ``calibration``. Imports no numerics."""

from enum import StrEnum


class Method(StrEnum):
    """How probabilities are made of scores."""

    ISOTONIC = "isotonic"
    INTERCEPT_AND_SLOPE = "intercept_and_slope"
    POOLED = "pooled"
