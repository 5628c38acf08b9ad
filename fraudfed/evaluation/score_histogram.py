"""Metrics from counts of scores in public cells, each with what the rows behind it can give.

Law: whatever the scores are within their cells, ties among them included, the metric of the rows
(scikit-learn's, tied scores as one threshold) lies within ``low .. high``, apart from rounding of
the last bits; both ends belong to some order of the rows. The estimate takes the rows of a cell as
evenly mixed. Every value is one fixed formula over integers: the same float at every bank.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import fsum

import numpy as np

from fraudfed.boosting.engine.elementary import exp
from fraudfed.boosting.score_cells import CELL_EDGES, N_CELLS, cells_of, count_cells
from fraudfed.dtypes import Float32Array, Float64Array, Int64Array

#: Bins of the reliability diagram: whole units of the logit within 10 of zero, and the rest.
RELIABILITY_EDGES: tuple[float, ...] = tuple(float(edge) for edge in range(-10, 11))


@dataclass(frozen=True)
class Bounded:
    """A metric that counts in cells fix up to the order of rows within a cell.

    Attributes
    ----------
    estimate, low, high : float
        ``low <= estimate <= high``; the value of the rows themselves lies within the ends.
    """

    estimate: float
    low: float
    high: float

    @property
    def resolution(self) -> float:
        """The most by which the estimate can be wrong."""
        return max(self.high - self.estimate, self.estimate - self.low)

    def holds(self, value: float, *, rounding: float = 1e-12) -> bool:
        """Tell whether the rows can have this value, up to rounding of floats."""
        return self.low - rounding <= value <= self.high + rounding


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of similar scores: what was predicted, and what came.

    Attributes
    ----------
    low, high : float or None
        Ends of the bin on the logit; None where it has none.
    rows, frauds : int
    predicted : Bounded
        Mean predicted probability.
    """

    low: float | None
    high: float | None
    rows: int
    frauds: int
    predicted: Bounded

    @property
    def observed(self) -> float:
        """Share of frauds."""
        return self.frauds / self.rows


@dataclass(frozen=True, eq=False)
class RankedCounts:
    """Counts of clean and fraudulent rows by cell of the score: what rankings are made of.

    Attributes
    ----------
    negatives, positives : ndarray of shape (n_cells,), dtype=int64
        Ascending cells.
    """

    negatives: Int64Array
    positives: Int64Array

    @property
    def n_negatives(self) -> int:
        """Number of clean rows."""
        return int(self.negatives.sum())

    @property
    def n_positives(self) -> int:
        """Number of frauds."""
        return int(self.positives.sum())

    def average_precision(self) -> Bounded | None:
        """Return the average precision (scikit-learn's ``average_precision_score``).

        With ``f`` frauds among the ``s`` rows above a cell of ``p`` frauds and ``n`` clean rows,
        the cell adds at most ``p (f + p) / (s + p)`` (its frauds tied above its clean rows; apart,
        each but the last would find less precision) and at least the sum over ``i = 1 .. p`` of
        ``(f + i) / (s + n + i)`` (clean rows above, frauds apart), over all frauds.

        Returns
        -------
        Bounded or None
            None without frauds.
        """
        n_frauds = self.n_positives
        if n_frauds == 0:
            return None
        estimates, lows, highs = [], [], []
        for found, seen, positive, negative in self._cells_with_frauds():
            nth = np.arange(1, positive + 1)
            reached = found + nth
            lows.append(fsum(reached / (seen + negative + nth)))
            # The i-th of p frauds stands, on average, below i / (p + 1) of the clean rows.
            between = negative * (nth / (positive + 1))
            estimates.append(fsum(reached / (seen + nth + between)))
            highs.append(positive * ((found + positive) / (seen + positive)))
        low, high = fsum(lows) / n_frauds, fsum(highs) / n_frauds
        return _bounded(fsum(estimates) / n_frauds, low, high)

    def auc(self) -> Bounded | None:
        """Return the area under the ROC curve, ties counted half (``roc_auc_score``).

        Returns
        -------
        Bounded or None
            None unless there are rows of both classes.
        """
        pairs = self.n_negatives * self.n_positives
        if pairs == 0:
            return None
        # Pairs in the right order, and pairs within a cell, in Python integers: exact at any size.
        ordered, within, below = 0, 0, 0
        for negative, positive in self._filled():
            ordered += positive * below
            within += positive * negative
            below += negative
        return Bounded(
            estimate=(2 * ordered + within) / (2 * pairs),
            low=ordered / pairs,
            high=(ordered + within) / pairs,
        )

    def recall_at_fpr(self, max_fpr: float) -> Bounded | None:
        """Return the share of frauds above the loosest threshold within a false positive rate.

        Parameters
        ----------
        max_fpr : float
            Largest share of clean rows that are flagged, from 0 to 1.

        Returns
        -------
        Bounded or None
            None unless there are rows of both classes.

        Raises
        ------
        ValueError
            If ``max_fpr`` is out of range.
        """
        if not 0 <= max_fpr <= 1:
            raise ValueError(f"max_fpr is {max_fpr}, expected 0 to 1")
        n_clean, n_frauds = self.n_negatives, self.n_positives
        if n_clean == 0 or n_frauds == 0:
            return None
        false = np.cumsum(self.negatives[::-1])
        true = np.cumsum(self.positives[::-1])
        whole = int(np.searchsorted(false / n_clean, max_fpr, side="right"))
        found = 0 if whole == 0 else int(true[whole - 1])
        if whole == self.positives.size:
            return Bounded(1.0, 1.0, 1.0)
        # The next cell holds more clean rows than are left to flag: its frauds are found if they
        # stand above those, and not at all if they are tied with them.
        in_next, clean_in_next = int(self.positives[::-1][whole]), int(self.negatives[::-1][whole])
        left = max_fpr * n_clean - (0 if whole == 0 else int(false[whole - 1]))
        share = min(max(left / clean_in_next, 0.0), 1.0)
        return _bounded(
            (found + in_next * share) / n_frauds, found / n_frauds, (found + in_next) / n_frauds
        )

    def _filled(self) -> list[tuple[int, int]]:
        """Return clean rows and frauds of each cell that is not empty, ascending."""
        filled = np.flatnonzero(self.negatives + self.positives)
        return list(
            zip(self.negatives[filled].tolist(), self.positives[filled].tolist(), strict=True)
        )

    def _cells_with_frauds(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield of each cell with frauds, from above: frauds and rows above it, and its own."""
        found, seen = 0, 0
        for negative, positive in reversed(self._filled()):
            if positive:
                yield found, seen, positive, negative
            found += positive
            seen += positive + negative


@dataclass(frozen=True, eq=False)
class ScoreHistogram(RankedCounts):
    """Counts by fine cell of ``fraudfed.boosting.score_cells``, shape (N_CELLS,) each."""

    def __post_init__(self) -> None:
        if self.negatives.shape != (N_CELLS,) or self.positives.shape != (N_CELLS,):
            raise ValueError(
                f"counts have shapes {self.negatives.shape} and {self.positives.shape}, expected "
                f"({N_CELLS},) twice"
            )

    @classmethod
    def of(cls, margins: Float32Array, labels: Float32Array) -> "ScoreHistogram":
        """Count rows.

        Parameters
        ----------
        margins : ndarray of shape (n_rows,), dtype=float32
            Scores on the logit, no NaN.
        labels : ndarray of shape (n_rows,), dtype=float32
            0 or 1.
        """
        negatives, positives = count_cells(
            cells_of(margins), (labels == 1).astype(np.int64), n_cells=N_CELLS, n_classes=2
        )
        return cls(negatives, positives)

    def brier(self) -> Bounded | None:
        """Return the mean squared error of the probabilities (``brier_score_loss``).

        G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
        Review 78(1), 1950, pages 1-3, in its form for two classes.

        Returns
        -------
        Bounded or None
            None without rows.
        """
        n_rows = self.n_negatives + self.n_positives
        if n_rows == 0:
            return None

        of_clean, of_fraud = np.flatnonzero(self.negatives), np.flatnonzero(self.positives)

        def mean(clean: Float64Array, fraud: Float64Array) -> float:
            squares = (self.negatives[of_clean] * clean[of_clean] ** 2).tolist()
            squares += (self.positives[of_fraud] * fraud[of_fraud] ** 2).tolist()
            return fsum(squares) / n_rows

        middle, low, high = _probabilities()
        return _bounded(mean(middle, 1 - middle), mean(low, 1 - high), mean(high, 1 - low))

    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """Return predicted against observed fraud by bins of the score, ascending, none empty."""
        rows = self.negatives + self.positives
        middle, low, high = _probabilities()
        bins = []
        starts = np.searchsorted(CELL_EDGES, RELIABILITY_EDGES)
        ends = (None, *RELIABILITY_EDGES, None)
        for at, (first, last) in enumerate(
            zip((0, *starts.tolist()), (*starts.tolist(), N_CELLS), strict=True)
        ):
            held = slice(first, last)
            n_rows = int(rows[held].sum())
            if n_rows == 0:
                continue
            filled = first + np.flatnonzero(rows[held])
            means = [fsum(rows[filled] * of[filled]) / n_rows for of in (middle, low, high)]
            bins.append(
                ReliabilityBin(
                    low=ends[at],
                    high=ends[at + 1],
                    rows=n_rows,
                    frauds=int(self.positives[held].sum()),
                    predicted=_bounded(*means),
                )
            )
        return tuple(bins)

    def calibration_error(self) -> Bounded | None:
        """Return the mean distance of predicted and observed over the bins, weighted by rows.

        M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using
        Bayesian binning", AAAI 2015, section "Calibration measures" (ECE), with bins of equal
        width on the logit.

        Returns
        -------
        Bounded or None
            None without rows.
        """
        n_rows = self.n_negatives + self.n_positives
        if n_rows == 0:
            return None
        estimates, lows, highs = [], [], []
        for part in self.reliability():
            below, above = part.predicted.low - part.observed, part.predicted.high - part.observed
            estimates.append(part.rows * abs(part.predicted.estimate - part.observed))
            lows.append(part.rows * max(below, -above, 0.0))
            highs.append(part.rows * max(abs(below), abs(above)))
        return _bounded(fsum(estimates) / n_rows, fsum(lows) / n_rows, fsum(highs) / n_rows)


def sigmoid(margins: Float64Array) -> Float64Array:
    """Return the probabilities of margins, any shape, in float64 with the same bits everywhere."""
    probabilities: Float64Array = 1.0 / (1.0 + exp(-margins))
    return probabilities


@cache
def _probabilities() -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the probability in the middle of each cell, and the least and largest in it."""
    edges = sigmoid(CELL_EDGES)
    low, high = edges.copy(), np.append(edges[1:], 1.0)
    low[0] = 0.0
    middle = sigmoid((CELL_EDGES + np.append(CELL_EDGES[1:], CELL_EDGES[-1])) / 2)
    return middle, low, high


def _bounded(estimate: float, low: float, high: float) -> Bounded:
    # Rounding of the last bit must not move the estimate out of its ends.
    return Bounded(estimate=min(max(estimate, low), high), low=low, high=high)
