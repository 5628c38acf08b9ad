"""Metrics from noised counts of scores, with what the noise may do to them.

Law: without noise each estimate and its ends are those of ``RankedCounts`` over the same ranges.

The noise of a metric M is taken from its slopes: the sum over all counts of
``((M(count + sigma) - M(count - sigma)) / 2)^2`` is the variance that independent noise of sigma in
each count makes, to first order (the delta method: A. W. van der Vaart, "Asymptotic Statistics",
Cambridge 1998, theorem 3.1); a step of one sigma smooths over the bend at 0. Nothing is drawn, so
every bank has the same ends. They are widened by 1.96 such standard deviations. First order is too
small where frauds are few: of 60 draws of an AUPRC 49 lay within this part of the ends alone.
Where fewer frauds or clean rows are left than ``LEAST_DEVIATIONS`` of the noise of their total,
nothing is said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import fsum, inf, sqrt
from typing import Final

import numpy as np

from fraudfed.boosting.engine.elementary import exp, log
from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.evaluation.plan import JudgingPlan
from fraudfed.evaluation.private.cells import N_RANGES, RANGE_ENDS
from fraudfed.evaluation.private.monotone import monotone_counts
from fraudfed.evaluation.private.report import Noised, NoisedAtBudget, NoisedReport
from fraudfed.evaluation.score_histogram import Bounded, RankedCounts, sigmoid
from fraudfed.evaluation.thresholds import at_budget, precision_between

#: The fractional bits of a noised count: each bank's part of the noise must be wide in units.
FRACTION_BITS: Final = 16
UNIT: Final = 1 << FRACTION_BITS
#: A total below so many standard deviations of its noise says nothing.
LEAST_DEVIATIONS: Final = 5.0
#: Of a normal variable 19 times out of 20; the estimates are one to first order only.
_DEVIATIONS: Final = 1.96

_Metric = Callable[["_Rows"], Bounded | None]


@dataclass(frozen=True, eq=False)
class _Rows(RankedCounts):
    """Rows by range, shape (N_RANGES,) each."""

    @classmethod
    def of(cls, noised: Int64Array) -> "_Rows":
        """Make rows of noised counts, shape (2, N_RANGES), in units."""
        negatives, positives = (monotone_counts(each, unit=UNIT) for each in noised)
        return cls(negatives, positives)

    @cached_property
    def n_rows(self) -> int:
        """Rows of both labels."""
        return self.n_negatives + self.n_positives

    def brier(self) -> Bounded | None:
        """Return the mean squared error of the probabilities, of the outer ranges to their ends."""
        return self._mean(_squares())

    def log_loss(self) -> Bounded | None:
        """Return the mean of -log of the probability of what came, scores cut at the outer ends."""
        return self._mean(_logarithms())

    def _mean(self, losses: tuple[Float64Array, Float64Array]) -> Bounded | None:
        """Return the mean of losses at the lower end, the middle and the upper end of ranges."""
        if self.n_rows == 0:
            return None
        clean, fraud = losses
        at = []
        # A clean row loses more at the upper end of its range, a fraud at the lower.
        for of_clean, of_fraud in ((0, 2), (1, 1), (2, 0)):
            parts = (self.negatives * clean[of_clean]).tolist()
            parts += (self.positives * fraud[of_fraud]).tolist()
            at.append(fsum(parts) / self.n_rows)
        low, middle, high = at
        return Bounded(min(max(middle, low), high), low, high)


def _positions() -> Float64Array:
    low, high = RANGE_ENDS[:-1], RANGE_ENDS[1:]
    return np.stack([low, (low + high) / 2, high])


def _squares() -> tuple[Float64Array, Float64Array]:
    found = sigmoid(_positions())
    return found**2, (1 - found) ** 2


def _logarithms() -> tuple[Float64Array, Float64Array]:
    at = _positions()
    flat = at.ravel()
    return log(1 + exp(flat)).reshape(at.shape), log(1 + exp(-flat)).reshape(at.shape)


def report(
    noised: Int64Array, *, variance: int, plan: JudgingPlan, row_cap: int | None
) -> NoisedReport:
    """Read everything off the opened counts.

    Parameters
    ----------
    noised : ndarray of shape (2, N_RANGES), dtype=int64
        Clean rows and frauds, in units of 1 / 2^FRACTION_BITS of a row.
    variance : int
        Of the noise of each, units^2, as it was added.
    plan : JudgingPlan
        Its budget is kept; groups are not.
    row_cap : int or None
    """
    sigma = sqrt(variance)
    rows = _Rows.of(noised)
    n_alerts = plan.budget(rows.n_rows)
    total_noise = sigma / UNIT * sqrt(N_RANGES)
    is_told = min(rows.n_negatives, rows.n_positives) >= max(LEAST_DEVIATIONS * total_noise, 1.0)

    def told(metric: _Metric, *, most: float = 1.0) -> Noised | None:
        return _noised(metric, noised, sigma, most=most) if is_told else None

    def recall(found: _Rows) -> Bounded | None:
        between = at_budget(found, n_alerts)
        strict, loose = (int(found.positives[e:].sum()) for e in (between.strict, between.loose))
        return between.of(strict, loose, whole=found.n_positives)

    def precision(found: _Rows) -> Bounded | None:
        return precision_between(found, at_budget(found, n_alerts), n_alerts)

    return NoisedReport(
        n_counts=noised.size,
        count_noise=sigma / UNIT,
        row_cap=row_cap,
        rows=rows.n_rows,
        frauds=rows.n_positives,
        rows_noise=total_noise,
        auprc=told(_Rows.average_precision),
        auc=told(_Rows.auc),
        brier=told(_Rows.brier),
        log_loss=told(_Rows.log_loss, most=inf),
        at_budget=NoisedAtBudget(n_alerts, recall=told(recall), precision=told(precision)),
    )


def _noised(metric: _Metric, noised: Int64Array, sigma: float, *, most: float) -> Noised | None:
    """Return a metric with its ends, ``most`` at most."""
    at = metric(_Rows.of(noised))
    if at is None:
        return None
    step = round(sigma)
    squares = []
    for place in np.ndindex(noised.shape):
        up, down = noised.copy(), noised.copy()
        up[place] += step
        down[place] -= step
        above, below = (metric(_Rows.of(each)) for each in (up, down))
        if above is None or below is None:
            return None
        squares.append(((above.estimate - below.estimate) / 2) ** 2)
    noise = sqrt(fsum(squares))
    return Noised(
        estimate=at.estimate,
        low=max(at.low - _DEVIATIONS * noise, 0.0),
        high=min(at.high + _DEVIATIONS * noise, most),
        noise=noise,
    )
