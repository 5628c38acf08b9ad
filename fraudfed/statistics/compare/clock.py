"""Times that are some hours or days early or late.

The profile of the hours is compared with that of the others, turned by 0, 1, ... 23 hours; channel
by channel, as cash machines and shops have other hours, and banks other shares of them. The measure
is the deviance of a multinomial sample, 2 sum of n log(n / m) over the cells (McCullagh, Nelder,
"Generalized Linear Models", 2nd edition 1989, section 5.3). Banks are no samples of one
distribution: what the best turn leaves unexplained is the dispersion (section 4.5), and a turn is
named if it explains so much that what is left is small beside it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.statistics.compare.finding import Difference, Kind
from fraudfed.statistics.layout import DAY_NAMES, HOUR_CHANNELS, HOURS, WEEKDAYS

_FEWEST_ROWS: Final = 200
#: Of the deviance, at the best turn; a turn of one hour changes less than one of five.
_MOST_LEFT: Final = 0.5
_LEAST_F: Final = 60.0
#: Share of rows in one hour that no bank has whose times have one.
_ONE_HOUR: Final = 0.9
_OTHERS_ONE_HOUR: Final = 0.5


@dataclass(frozen=True)
class _Turn:
    """The best turn: by how many cells, deviance with it and without, and the ratio F."""

    by: int
    deviance: float
    without: float
    ratio: float

    @property
    def is_named(self) -> bool:
        return (
            self.by != 0 and self.deviance <= _MOST_LEFT * self.without and self.ratio >= _LEAST_F
        )


def compare_hours(own: Int64Array, others: Int64Array, *, hidden: float = 0.0) -> Difference | None:
    """Return what is wrong with the time of day, None if nothing is.

    Parameters
    ----------
    own, others : ndarray of shape (n_channels * 24,), dtype=int64
        Rows by channel and hour.
    hidden : float
        Rows that the others' cells of 0 hold on average: small counts are entered as 0.
    """
    shape = (len(HOUR_CHANNELS), 24)
    mine, theirs = own.reshape(shape), others.reshape(shape)
    if min(own.sum(), others.sum()) < _FEWEST_ROWS:
        return None
    by_hour = [counts.sum(axis=0) / counts.sum() for counts in (mine, theirs)]
    if by_hour[0].max() > _ONE_HOUR and by_hour[1].max() < _OTHERS_ONE_HOUR:
        hour = int(by_hour[0].argmax())
        return Difference(
            kind=Kind.NO_TIME,
            column=HOURS,
            is_mistake=True,
            what=(
                f"{by_hour[0].max():.0%} of the payments lie in the hour from {hour:02}:00 UTC, "
                f"at the other banks at most {by_hour[1].max():.0%} in any hour"
            ),
            evidence=f"{own.sum():,} payments",
            what_to_do="give event_time with its time of day: the source or the time_format of "
            "the mapping has dates only",
        )
    turn = _best_turn(mine, theirs, hidden=hidden)
    if not turn.is_named:
        return None
    # Turned into the direction that is nearer.
    hours = turn.by if turn.by <= 12 else turn.by - 24
    late = "later" if hours > 0 else "earlier"
    return Difference(
        kind=Kind.HOURS,
        column=HOURS,
        is_mistake=True,
        what=f"times of day are {_counted(abs(hours), 'hour')} {late} than at the other banks",
        evidence=_evidence(turn),
        what_to_do="give event_time in UTC: name the zone of the source in the mapping "
        "(time_zone), or convert the column",
    )


def compare_weekdays(
    own: Int64Array, others: Int64Array, *, hidden: float = 0.0
) -> Difference | None:
    """Return by how many days times are off, None if they are not; arrays of shape (7,)."""
    if min(own.sum(), others.sum()) < _FEWEST_ROWS:
        return None
    turn = _best_turn(own[None, :], others[None, :], hidden=hidden)
    if not turn.is_named:
        return None
    n_days = len(DAY_NAMES)
    days = turn.by if turn.by <= n_days // 2 else turn.by - n_days
    late = "later" if days > 0 else "earlier"
    return Difference(
        kind=Kind.DAYS,
        column=WEEKDAYS,
        is_mistake=True,
        what=f"days of the week are {_counted(abs(days), 'day')} {late} than at the other banks",
        evidence=_evidence(turn),
        what_to_do="check the date that event_time is made of: order of day and month, origin "
        "of day numbers, booking date for payment date",
    )


def _best_turn(own: Int64Array, others: Int64Array, *, hidden: float) -> _Turn:
    """Return the turn of the others' rows that fits best; both of shape (n_strata, n_cells)."""
    n_cells = own.shape[1]
    used = (own.sum(axis=1) > 0) & (others.sum(axis=1) > 0)
    mine = own[used].astype(np.float64)
    # Half a row in each cell, so that none is impossible (Jeffreys' prior of a multinomial).
    shares = np.where(others[used] == 0, hidden, others[used]) + 0.5
    shares /= shares.sum(axis=1, keepdims=True)
    found = np.array([_deviance(mine, np.roll(shares, by, axis=1)) for by in range(n_cells)])
    by = int(found.argmin())
    n_free = max(int(used.sum()) * (n_cells - 1) - 1, 1)
    dispersion = max(float(found[by]) / n_free, 1.0)
    return _Turn(by, float(found[by]), float(found[0]), float(found[0] - found[by]) / dispersion)


def _deviance(counts: Float64Array, shares: Float64Array) -> float:
    expected = shares * counts.sum(axis=1, keepdims=True)
    safe = np.where(counts > 0, counts, 1.0)
    return 2.0 * float(np.sum(np.where(counts > 0, counts * np.log(safe / expected), 0.0)))


def _evidence(turn: _Turn) -> str:
    return (
        f"explains {1 - turn.deviance / turn.without:.1%} of the difference of the profiles "
        f"(F = {turn.ratio:,.0f})"
    )


def _counted(n: int, unit: str) -> str:
    return f"{n} {unit}" if n == 1 else f"{n} {unit}s"
