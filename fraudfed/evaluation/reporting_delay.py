"""How long after the payment frauds are reported: the share that is known by an age, with ends.

A history ends at a day, so of late frauds only those that were reported quickly are in it: the
delays are truncated on the right, and their plain shares say that frauds are reported sooner than
they are. The estimator here is the one for truncated delays, by hazards in reverse time:

    P(delay <= d | delay <= w) = product over delays u in (d, w] of 1 - n(u) / N(u)

with n(u) the frauds that were reported u after the payment, and N(u) those that were reported by
then and whose payment lies at least u before the end of the history. S. W. Lagakos, L. M. Barraj,
V. De Gruttola, "Nonparametric analysis of truncated survival data, with application to AIDS",
Biometrika 75 (3), 1988, section 3; J. D. Kalbfleisch, J. F. Lawless, "Inference based on
retrospective ascertainment", Journal of the American Statistical Association 84 (406), 1989. It
says nothing of frauds that are reported more than w after the payment: nobody has seen them.

In reverse time it is a product-limit estimator, so Greenwood's variance holds for it: that of its
logarithm is the sum of ``n(u) / (N(u) (N(u) - n(u)))``. The ends are those on the scale of
``log(-log)``, which stay between 0 and 1 (J. D. Kalbfleisch, R. L. Prentice, "The Statistical
Analysis of Failure Time Data", 2nd edition, Wiley 2002, section 1.4).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array

#: Frauds that are as old as the longest delay looked at: with fewer, one of them decides all.
LEAST_FRAUDS: Final = 20
#: Of the normal distribution, for 95 %.
_Z: Final = 1.959963984540054


@dataclass(frozen=True, eq=False)
class ReportingDelay:
    """The delays of known frauds.

    Attributes
    ----------
    window : int
        The longest delay that is looked at, seconds. Shares are of the frauds that are reported
        within it.
    steps : ndarray of shape (n_steps,), dtype=int64
        The delays that occur, ascending, seconds.
    shares, lower, upper : ndarray of shape (n_steps,), dtype=float64
        Share of frauds that is reported by each, and its ends of 95 %; the last is 1.
    """

    window: int
    steps: Int64Array
    shares: Float64Array
    lower: Float64Array
    upper: Float64Array

    def at(self, ages: Int64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the share that is reported by some ages, and its lower and upper ends.

        Parameters
        ----------
        ages : ndarray of shape (n,), dtype=int64
            Seconds since the payment.
        """
        places = np.searchsorted(self.steps, ages, side="right")
        share, lower, upper = (
            np.concatenate([[0.0], each])[places] for each in (self.shares, self.lower, self.upper)
        )
        return share, lower, upper


def reporting_delay(
    event_time: Int64Array, report_time: Int64Array, *, end: int
) -> ReportingDelay | None:
    """Estimate the delays; None with fewer than ``LEAST_FRAUDS`` frauds.

    Parameters
    ----------
    event_time, report_time : ndarray of shape (n_frauds,), dtype=int64
        Of the frauds: payment and report, UTC epoch seconds.
    end : int
        Time up to which reports are known, UTC epoch seconds.
    """
    delays, ages = report_time - event_time, end - event_time
    if delays.size < LEAST_FRAUDS:
        return None
    window = int(np.sort(ages)[-LEAST_FRAUDS])
    seen = delays <= window
    steps, reported = np.unique(delays[seen], return_counts=True)
    by_then = np.cumsum(reported)
    # What is younger than the delay was reported before it too, but could not have it.
    younger = np.searchsorted(np.sort(ages[seen]), steps, side="left")
    at_risk = by_then - younger
    left = at_risk - reported
    with np.errstate(divide="ignore"):
        terms = reported / (at_risk * left)
    # The share at a step is the product of all steps after it.
    shares = _of_later(1.0 - reported / at_risk, np.multiply, 1.0)[-steps.size :]
    lower, upper = _ends(shares, _of_later(terms, np.add, 0.0)[-steps.size :])
    return ReportingDelay(window, steps, shares[: steps.size], lower, upper)


def _of_later(values: Float64Array, combine: np.ufunc, nothing: float) -> Float64Array:
    """Return of each place what all later values give."""
    later = combine.accumulate(values[:0:-1])[::-1]
    return np.append(later, nothing)


def _ends(shares: Float64Array, variance: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return both ends; those of a share of 0 or 1 are itself and, of 0, all there is."""
    lower, upper = shares.copy(), np.where(shares > 0, shares, 1.0)
    open_ = (shares > 0) & (shares < 1)
    logarithm = -np.log(shares[open_])
    reach = np.exp(_Z * np.sqrt(variance[open_]) / logarithm)
    lower[open_] = np.exp(-logarithm * reach)
    upper[open_] = np.exp(-logarithm / reach)
    return lower, upper
