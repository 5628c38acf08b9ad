"""What stands beside a demo's numbers: how sure they are, of which days, with which parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Interval:
    """Where a number lies, at 95 %.

    Attributes
    ----------
    lower, upper : float
        The 2.5 % and the 97.5 % quantile of the number on resampled rows.
    """

    lower: float
    upper: float


@dataclass(frozen=True)
class WindowFacts:
    """What a window of time, or a share of the rows, holds.

    Attributes
    ----------
    first_day, last_day : str or None
        Of the payments in it, ISO 8601; None for rows without times.
    labels_as_of : str or None
        First day of which nothing is known yet; None for rows without times.
    rows : int
        Payments, censored ones included.
    frauds : int
        Reported before ``labels_as_of``.
    censored : int
        Stopped by the bank and reported by nobody, so that nobody knows what they were.
    """

    first_day: str | None
    last_day: str | None
    labels_as_of: str | None
    rows: int
    frauds: int
    censored: int


@dataclass(frozen=True)
class Choice:
    """With what a model was trained.

    Attributes
    ----------
    candidate : str or None
        Name of the candidate that a search chose; None where parameters were given.
    trees : int
    parameters : mapping of str to plain values
        Under XGBoost's names: those that candidates differ in, and what they share.
    note : str
        In a few words, where it is not a search of its own on these rows: whose search it was.
    """

    candidate: str | None
    trees: int
    parameters: Mapping[str, Any]
    note: str = ""


@dataclass(frozen=True)
class SearchFacts:
    """How the parameters of a demo's models were chosen.

    Attributes
    ----------
    plan : str
    candidates : int
    trees : int
        Most trees that a candidate is grown to.
    rungs : tuple of (int, int)
        Trees, and how many candidates are grown to them.
    seconds : float
        Wall time of the federation's search.
    note : str
        Which models one search serves, in one sentence.
    """

    plan: str
    candidates: int
    trees: int
    rungs: tuple[tuple[int, int], ...]
    seconds: float
    note: str
