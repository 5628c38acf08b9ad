"""Where the demo cuts the time of a file in windows, and how long it waits for reports.

Chosen from the file's period and from how long its reports of fraud took in the first half of it.
No model and no score has a part in the choice.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import ConfigurationError
from fraudfed.features.formulas import SECONDS_PER_DAY

#: Shares of the period after which training ends, and after which selection does.
_TRAIN_SHARE = 0.55
_SELECT_SHARE = 0.75
#: A longer horizon would leave little of the windows that select and judge, which are a fifth and a
#: quarter of the period.
_MOST_OF_PERIOD = 0.1
#: Share of the frauds that are to be reported within the horizon.
_REPORTED = 0.9


@dataclass(frozen=True)
class Cutoffs:
    """The windows of a demo, as a data contract has them.

    Attributes
    ----------
    train_until, select_until, judge_until : int
        UTC epoch seconds, midnights.
    horizon_days : int
        A payment counts as fraud if it was reported within so many days.
    note : str
        What was chosen, and why, in one line.
    """

    train_until: int
    select_until: int
    judge_until: int
    horizon_days: int
    note: str


def choose_cutoffs(
    period: tuple[int, int],
    event_time: Int64Array,
    report_time: Int64Array,
    *,
    horizon_days: int | None = None,
    select_until: int | None = None,
) -> Cutoffs:
    """Choose windows and horizon.

    Parameters
    ----------
    period : tuple of int
        First second, and first second after the last, UTC epoch seconds.
    event_time, report_time : ndarray of shape (n_frauds,), dtype=int64
        Of the payments of all banks that were reported as fraud, UTC epoch seconds.
    horizon_days : int or None
        None chooses it.
    select_until : int or None
        From when on payments judge, where the data say so.

    Raises
    ------
    ConfigurationError
        If the period is too short for three windows of this horizon.
    """
    first_day = period[0] // SECONDS_PER_DAY
    days = -(-period[1] // SECONDS_PER_DAY) - first_day

    def after(share: float) -> int:
        return int(first_day + round(days * share)) * SECONDS_PER_DAY

    train, judge = after(_TRAIN_SHARE), int(first_day + days) * SECONDS_PER_DAY
    select = after(_SELECT_SHARE) if select_until is None else select_until
    if horizon_days is not None:
        horizon, why = horizon_days, "as asked for"
    else:
        horizon, why = _horizon(period, event_time, report_time, most=int(days * _MOST_OF_PERIOD))
    shortest = min(train - first_day * SECONDS_PER_DAY, select - train, judge - select)
    if horizon * SECONDS_PER_DAY >= shortest:
        raise ConfigurationError(
            f"--label-horizon-days: {horizon} days leave no payment in a window of "
            f"{shortest // SECONDS_PER_DAY} days, of {days} in all; choose a shorter horizon, or "
            "give payments of a longer time"
        )
    note = (
        f"trained as of {date_of(train)}, selected as of {date_of(select)}, judged as of "
        f"{date_of(judge)}; label horizon {_days(horizon)}, {why}"
    )
    return Cutoffs(train, select, judge, horizon, note)


def _horizon(
    period: tuple[int, int], event_time: Int64Array, report_time: Int64Array, *, most: int
) -> tuple[int, str]:
    early = event_time < (period[0] + period[1]) // 2
    delays = (report_time - event_time)[early]
    if delays.size == 0:
        return max(1, most), "a tenth of the time, as no fraud of its first half was reported"
    usual = int(np.quantile(delays, _REPORTED, method="inverted_cdf"))
    wanted = max(1, -(-usual // SECONDS_PER_DAY))
    if wanted <= max(1, most):
        return wanted, "within which 9 of 10 frauds were reported in the first half of the time"
    within = float(np.mean(delays <= max(1, most) * SECONDS_PER_DAY))
    return (
        max(1, most),
        f"a tenth of the time; {within:.0%} of frauds were reported within it in the first half, "
        f"9 of 10 within {_days(wanted)}",
    )


def date_of(time: int) -> str:
    """Return the UTC day of a time as ISO 8601 writes it."""
    return datetime.fromtimestamp(time, UTC).date().isoformat()


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"
