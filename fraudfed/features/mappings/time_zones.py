"""Local time to UTC: offsets of a zone of the IANA time zone database, for whole columns.

Where clocks go back, an hour comes twice; where they go forward, an hour never comes. What a local
time of such an hour means is for the mapping to say, not for a library to guess.

The rules are those of ``zoneinfo`` (PEP 495, PEP 615): of a repeated time, ``fold=0`` is the first;
a missing time is read with the offset from before the change, so it comes out later by the gap.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from fraudfed.dtypes import BoolArray, Int64Array

#: Offsets are compared this often. No zone has changed its clocks and changed them back within
#: half a day.
_STEP = 43_200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: First and last second that is looked up: 1900 to 2300.
_FIRST, _LAST = -2_208_988_800, 10_413_792_000


class RepeatedHour(StrEnum):
    """What a local time means that came twice, when clocks went back."""

    REFUSE = "refuse"
    FIRST = "first"
    SECOND = "second"


class MissingHour(StrEnum):
    """What a local time means that never came, when clocks went forward."""

    REFUSE = "refuse"
    LATER = "later"


@dataclass(frozen=True, eq=False)
class LocalTimes:
    """Local times as seconds of UTC.

    Attributes
    ----------
    first, second : ndarray of shape (n,), dtype=int64
        UTC epoch seconds; they differ where the hour came twice or never.
    repeated, missing : ndarray of shape (n,), dtype=bool
        Local times that came twice, and those that never came.
    """

    first: Int64Array
    second: Int64Array
    repeated: BoolArray
    missing: BoolArray


@dataclass(frozen=True, eq=False)
class _Changes:
    """Changes of a zone's clocks, and what holds before, between and after them.

    Attributes
    ----------
    at : ndarray of shape (n_changes,), dtype=int64
        UTC epoch seconds, ascending.
    offsets : ndarray of shape (n_changes + 1,), dtype=int64
        Seconds that clocks are ahead of UTC.
    names : tuple of str, of length n_changes + 1
        As ``CET``.
    """

    at: Int64Array
    offsets: Int64Array
    names: tuple[str, ...]


def find_zone(name: str) -> ZoneInfo:
    """Return a zone by its name.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"got {name!r}, expected the name of a zone of the IANA time zone database, as "
            "'Europe/Berlin' or 'UTC'"
        ) from None


def to_utc(local: Int64Array, zone: ZoneInfo) -> LocalTimes:
    """Return what local times are in UTC.

    Parameters
    ----------
    local : ndarray of shape (n,), dtype=int64
        Seconds since 1970-01-01 00:00 by the zone's clocks, of the years 1901 to 2299.
    zone : ZoneInfo

    Returns
    -------
    LocalTimes
    """
    changes = _changes_for(local, zone)
    before, after = changes.offsets[:-1], changes.offsets[1:]
    # CPython's Lib/zoneinfo/_zoneinfo.py, _ts_to_local: a change counts from here on by the clock.
    early = changes.at + np.maximum(before, after)
    late = changes.at + np.minimum(before, after)
    first = changes.offsets[np.searchsorted(early, local, side="right")]
    second = changes.offsets[np.searchsorted(late, local, side="right")]
    return LocalTimes(
        first=local - first,
        second=local - second,
        repeated=first > second,
        missing=first < second,
    )


def zone_names(times: Int64Array, zone: ZoneInfo) -> tuple[Int64Array, tuple[str, ...]]:
    """Return what a zone's time is called at some instants.

    Parameters
    ----------
    times : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    zone : ZoneInfo

    Returns
    -------
    indices : ndarray of shape (n,), dtype=int64
        Into ``names``.
    names : tuple of str
        In capitals; one may occur more than once.
    """
    changes = _changes_for(times, zone)
    indices = np.searchsorted(changes.at, times, side="right").astype(np.int64)
    return indices, changes.names


def _changes_for(times: Int64Array, zone: ZoneInfo) -> _Changes:
    """Return the changes of the years that some times are of, with one more at either end."""
    if times.size == 0:
        return _changes(zone, 1970, 1971)
    years = times[[int(times.argmin()), int(times.argmax())]].clip(_FIRST, _LAST)
    first, last = ((_EPOCH + timedelta(seconds=int(second))).year for second in years)
    return _changes(zone, first - 1, last + 1)


@lru_cache(maxsize=64)
def _changes(zone: ZoneInfo, first_year: int, last_year: int) -> _Changes:
    """Find the changes from the start of one year to the end of another."""
    start, stop = (
        _seconds(datetime(year, 1, 1, tzinfo=UTC)) for year in (first_year, last_year + 1)
    )
    at, states = [], [_state(zone, start)]
    for second in range(start, stop, _STEP):
        state = _state(zone, second + _STEP)
        if state == states[-1]:
            continue
        low, high = second, second + _STEP
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _state(zone, middle) == states[-1] else (low, middle)
        at.append(high)
        states.append(state)
    return _Changes(
        at=np.array(at, dtype=np.int64),
        offsets=np.array([offset for offset, _ in states], dtype=np.int64),
        names=tuple(name for _, name in states),
    )


def _state(zone: ZoneInfo, second: int) -> tuple[int, str]:
    """Return a zone's offset in seconds and its name at an instant."""
    local = (_EPOCH + timedelta(seconds=second)).astimezone(zone)
    offset = local.utcoffset() or timedelta()
    return round(offset.total_seconds()), (local.tzname() or "").upper()


def _seconds(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds())
