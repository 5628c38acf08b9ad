"""Which weeks of a bank's payments are watched, and what they are compared with."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bank_node.data.cutoffs import time_text
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.evaluation.drift.rows import (
    DAY,
    HOUR,
    LEAST_REFERENCE_WEEKS,
    MOST_WEEKS,
    WEEK,
    Weeks,
)
from fraudfed.evaluation.plan import PAYMENTS_PER_ALERT
from fraudfed.wire.messages import DataContract

#: Weeks of the reference, where the payments reach back as far.
USUAL_REFERENCE_WEEKS: Final = 12
#: A last day that ends within this is whole: some hours of the night have no payment.
_NIGHT: Final = 2 * HOUR


@dataclass(frozen=True)
class Asked:
    """What a person asks for; None is the default.

    Attributes
    ----------
    until : int or None
        End of the week under watch, UTC epoch seconds. None: the last midnight that the payments
        reach.
    reference_until : int or None
        UTC epoch seconds.
    reference_weeks : int or None
        None: 12, or as many as there are.
    """

    until: int | None = None
    reference_until: int | None = None
    reference_weeks: int | None = None


def chosen_weeks(
    event_time: Int64Array,
    asked: Asked,
    *,
    trained: int | None,
    source: str,
    advice: str = "give older payments",
) -> Weeks:
    """Return the weeks.

    Parameters
    ----------
    event_time : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds; only the first and the last of them matter.
    asked : Asked
    trained : int or None
        Ends the reference where nothing else is said, as ``trained_until``.
    source, advice : str
        Name the payments in errors, and what to do where they begin too late.

    Raises
    ------
    DataError
        If the payments do not cover the weeks.
    ConfigurationError
        If the times do not go together.
    """
    until, reference_until = asked.until, asked.reference_until
    reference_weeks = asked.reference_weeks
    if not event_time.size:
        raise DataError(f"{source}: holds no payment, expected those of the weeks to watch")
    first, last = int(event_time.min()), int(event_time.max())
    end = -(-(last - _NIGHT) // DAY) * DAY
    if until is None:
        until = end
    elif until > end:
        raise DataError(
            f"{source}: ends on {time_text(last)}, the week to watch on {time_text(until)} "
            "(--until); give later payments, or an earlier day"
        )
    if reference_until is None:
        reference_until = trained
        if reference_until is not None and reference_until > until - WEEK:
            reference_until = None
    elif reference_until > until - WEEK:
        raise ConfigurationError(
            f"--reference-until {time_text(reference_until)}: lies within the week to watch, which "
            f"begins on {time_text(until - WEEK)}; give that day or an earlier one"
        )
    behind = 1 if reference_until is None else -(-(until - reference_until) // WEEK)
    # A first day that begins within the night is whole, as a last one that ends within it.
    begin = -(-(first - _NIGHT) // DAY) * DAY
    held = (until - begin) // WEEK - behind
    wanted = min(held, USUAL_REFERENCE_WEEKS) if reference_weeks is None else reference_weeks
    least = LEAST_REFERENCE_WEEKS if reference_weeks is None else reference_weeks
    if held < least:
        raise DataError(
            f"{source}: begins on {time_text(first)}, {least} reference weeks on "
            f"{time_text(until - (least + behind) * WEEK)}; {advice}"
            + (
                ", or a later --reference-until"
                if reference_until is not None
                else f", or fewer --reference-weeks (at least {LEAST_REFERENCE_WEEKS})"
            )
        )
    if wanted + behind > MOST_WEEKS:
        raise ConfigurationError(
            f"the reference begins {wanted + behind} weeks before {time_text(until)}, expected at "
            f"most {MOST_WEEKS}; give a later --reference-until"
        )
    return Weeks.ending(until, reference_until=reference_until, n_reference=wanted)


def trained_until(contract: DataContract) -> int | None:
    """Return the last time that the model's training knew of, UTC epoch seconds; None: any."""
    return contract.judge_until or contract.select_until or contract.train_until


def usual_alert_score(event_time: Int64Array, margins: Float32Array, weeks: Weeks) -> float:
    """Return the score that one in 200 payments of the reference reaches.

    Parameters
    ----------
    event_time : ndarray of shape (n_rows,), dtype=int64
    margins : ndarray of shape (n_rows,), dtype=float32
    weeks : Weeks
    """
    inside = (event_time >= weeks.start) & (event_time < weeks.reference_stop)
    ordered = np.sort(margins[inside])
    at = max(ordered.size - max(ordered.size // PAYMENTS_PER_ALERT, 1), 0)
    logit = float(ordered[at]) if ordered.size else 0.0
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))
