"""Exact intervals of shares: right however few tries there are."""

from dataclasses import dataclass

from scipy.stats import beta


@dataclass(frozen=True)
class Share:
    """How often something happened, with what it may be in truth.

    Attributes
    ----------
    hits, tries : int
    estimate, low, high : float
        The ends are of a two-sided interval.
    """

    hits: int
    tries: int
    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})"


def share_of(hits: int, tries: int, *, confidence: float = 0.95) -> Share:
    """Return a share with its exact binomial interval.

    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 26(4), 1934, pages 404-413.

    Parameters
    ----------
    hits, tries : int
        ``0 <= hits <= tries``; without tries, the share can be anything.
    confidence : float
        Of the interval, in (0, 1).
    """
    if not 0 <= hits <= tries:
        raise ValueError(f"{hits} hits of {tries} tries")
    if tries == 0:
        return Share(0, 0, 0.0, 0.0, 1.0)
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, tries - hits + 1))
    high = 1.0 if hits == tries else float(beta.ppf(1.0 - tail, hits + 1, tries - hits))
    return Share(hits, tries, hits / tries, low, high)
