"""Thresholds that pooled counts fix: for each aim, the two edges of cells that it lies between.

At the strict edge the aim is kept for certain, at the loose one it is kept no more, or only just.
A score that keeps it exactly lies between, so that whatever grows with looser thresholds lies
between its values at the two.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.score_histogram import Bounded, RankedCounts, ScoreHistogram


@dataclass(frozen=True)
class Between:
    """Two edges: a row is alerted on if its cell is at or above one.

    Attributes
    ----------
    strict, loose : int
        Cells, ``loose <= strict``; N_CELLS alerts on nothing.
    share : float
        How far into the cells between the edges the threshold is taken to lie, from 0 (at the
        strict edge) to 1.
    """

    strict: int
    loose: int
    share: float

    def of(self, at_strict: int, at_loose: int, *, whole: int) -> Bounded | None:
        """Return the part of a whole that is reached, by counts that grow; None of nothing."""
        if whole == 0:
            return None
        low, high = at_strict / whole, at_loose / whole
        middle = at_strict + (at_loose - at_strict) * self.share
        return Bounded(min(max(middle / whole, low), high), low, high)


def at_budget(rows: RankedCounts, n_alerts: int) -> Between:
    """Return where at most ``n_alerts`` rows are alerted on."""
    alerts = _from_above(rows.negatives + rows.positives)
    return _between(alerts, float(n_alerts))


def at_false_positive_rate(rows: ScoreHistogram, rate: float) -> Between:
    """Return where at most a share of the clean rows is alerted on."""
    n_clean = rows.n_negatives
    false = _from_above(rows.negatives)
    # As ``recall_at_fpr`` compares, in the same floats.
    kept = int(np.searchsorted(false / max(n_clean, 1), rate, side="right"))
    return _between(false, rate * n_clean, kept=kept)


def precision_between(rows: RankedCounts, between: Between, n_alerts: int) -> Bounded | None:
    """Return the share of frauds among at most ``n_alerts`` alerts; None if there can be none.

    Its ends: the alerts between the edges are all clean, or all fraud.
    """
    frauds, clean = _above(rows.positives, between.strict), _above(rows.negatives, between.strict)
    more_frauds = _above(rows.positives, between.loose) - frauds
    more_clean = _above(rows.negatives, between.loose) - clean
    left = n_alerts - frauds - clean
    low_clean, high_frauds = clean + min(more_clean, left), frauds + min(more_frauds, left)
    if high_frauds + low_clean == 0:
        return None
    low = frauds / (frauds + low_clean) if frauds + low_clean else 0.0
    high = high_frauds / (high_frauds + clean) if high_frauds + clean else 1.0
    found = frauds + more_frauds * between.share
    alerts = found + clean + more_clean * between.share
    return Bounded(min(max(found / alerts if alerts else low, low), high), low, high)


@dataclass(frozen=True)
class AtRatio:
    """Where at most ``ratio`` clean accounts are alerted on for each fraudulent one found.

    Attributes
    ----------
    between : Between
        In the cells of the accounts' histogram.
    found : Bounded or None
        Share of fraudulent accounts; None without any.
    """

    between: Between
    found: Bounded | None


def at_ratio(negatives: Int64Array, positives: Int64Array, ratio: int) -> AtRatio:
    """Return the loosest threshold within a ratio of false to true alerts.

    Parameters
    ----------
    negatives, positives : ndarray of shape (n_cells,), dtype=int64
        Accounts by their highest cell, ascending.
    ratio : int

    Notes
    -----
    The ratio does not grow steadily: the loosest edge that keeps it is taken, also behind one that
    does not. Within a cell it can be kept if it is when the cell's frauds come first.
    """
    n_cells = positives.size
    false, true = _from_above(negatives), _from_above(positives)
    kept = np.flatnonzero(false <= ratio * true)
    could = np.flatnonzero(false - negatives[::-1] <= ratio * true)
    low = int(kept[-1]) + 1 if kept.size else 0
    high = max(low, int(could[-1]) + 1 if could.size else 0)
    between = Between(strict=n_cells - low, loose=n_cells - high, share=0.5)
    n_frauds = int(true[-1])
    at_low, at_high = (int(true[end - 1]) if end else 0 for end in (low, high))
    return AtRatio(between, between.of(at_low, at_high, whole=n_frauds))


def _from_above(counts: Int64Array) -> Int64Array:
    """Return how many lie at or above each cell, from the highest cell down."""
    running: Int64Array = np.cumsum(counts[::-1])
    return running


def _above(counts: Int64Array, edge: int) -> int:
    return int(counts[edge:].sum())


def _between(counts: Int64Array, most: float, *, kept: int | None = None) -> Between:
    """Return the edges around ``most``, for counts from the highest cell down."""
    kept = int(np.searchsorted(counts, most, side="right")) if kept is None else kept
    n_cells = counts.size
    if kept == n_cells:
        return Between(strict=0, loose=0, share=0.0)
    before = int(counts[kept - 1]) if kept else 0
    share = (most - before) / (int(counts[kept]) - before)
    return Between(n_cells - kept, n_cells - kept - 1, min(max(share, 0.0), 1.0))
