"""How often the gate is right, by the number of cases: exact, of the score interval.

A case falls into one of three kinds: only the shared model finds it, only the own one does, or both
or none. The chances sum the probabilities of all numbers of these. Days that move the threshold,
which the bootstrap sees, make a gate somewhat less decided than stated here.
"""

import math
from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.gate.decision import CONFIDENCE, DEFAULT_MARGIN, MIN_CASES
from fraudfed.gate.intervals import normal_quantile, paired_difference, score

#: Numbers of discordant cases further than so many standard deviations out are left away: less than
#: 1e-8 of the probability.
_DEVIATIONS = 6


@dataclass(frozen=True)
class Chances:
    """With which probability the gate says what.

    Attributes
    ----------
    adopt, keep, undecided : float
    """

    adopt: float
    keep: float
    undecided: float


def chances(
    *,
    n_cases: int,
    difference: float,
    discordant_share: float,
    margin: float = DEFAULT_MARGIN,
    confidence: float = CONFIDENCE,
) -> Chances:
    """Return the gate's chances where the truth is known.

    Parameters
    ----------
    n_cases : int
    difference : float
        True case recall of the shared model less that of the own one.
    discordant_share : float
        Share of cases that one of the two finds alone; at least ``abs(difference)``.

    Raises
    ------
    ValueError
        If the difference is larger than the discordant share.
    """
    if not abs(difference) <= discordant_share <= 1:
        raise ValueError(
            f"discordant_share is {discordant_share}, expected {abs(difference)} .. 1: a "
            "difference is made of discordant cases"
        )
    if n_cases < MIN_CASES:
        return Chances(0.0, 0.0, 1.0)
    z = normal_quantile(confidence)
    to_shared = (discordant_share + difference) / 2 / discordant_share if discordant_share else 0.0
    spread = _DEVIATIONS * math.sqrt(n_cases * discordant_share * (1 - discordant_share)) + 1
    mean = n_cases * discordant_share
    logs = np.array([math.lgamma(number + 1) for number in range(n_cases + 1)])
    adopt = keep = 0.0
    for discordant in range(
        max(0, math.floor(mean - spread)), min(n_cases, math.ceil(mean + spread)) + 1
    ):
        only_shared = np.arange(discordant + 1)
        only_own = discordant - only_shared
        probability = _binomial(np.array([discordant]), n_cases, discordant_share, logs)[0]
        probabilities = probability * _binomial(only_shared, discordant, to_shared, logs)
        above = score(only_shared, only_own, n_cases, -margin) >= z
        if discordant == 0:
            none = paired_difference(0, 0, n_cases, confidence=confidence)
            above = np.array([none.lower > -margin])
        adopts = above & (only_shared >= only_own)
        keeps = score(only_own, only_shared, n_cases, 0.0) >= z
        adopt += float(probabilities[adopts].sum())
        keep += float(probabilities[keeps].sum())
    return Chances(adopt, keep, max(0.0, 1.0 - adopt - keep))


def _binomial(
    successes: Int64Array, trials: int, share: float, log_factorials: Float64Array
) -> Float64Array:
    """Return binomial probabilities; shape of ``successes``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(successes == 0, 0.0, successes * np.log(share))
        misses = np.where(successes == trials, 0.0, (trials - successes) * np.log1p(-share))
    ways = log_factorials[trials] - log_factorials[successes] - log_factorials[trials - successes]
    found: Float64Array = np.exp(ways + hits + misses)
    return found
