"""Whether risk tables reach as far as the payments that are trained on, or scored."""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from fraudfed.catalogue.risk_days import looked_at_days
from fraudfed.dtypes import Int64Array
from fraudfed.errors import DataError
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.shared_risk import SharedRisk

_log = logging.getLogger(__name__)

#: What to do about tables that are missing.
ADVICE = "take part in a risk run over them ('bank-node risk update')"


def check_training_days(shared: SharedRisk, periods: Iterable[tuple[int, int]]) -> None:
    """Refuse tables with gaps, or that end too early for the payments of a window.

    Days before the first table count as days without history, as before the first payment.

    Parameters
    ----------
    periods : iterable of (int, int)
        First and last event time of each window, UTC epoch seconds; at least one window.

    Raises
    ------
    DataError
        If a day is missing.
    """
    starts, ends = zip(*periods, strict=True)
    first, last = _looked_at(shared, min(starts), max(ends))
    missing = shared.missing_days(max(first, shared.first_day), last)
    if missing:
        raise DataError(
            f"risk tables: {shown_days(missing)} missing, expected every day from "
            f"{day_text(shared.first_day)} to {day_text(last)}; {ADVICE}"
        )


def check_scoring_days(shared: SharedRisk, event_time: Int64Array) -> None:
    """Refuse tables with gaps, and warn if they end before the payments that are scored.

    Raises
    ------
    DataError
        If a day between two tables is missing.
    """
    first, last = _looked_at(shared, int(event_time.min()), int(event_time.max()))
    missing = shared.missing_days(max(first, shared.first_day), min(last, shared.last_day))
    if missing:
        raise DataError(
            f"risk tables: {shown_days(missing)} missing between others, expected every day; "
            f"{ADVICE}"
        )
    if last > shared.last_day:
        _log.warning(
            "risk tables end on %s, the newest payment looks back to %s: days between count as "
            "empty; %s",
            *(day_text(shared.last_day), day_text(last), ADVICE),
        )


def shown_days(ranges: Sequence[tuple[int, int]]) -> str:
    """Return ranges of days as people read them."""
    texts = [
        day_text(first) if first == last else f"{day_text(first)}..{day_text(last)}"
        for first, last in ranges
    ]
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"{', '.join(texts[:3])}{more}"


def day_text(day: int) -> str:
    """Return a day, given in days since 1970-01-01 UTC, as an ISO date."""
    return datetime.fromtimestamp(day * SECONDS_PER_DAY, tz=UTC).strftime("%Y-%m-%d")


def _looked_at(shared: SharedRisk, first_event: int, last_event: int) -> tuple[int, int]:
    first, last = looked_at_days(
        first_event=first_event,
        last_event=last_event,
        publication_lag_days=shared.publication_lag_days,
    )
    return shared.first_day if first is None else first, last
