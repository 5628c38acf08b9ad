"""Whose rows a training with privacy terms speaks about, as days that everybody knows."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from fraudfed.privacy.events import DayBlocks
from fraudfed.wire.messages import DataContract

#: Where a window has no first second: no payment is older than times themselves.
_FIRST_DAY: Final = date(1970, 1, 1)
#: Where a window has no end.
_LAST_DAY: Final = date.max


@dataclass(frozen=True)
class PrivacyDays:
    """The windows of a training, in whole days of UTC.

    A window is charged as a whole, whether or not a bank has rows on each of its days.

    Attributes
    ----------
    trains : DayBlocks
    judges : DayBlocks or None
        None without a window that judges.
    """

    trains: DayBlocks
    judges: DayBlocks | None


def privacy_days(contract: DataContract) -> PrivacyDays | None:
    """Return the days of a contract of transactions; None for a table, whose rows have no times."""
    if contract.kind == "table":
        return None
    judges = None
    start, until = contract.judge_from, contract.judge_until
    if start is None or until is None:
        start, until = contract.select_from, contract.select_until
    if start is not None and until is not None:
        judges = _days(start, until)
    return PrivacyDays(_days(contract.train_from, contract.train_until), judges)


def days_of_months(days: range) -> DayBlocks:
    """Return all days of the months (UTC) that some days lie in.

    Parameters
    ----------
    days : range
        Days since 1970-01-01, at least one.
    """
    epoch = _FIRST_DAY.toordinal()
    first = date.fromordinal(epoch + days[0]).replace(day=1)
    last = date.fromordinal(epoch + days[-1])
    after = (last.replace(day=28) + timedelta(days=4)).replace(day=1)
    return DayBlocks(first=first, last=after - timedelta(days=1))


def _days(start: int | None, until: int | None) -> DayBlocks:
    first = _FIRST_DAY if start is None else _day(start)
    last = _LAST_DAY if until is None else _day(until - 1)
    return DayBlocks(first=first, last=max(first, last))


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, tz=UTC).date()
