"""When things happen: weights of the days and of the hours of a day."""

from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.entities.people import PAYDAYS
from data_gen.holidays import holiday_weights
from data_gen.rng import FloatArray, IntArray
from data_gen.settings.config import DAY_SECONDS, WorldConfig

# Monday first: fewer transactions early in the week, most on Friday and Saturday.
WEEKDAY_WEIGHT: Final[FloatArray] = np.array([0.90, 0.92, 0.96, 1.02, 1.15, 1.20, 0.85])
# Of 1970-01-01, a Thursday.
_EPOCH_WEEKDAY: Final = 3
# Days after payday with more transactions, and how many more.
PAYDAY_DAYS: Final = 3
PAYDAY_WEIGHT: Final = 1.45

# Relative number of transactions by hour of the day, by channel code.
HOUR_WEIGHT: Final[FloatArray] = np.array(
    [
        # pos: shop hours, with peaks at noon and after work
        [1, 1, 0, 0, 0, 1, 4, 12, 18, 24, 30, 36, 44, 38, 32, 34, 40, 50, 48, 36, 22, 14, 8, 4],
        # ecommerce: through the evening and into the night
        [12, 7, 4, 3, 2, 3, 5, 9, 14, 18, 22, 24, 26, 25, 24, 25, 27, 30, 34, 42, 48, 46, 36, 22],
        # transfer: working hours and evening
        [3, 2, 1, 1, 1, 2, 6, 16, 30, 38, 36, 32, 28, 28, 28, 28, 28, 30, 32, 34, 30, 22, 12, 6],
        # atm
        [4, 3, 2, 1, 1, 2, 6, 12, 18, 26, 30, 32, 34, 32, 30, 32, 36, 40, 36, 28, 22, 16, 12, 8],
    ],
    dtype=np.float64,
)


def weekday_of(day: IntArray) -> IntArray:
    """Return weekdays, Monday being 0, of days since 1970-01-01."""
    weekday: IntArray = (day + _EPOCH_WEEKDAY) % 7
    return weekday


class HourTable:
    """Draws seconds of the day from hourly weights, uniform within an hour."""

    def __init__(self, weights: FloatArray) -> None:
        self._edges = np.concatenate(([0.0], np.cumsum(weights / weights.sum())))

    def seconds(self, uniforms: FloatArray, shift_hours: FloatArray) -> IntArray:
        """Return seconds of the day, moved by ``shift_hours`` and wrapped at midnight."""
        hours = np.interp(uniforms, self._edges, np.arange(25.0)) + shift_hours
        seconds: IntArray = ((hours % 24.0) * 3600.0).astype(np.int64) % DAY_SECONDS
        return seconds


def _day_weights(config: WorldConfig) -> FloatArray:
    """Return weights of shape (n_paydays, days): weekday, holidays, payday and growth."""
    first = config.start_time // DAY_SECONDS
    day = first + np.arange(config.days)
    dates = day.astype("datetime64[D]")
    day_of_month = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    calendar = WEEKDAY_WEIGHT[weekday_of(day)] * holiday_weights(day)
    growth = (1.0 + config.growth_per_year) ** (np.arange(config.days) / 365.0)
    rows = []
    for payday in PAYDAYS:
        # Days since the last payday, counting a short month as ending on day 31.
        since = (day_of_month - payday) % 31
        rows.append(calendar * growth * np.where(since < PAYDAY_DAYS, PAYDAY_WEIGHT, 1.0))
    return np.array(rows)


def day_cumulative(config: WorldConfig) -> FloatArray:
    """Return cumulative day weights of shape (n_paydays, days); each row ends at 1."""
    cumulative = np.cumsum(_day_weights(config), axis=1)
    return cumulative / cumulative[:, -1:]


def drift_phase(config: WorldConfig, day: npt.NDArray[np.number]) -> IntArray:
    """Return how many of the drift days lie at or before each day of the period."""
    phase: IntArray = np.searchsorted(np.array(config.drift_days), day, side="right")
    return phase


def expected_day_sum(config: WorldConfig) -> float:
    """Return the length of the period in days, each weighted by growth."""
    growth = (1.0 + config.growth_per_year) ** (np.arange(config.days) / 365.0)
    return float(growth.sum())
