"""A credit bureau's report on an applicant: a noisy score, and some of the enquiries."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.credit.applications import Applications
from data_gen.credit.config import CreditConfig
from data_gen.credit.people import People
from data_gen.credit.streams import CreditPart
from data_gen.rng import IntArray, stream
from data_gen.settings.config import DAY_SECONDS

MIN_SCORE: Final = 300
MAX_SCORE: Final = 850
ENQUIRY_DAYS: Final = 90
_MIDDLE: Final = 620.0


@dataclass(frozen=True)
class BureauReports:
    """One report per application; every array is of shape (n_applications,).

    Parameters
    ----------
    is_known : ndarray, dtype=bool
        False for a thin file; then the other arrays have no meaning.
    score : ndarray, dtype=int64
        300 (worst) to 850.
    enquiries : ndarray, dtype=int64
        Known enquiries of banks in the 90 days before.
    """

    is_known: npt.NDArray[np.bool_]
    score: IntArray
    enquiries: IntArray


def make_reports(config: CreditConfig, people: People, applications: Applications) -> BureauReports:
    """Return the bureau's report at the time of each application."""
    draws = stream(config.seed, CreditPart.BUREAU)
    who = applications.person
    n = len(applications)
    age = np.clip(people.age[who] - 18, 0, 40)
    score = _MIDDLE + 45.0 * people.steadiness[who] + 1.0 * age - 12.0 * people.loans[who]
    score += 45.0 * draws.normal(n)
    is_reported = draws.uniform(n) < config.bureau_coverage
    return BureauReports(
        is_known=~people.is_thin_file[who],
        score=np.clip(np.rint(score), MIN_SCORE, MAX_SCORE).astype(np.int64),
        enquiries=earlier_within(who, applications.time, counted=is_reported, days=ENQUIRY_DAYS),
    )


def earlier_within(
    group: IntArray, time: IntArray, *, counted: npt.NDArray[np.bool_], days: int
) -> IntArray:
    """Return for each row the number of counted rows of its group in the days before it.

    Rows of the same second do not see each other.

    Parameters
    ----------
    group : ndarray of shape (n,), dtype=int64
    time : ndarray of shape (n,), dtype=int64
        UTC epoch seconds, in any order.
    counted : ndarray of shape (n,), dtype=bool
    days : int

    Returns
    -------
    counts : ndarray of shape (n,), dtype=int64
    """
    order = np.lexsort((time, group))
    # One number that grows over groups and, within a group, with time.
    span = int(time.max(initial=0)) - int(time.min(initial=0)) + days * DAY_SECONDS + 1
    key = group[order] * span + (time[order] - int(time.min(initial=0)))
    before = np.concatenate(([0], np.cumsum(counted[order])))
    upper = np.searchsorted(key, key, side="left")
    lower = np.searchsorted(key, key - days * DAY_SECONDS, side="left")
    # The window may reach into the group before, whose keys end a window below this one's.
    start = np.searchsorted(key, group[order] * span, side="left")
    counts = before[upper] - before[np.maximum(lower, start)]
    result = np.empty(len(group), dtype=np.int64)
    result[order] = counts
    return result
