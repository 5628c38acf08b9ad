"""What was measured: from which size and epsilon on a model under a bound beats what banks have.

The table is that of docs/privacy-cost.md; a test holds both together. It speaks of the world that
was measured, and of nobody's own data: it is a warning, not a limit.
"""

from dataclasses import dataclass
from typing import Final

from fraudfed.privacy.terms import PrivacyTerms, TrainingWay


@dataclass(frozen=True)
class MeasuredSize:
    """One point of a measurement; AUPRC, mean over banks and repeats.

    Attributes
    ----------
    rows : int
        Training rows of all banks.
    way : TrainingWay
    epsilon : float
    private, noiseless : float
        Of the consortium's model with noise, and of the same way without.
    own : float
        Of the better one of the models that a bank has alone: with shared risk, or without.
    """

    rows: int
    way: TrainingWay
    epsilon: float
    private: float
    noiseless: float
    own: float

    @property
    def beats_own(self) -> bool:
        """Whether the banks were better off with the consortium's model, on average."""
        return self.private > self.own

    @property
    def kept(self) -> float:
        """What is left of the AUPRC without noise."""
        return self.private / self.noiseless


#: All points that were measured; ``fraudfed.lab.publish.privacy`` writes them.
# publish: measured
MEASURED: Final[tuple[MeasuredSize, ...]] = (
    MeasuredSize(205635, TrainingWay.CYCLIC, 10, 0.2381, 0.2524, 0.0497),
    MeasuredSize(205635, TrainingWay.CYCLIC, 3, 0.1919, 0.2524, 0.0497),
    MeasuredSize(205635, TrainingWay.CYCLIC, 1, 0.1021, 0.2524, 0.0497),
    MeasuredSize(205635, TrainingWay.CYCLIC, 0.3, 0.0398, 0.2524, 0.0497),
    MeasuredSize(205635, TrainingWay.HISTOGRAMS, 10, 0.1803, 0.2724, 0.0497),
    MeasuredSize(205635, TrainingWay.HISTOGRAMS, 3, 0.1285, 0.2724, 0.0497),
    MeasuredSize(205635, TrainingWay.HISTOGRAMS, 1, 0.0786, 0.2724, 0.0497),
    MeasuredSize(205635, TrainingWay.HISTOGRAMS, 0.3, 0.0173, 0.2724, 0.0497),
    MeasuredSize(205635, TrainingWay.RANDOM_SPLITS, 10, 0.1812, 0.2584, 0.0497),
    MeasuredSize(205635, TrainingWay.RANDOM_SPLITS, 3, 0.1558, 0.2584, 0.0497),
    MeasuredSize(205635, TrainingWay.RANDOM_SPLITS, 1, 0.0739, 0.2584, 0.0497),
    MeasuredSize(205635, TrainingWay.RANDOM_SPLITS, 0.3, 0.0360, 0.2584, 0.0497),
    MeasuredSize(622200, TrainingWay.CYCLIC, 10, 0.2111, 0.2190, 0.1177),
    MeasuredSize(622200, TrainingWay.CYCLIC, 3, 0.1822, 0.2190, 0.1177),
    MeasuredSize(622200, TrainingWay.CYCLIC, 1, 0.1284, 0.2190, 0.1177),
    MeasuredSize(622200, TrainingWay.CYCLIC, 0.3, 0.0683, 0.2190, 0.1177),
    MeasuredSize(622200, TrainingWay.HISTOGRAMS, 10, 0.1833, 0.2309, 0.1177),
    MeasuredSize(622200, TrainingWay.HISTOGRAMS, 3, 0.1428, 0.2309, 0.1177),
    MeasuredSize(622200, TrainingWay.HISTOGRAMS, 1, 0.0901, 0.2309, 0.1177),
    MeasuredSize(622200, TrainingWay.HISTOGRAMS, 0.3, 0.0496, 0.2309, 0.1177),
    MeasuredSize(622200, TrainingWay.RANDOM_SPLITS, 10, 0.2047, 0.2376, 0.1177),
    MeasuredSize(622200, TrainingWay.RANDOM_SPLITS, 3, 0.1629, 0.2376, 0.1177),
    MeasuredSize(622200, TrainingWay.RANDOM_SPLITS, 1, 0.1203, 0.2376, 0.1177),
    MeasuredSize(622200, TrainingWay.RANDOM_SPLITS, 0.3, 0.0519, 0.2376, 0.1177),
    MeasuredSize(2049828, TrainingWay.CYCLIC, 10, 0.2355, 0.2381, 0.1913),
    MeasuredSize(2049828, TrainingWay.CYCLIC, 3, 0.2212, 0.2381, 0.1913),
    MeasuredSize(2049828, TrainingWay.CYCLIC, 1, 0.1916, 0.2381, 0.1913),
    MeasuredSize(2049828, TrainingWay.CYCLIC, 0.3, 0.1315, 0.2381, 0.1913),
    MeasuredSize(2049828, TrainingWay.HISTOGRAMS, 10, 0.2163, 0.2446, 0.1913),
)
# end


def advice(
    terms: PrivacyTerms, rows: int, *, measured: tuple[MeasuredSize, ...] = MEASURED
) -> str | None:
    """Return a warning for people before a run is opened, in one line; None if there is none.

    A run is taken to do at least as well as any measured one of its way that had no more rows and
    no larger epsilon.

    Parameters
    ----------
    terms : PrivacyTerms
    rows : int
        Training rows of all banks that are expected; ``terms.declared_rows`` where nobody knows.
    measured : tuple of MeasuredSize
    """
    of_way = [point for point in measured if point.way is terms.way]
    better = [point for point in of_way if point.beats_own]
    if any(point.rows <= rows and point.epsilon <= terms.epsilon for point in better):
        return None
    what = f"{_millions(rows)} million rows, epsilon {terms.epsilon:g}, way {terms.way}"
    if not better:
        return (
            f"{what}: no size that was measured had a model with noise that beat what banks have "
            "alone; see docs/privacy-cost.md"
        )
    near = min(better, key=lambda point: (point.epsilon > terms.epsilon, point.rows, point.epsilon))
    return (
        f"{what}: not measured to beat what banks have alone; the nearest that did has "
        f"{_millions(near.rows)} million rows and epsilon {near.epsilon:g}. Expect the gate to "
        "keep banks' own models; see docs/privacy-cost.md"
    )


def _millions(rows: int) -> str:
    return f"{rows / 1e6:.2g}"
