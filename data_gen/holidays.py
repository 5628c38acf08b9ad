"""Public holidays and the weeks before them: a fixed rule for every year.

The rule is that of an invented country; only the date of Easter is calculated as in the calendar.
"""

from datetime import date, timedelta
from typing import Final

import numpy as np

from data_gen.rng import FloatArray, IntArray

# December up to Christmas Eve: payments grow day by day to this many times the usual number.
YEAR_END_PEAK: Final = 1.6
_YEAR_END_FIRST_DAY: Final = 1
_YEAR_END_LAST_DAY: Final = 24
# (month, day): relative number of payments on holidays of a fixed date.
FIXED_DAYS: Final = {(1, 1): 0.35, (5, 1): 0.70, (12, 25): 0.30, (12, 26): 0.55, (12, 31): 1.25}
# Days after Easter Sunday: Maundy Thursday and the Saturday are for shopping, the rest is quiet.
EASTER_DAYS: Final = {-3: 1.25, -2: 0.65, -1: 1.30, 0: 0.50, 1: 0.65}


def easter_sunday(year: int) -> date:
    """Return Easter Sunday of a Gregorian year.

    The algorithm of an anonymous writer in Nature 13 (1876), page 487, as in Meeus, "Astronomical
    Algorithms", 2nd edition (1998), chapter 8, with his names.
    """
    a = year % 19
    b, c = divmod(year, 100)
    d, e = divmod(b, 4)
    f = (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    l_ = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * l_) // 451
    month, day = divmod(h + l_ - 7 * m + 114, 31)
    return date(year, month, day + 1)


def holiday_weights(day: IntArray) -> FloatArray:
    """Return the relative number of payments of each day, 1 on ordinary ones.

    Parameters
    ----------
    day : ndarray of shape (n,), dtype=int64
        Days since 1970-01-01.
    """
    dates = [date(1970, 1, 1) + timedelta(days=int(number)) for number in day]
    easter = {year: easter_sunday(year) for year in {d.year for d in dates}}
    return np.array([_weight(d, easter[d.year]) for d in dates], dtype=np.float64)


def _weight(day: date, easter: date) -> float:
    if day.month == 12 and day.day <= _YEAR_END_LAST_DAY:
        risen = (day.day - _YEAR_END_FIRST_DAY) / (_YEAR_END_LAST_DAY - _YEAR_END_FIRST_DAY)
        return 1.0 + (YEAR_END_PEAK - 1.0) * risen
    fixed = FIXED_DAYS.get((day.month, day.day), 1.0)
    return fixed * EASTER_DAYS.get((day - easter).days, 1.0)
