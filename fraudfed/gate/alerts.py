"""Alerts that a bank's investigators have time for, and which cases of fraud they find.

A scoring alerts on every payment at or above a threshold: the lowest one that uses no more than the
budget of the whole window. So a case is found if and only if the payments that score at least as
high as its most suspicious one fit into the budget. That needs no search for a threshold, and it
counts exactly under any weights of cases and days.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array, Float64Array, Int64Array
from fraudfed.errors import ConfigurationError
from fraudfed.evaluation.plan import PAYMENTS_PER_ALERT
from fraudfed.gate.cases import JudgedCases


def alert_budget(cases: JudgedCases, alerts_per_day: float | None) -> int:
    """Return how many payments of the window may be alerted on, at least 1.

    Parameters
    ----------
    cases : JudgedCases
    alerts_per_day : float or None
        None: one payment in 200.

    Raises
    ------
    ConfigurationError
        If it is given where payments have no times.
    """
    if alerts_per_day is None:
        return max(1, cases.n_rows // PAYMENTS_PER_ALERT)
    if not cases.has_times:
        raise ConfigurationError(
            f"alerts per day: got {alerts_per_day:g} for payments without times, which have no "
            f"days; leave it out, one payment in {PAYMENTS_PER_ALERT} is alerted on then"
        )
    return max(1, int(alerts_per_day * cases.n_days))


@dataclass(frozen=True, eq=False)
class RankedFrauds:
    """How many payments score at least as high as each fraud.

    Frauds stand by falling score of the one scoring that is ranked.

    Attributes
    ----------
    case_of : ndarray of shape (n_frauds,), dtype=int64
    last : ndarray of shape (n_frauds,), dtype=int64
        Position of the last fraud with the same score.
    clean_above : ndarray of shape (n_days, n_frauds), dtype=float64
        Clean payments of each day that score at least as high. Whole numbers; float64 because the
        products with weights are then exact, and fast.
    best : ndarray of shape (n_cases,), dtype=int64
        Position of each case's most suspicious payment.
    """

    case_of: Int64Array
    last: Int64Array
    clean_above: Float64Array
    best: Int64Array

    @classmethod
    def of(cls, scores: Float32Array, cases: JudgedCases) -> "RankedFrauds":
        """Rank the frauds of a window.

        Parameters
        ----------
        scores : ndarray of shape (n_rows,), dtype=float32
            Of all rows of the window, higher is more suspicious.
        cases : JudgedCases
        """
        fraud_scores, clean_scores = scores[cases.frauds], scores[cases.clean]
        order = np.argsort(-fraud_scores, kind="stable")
        falling = fraud_scores[order]
        case_of = cases.case_of[order]
        n_frauds = falling.size
        rising = falling[::-1]
        passed = np.searchsorted(rising, clean_scores, side="right")
        counts = np.bincount(
            cases.day_of * (n_frauds + 1) + passed, minlength=cases.n_days * (n_frauds + 1)
        ).reshape(cases.n_days, n_frauds + 1)
        # A clean payment that passes k frauds stands above those at the k lowest scores: read from
        # the right, that is the order of falling scores.
        clean_above = np.cumsum(counts[:, :0:-1], axis=1).astype(np.float64)
        best = np.full(cases.n_cases, n_frauds, np.int64)
        np.minimum.at(best, case_of, np.arange(n_frauds))
        last = np.searchsorted(-falling, -falling, side="right").astype(np.int64) - 1
        return cls(case_of, last, clean_above, best)

    def counts(
        self, case_weights: Int64Array, day_weights: Int64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Count frauds and clean payments that score at least as high as each fraud.

        Parameters
        ----------
        case_weights : ndarray of shape (n_resamples, n_cases), dtype=int64
            How often each case is in a resample.
        day_weights : ndarray of shape (n_resamples, n_days), dtype=int64

        Returns
        -------
        tuple of two ndarrays of shape (n_resamples, n_frauds), dtype=float64
            Whole numbers.
        """
        of_frauds = case_weights[:, self.case_of].astype(np.float64)
        frauds = np.cumsum(of_frauds, axis=1)[:, self.last]
        return frauds, day_weights.astype(np.float64) @ self.clean_above

    def found(self, frauds: Float64Array, clean: Float64Array, n_alerts: int) -> BoolArray:
        """Tell which cases are found; from ``counts``, shape (n_resamples, n_cases)."""
        found: BoolArray = frauds[:, self.best] + clean[:, self.best] <= n_alerts
        return found


def threshold(scores: Float32Array, n_alerts: int) -> float:
    """Return the lowest score from which on no more than ``n_alerts`` payments are alerted on.

    Infinite if more payments than that share the highest score.
    """
    values, counts = np.unique(scores, return_counts=True)
    alerts = np.cumsum(counts[::-1])
    fit = int(np.searchsorted(alerts, n_alerts, side="right"))
    return float("inf") if fit == 0 else float(values[::-1][fit - 1])
