"""Whether a bank is better off with the shared model: adopt, keep your own, or undecided.

The bounds of the difference are the outer ones of two intervals. The bootstrap knows that a day's
clean payments move the threshold; where few cases tell the models apart it believes that there are
no others, and adopts a worse model far too often (docs/gate.md has the measurement). The score
interval knows nothing of thresholds, and what few cases can hide.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fraudfed.dtypes import Float32Array, Float64Array
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.gate.alerts import alert_budget
from fraudfed.gate.bootstrap import N_RESAMPLES, Resampled, bootstrap, percentile_interval
from fraudfed.gate.cases import JudgedCases
from fraudfed.gate.intervals import Interval, normal_quantile, paired_difference

#: By how much case recall the shared model may be worse, at most, if it is adopted.
DEFAULT_MARGIN = 0.02
CONFIDENCE = 0.95
#: Fewer cases decide nothing.
MIN_CASES = 50
#: With which probability ``cases_needed`` would tell a difference as large as the estimate.
_POWER = 0.8


class Verdict(StrEnum):
    """What a bank should do."""

    ADOPT = "adopt"
    KEEP = "keep"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A comparison of two scorings of one window, and what follows from it.

    Attributes
    ----------
    verdict : Verdict
    difference : Interval
        Case recall of the shared model less that of the bank's own, at the alert budget.
    value_difference : Interval or None
        The same with each case weighted by its money; decides nothing.
    margin, confidence : float
    n_alerts : int
        Budget of the whole window.
    n_cases : int
    only_shared, only_own : int
        Cases that one of the two finds alone.
    cases_to_tell_apart, cases_to_adopt : int or None
        How many cases would tell a difference of this size from 0, and from ``-margin``, with
        probability 0.8; None where it is none.
    """

    verdict: Verdict
    difference: Interval
    value_difference: Interval | None
    margin: float
    confidence: float
    n_alerts: int
    n_cases: int
    only_shared: int
    only_own: int
    cases_to_tell_apart: int | None
    cases_to_adopt: int | None

    @property
    def discordant_share(self) -> float:
        """Share of cases that one of the two finds alone."""
        return (self.only_shared + self.only_own) / self.n_cases


def verdict_of(difference: Interval, *, n_cases: int, margin: float) -> Verdict:
    """Apply the rule to a difference of case recall, shared less own.

    *Adopt*: lower bound above ``-margin`` and estimate at least 0. *Keep*: upper bound below 0.
    Fewer than 50 cases are always undecided.
    """
    if n_cases < MIN_CASES:
        return Verdict.UNDECIDED
    if difference.lower > -margin and difference.estimate >= 0:
        return Verdict.ADOPT
    return Verdict.KEEP if difference.upper < 0 else Verdict.UNDECIDED


def cases_needed(
    discordant_share: float, distance: float, *, confidence: float = CONFIDENCE
) -> int | None:
    """Return how many cases tell a difference apart with probability 0.8, or None if none do.

    ``(z_confidence + z_power)^2 q / d^2``: of n cases, the difference has a variance of at most
    ``q / n``, and a test of one side needs ``d >= (z_confidence + z_power) sqrt(q / n)``. At 95 %
    and 80 % the square is 6.18. R. J. Connor, "Sample size for testing differences in proportions
    for the paired-sample design", Biometrics 43(1), 1987, pages 207-211.

    Parameters
    ----------
    discordant_share : float
        q: share of cases that one of the two finds alone.
    distance : float
        d: of the difference from what it is to be told from.
    """
    if distance == 0:
        return None
    z = normal_quantile(confidence) + normal_quantile(_POWER)
    return max(MIN_CASES, math.ceil(z * z * discordant_share / distance**2))


def gate_of(
    scores_shared: Float32Array,
    scores_own: Float32Array,
    outcomes: Outcomes,
    *,
    generator: np.random.Generator,
    alerts_per_day: float | None = None,
    margin: float = DEFAULT_MARGIN,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
) -> Decision:
    """Compare two scorings of a judge window.

    Parameters
    ----------
    scores_shared, scores_own : ndarray of shape (n_rows,), dtype=float32
        Higher is more suspicious; only the order counts.
    outcomes : Outcomes
        Labels as of the window's end.
    generator : numpy.random.Generator
    alerts_per_day : float or None
        None: one payment in 200.
    margin : float
    confidence : float
        Of each bound.
    n_resamples : int

    Raises
    ------
    DataError
        If the window does not hold both classes.
    ConfigurationError
        As ``alert_budget``.
    """
    cases = JudgedCases.of(outcomes)
    n_alerts = alert_budget(cases, alerts_per_day)
    scorings = {"shared": scores_shared, "own": scores_own}
    found = bootstrap(scorings, cases, n_alerts, generator=generator, n_resamples=n_resamples)
    return decide(
        found["shared"],
        found["own"],
        n_alerts=n_alerts,
        margin=margin,
        confidence=confidence,
    )


def decide(
    shared: Resampled, own: Resampled, *, n_alerts: int, margin: float, confidence: float
) -> Decision:
    """Decide by what two scorings reach on the same resamples; parameters as ``gate_of``."""
    n_cases = shared.found.size
    only_shared = int(np.count_nonzero(shared.found & ~own.found))
    only_own = int(np.count_nonzero(own.found & ~shared.found))
    score = paired_difference(only_shared, only_own, n_cases, confidence=confidence)
    difference = percentile_interval(
        score.estimate, shared.again.case_recall - own.again.case_recall, confidence=confidence
    ).widened(score)
    share = (only_shared + only_own) / n_cases
    value_difference = None
    if shared.again.value_recall is not None and own.again.value_recall is not None:
        value_difference = percentile_interval(
            _only(shared.here.value_recall) - _only(own.here.value_recall),
            shared.again.value_recall - own.again.value_recall,
            confidence=confidence,
        )
    return Decision(
        verdict=verdict_of(difference, n_cases=n_cases, margin=margin),
        difference=difference,
        value_difference=value_difference,
        margin=margin,
        confidence=confidence,
        n_alerts=n_alerts,
        n_cases=n_cases,
        only_shared=only_shared,
        only_own=only_own,
        cases_to_tell_apart=cases_needed(share, difference.estimate, confidence=confidence),
        cases_to_adopt=cases_needed(share, difference.estimate + margin, confidence=confidence)
        if difference.estimate >= 0
        else None,
    )


def _only(values: Float64Array | None) -> float:
    return 0.0 if values is None else float(values[0])
