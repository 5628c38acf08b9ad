"""Calendar months (UTC) of days that are numbered from 1970-01-01."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.features.formulas import SECONDS_PER_DAY


def month_of(day: int) -> int:
    """Return the months from January 1970 to that of a day."""
    found = datetime.fromtimestamp(day * SECONDS_PER_DAY, tz=UTC)
    return (found.year - 1970) * 12 + found.month - 1


def months(days: Int64Array) -> Int64Array:
    """Return ``month_of`` of each day, any shape."""
    found: Int64Array = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return found


def months_of(days: range) -> Counter[int]:
    """Return how many of some days lie in each month."""
    return Counter(month_of(day) for day in days)
