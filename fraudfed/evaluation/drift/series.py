"""Candidates for an alarm: one value a week, held against the reference weeks.

Each candidate knows two things: how often chance is as far off as this week, and whether the
difference is large enough to matter. Only what is both becomes an alarm (``alarms``).
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.drift.alarm import Alarm
from fraudfed.evaluation.drift.cells import SCORE_STEP, score_edge
from fraudfed.evaluation.drift.prediction import (
    angle_sd,
    predict,
    share_angle,
    share_of,
)
from fraudfed.evaluation.drift.stability import stability

#: Payments of a usual week (or last day) below which nothing is said of a channel.
LEAST_PAYMENTS: Final = 50
#: Rows by which a share must move at least, whatever its ratio.
LEAST_MOVED: Final = 10
#: A number of payments that halves or doubles.
VOLUME_RATIO: Final = 2.0
#: PSI, beyond what chance gives, of scores or of a feature.
LEAST_PSI: Final = 0.1
#: Units of the logit by which the highest scores move.
LEAST_LOGITS: Final = 1.0
_HIGH_QUANTILE: Final = 0.995


@dataclass(frozen=True)
class Candidate:
    """What may become an alarm.

    Attributes
    ----------
    alarm : Alarm
    matters : bool
        The difference is large enough.
    """

    alarm: Alarm
    matters: bool


@dataclass(frozen=True)
class Enough:
    """When the difference of a share is large enough.

    Attributes
    ----------
    points : float
        It moves by so much at least, from 0 to 1.
    ratio : float
        Or it is so many times as large, or as small, and ``LEAST_MOVED`` rows or more differ.
    only_up, only_down : bool
        The other direction is no alarm.
    """

    points: float = math.inf
    ratio: float = math.inf
    only_up: bool = False
    only_down: bool = False

    def __call__(self, expected: float, found: float, whole: float) -> bool:
        """Tell whether a share of ``whole`` rows moved enough."""
        if (self.only_up and found <= expected) or (self.only_down and found >= expected):
            return False
        if abs(found - expected) >= self.points:
            return True
        low, high = sorted((expected, found))
        return high >= self.ratio * low and (high - low) * whole >= LEAST_MOVED


def share_candidate(
    alarm: Alarm,
    parts: Int64Array,
    wholes: Int64Array,
    enough: Enough,
    *,
    n_reference: int,
    least_whole: int = LEAST_PAYMENTS,
) -> Candidate | None:
    """Hold the last week's share against the reference.

    Parameters
    ----------
    alarm : Alarm
        Its numbers are filled in.
    parts, wholes : ndarray of shape (n_weeks,), dtype=int64
        The last entry is the week under watch.
    enough : Enough
    n_reference : int
        Of the weeks, from the first on. Those without a row are left out.
    least_whole : int
        In the week under watch, and in the mean of the reference.

    Returns
    -------
    Candidate or None
        None with too few rows or weeks.
    """
    weeks = [
        (part, whole)
        for part, whole in zip(
            parts[:n_reference].tolist(), wholes[:n_reference].tolist(), strict=True
        )
        if whole
    ]
    part, whole = int(parts[-1]), int(wholes[-1])
    total = sum(whole for _, whole in weeks)
    if len(weeks) < 4 or whole < least_whole or total < least_whole * len(weeks):
        return None
    found = predict(
        [share_angle(*week) for week in weeks],
        share_angle(part, whole),
        # The smaller of the two numbers of rows is what makes shares scatter.
        least_sd=angle_sd(min(total / len(weeks), whole)),
    )
    expected = share_of(found.expected) if any(part for part, _ in weeks) else 0.0
    matters = enough(expected, part / whole, whole)
    return Candidate(replace(alarm, expected=expected, found=part / whole, p=found.p), matters)


def volume_candidate(alarm: Alarm, counts: Int64Array, *, n_reference: int) -> Candidate | None:
    """Hold a number of payments against the trend of the reference; as ``share_candidate``."""
    weeks = counts[:n_reference].tolist()
    if min(weeks) < LEAST_PAYMENTS:
        return None
    found = predict(
        [math.log(week) for week in weeks],
        math.log(int(counts[-1]) + 0.5),
        least_sd=1 / math.sqrt(sum(weeks) / len(weeks)),
        ahead=len(counts) - n_reference,
    )
    expected, now = math.exp(found.expected), int(counts[-1])
    low, high = sorted((expected, float(now)))
    alarm = replace(alarm, expected=expected, found=float(now), p=found.p)
    return Candidate(alarm, high >= VOLUME_RATIO * low)


def quantile_candidate(alarm: Alarm, scores: Int64Array, *, n_reference: int) -> Candidate | None:
    """Hold the highest scores against the reference.

    The quantile itself jumps where frauds are about as many as the payments above it: one campaign
    moves it from clean scores to those of fraud. So what is compared is the share of payments above
    the reference's quantile, and the quantile says only whether it matters.

    Parameters
    ----------
    alarm : Alarm
    scores : ndarray of shape (n_weeks, n_cells), dtype=int64
    n_reference : int
    """
    whole = scores[:n_reference].sum(axis=0)
    if not whole.any() or not scores[-1].any():
        return None
    usual, now = high_score(whole), high_score(scores[-1])
    first = int((usual - score_edge(0)) / SCORE_STEP)
    enough = Enough(points=0.0)
    found = share_candidate(
        alarm,
        scores[:, first:].sum(axis=1),
        scores.sum(axis=1),
        enough,
        n_reference=n_reference,
    )
    if found is None:
        return None
    alarm = replace(found.alarm, expected=usual, found=now)
    return Candidate(alarm, abs(now - usual) >= LEAST_LOGITS)


def high_score(cells: Int64Array) -> float:
    """Return the 99.5th percentile of scores, as if the rows of a cell were evenly spread."""
    total = int(cells.sum())
    wanted, below = _HIGH_QUANTILE * total, 0
    for cell, rows in enumerate(cells.tolist()):
        if rows and below + rows >= wanted:
            return score_edge(cell) + SCORE_STEP * float((wanted - below) / rows)
        below += int(rows)
    return score_edge(len(cells))


def stability_candidate(
    alarm: Alarm, cells: Int64Array, *, n_reference: int, n_apart: int
) -> Candidate | None:
    """Hold a distribution against the reference.

    Each reference week is compared with the others, and the week under watch with all of them. The
    logarithms of these PSI are what chance and usual weeks do; a PSI below what chance gives counts
    as that.

    Parameters
    ----------
    alarm : Alarm
    cells : ndarray of shape (n_weeks, n_cells), dtype=int64
    n_reference, n_apart : int
        As ``share_candidate`` and ``stability``.
    """
    reference = cells[:n_reference]
    whole = reference.sum(axis=0)
    filled = [week for week in reference if week.sum() >= LEAST_PAYMENTS]
    now = stability(whole, cells[-1], n_apart=n_apart)
    if len(filled) < 4 or now is None or now.n_cells < 2 or cells[-1].sum() < LEAST_PAYMENTS:
        return None
    usual = []
    for week in filled:
        one = stability(whole - week, week, n_apart=n_apart)
        if one is None or one.n_cells < 2:
            return None
        usual.append(math.log(max(one.psi, one.chance)))
    # The logarithm of chi-squared with k degrees of freedom has variance 2 / k, about.
    least_sd = math.sqrt(2 / (now.n_cells - 1))
    found = predict(usual, math.log(max(now.psi, now.chance)), least_sd=least_sd)
    alarm = replace(alarm, expected=math.exp(found.expected), found=now.psi, p=found.p)
    return Candidate(alarm, found.t > 0 and now.excess >= LEAST_PSI)
