"""How long after the payment frauds are reported, and how complete the labels are by then.

The estimate is ``fraudfed.evaluation.reporting_delay``. It never leaves the bank.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.evaluation.reporting_delay import LEAST_FRAUDS, reporting_delay
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.wire.messages import LabelHorizon

#: Ages at which people look: a day to the thirteen months of card schemes' longest disputes.
HORIZON_DAYS: Final = (1, 3, 7, 14, 30, 60, 90, 180, 395)
#: Share of the frauds that a label horizon should wait for.
ENOUGH: Final = 0.95


@dataclass(frozen=True)
class CurvePoint:
    """One age of a payment.

    Attributes
    ----------
    days : int
    reported : float or None
        Share of the frauds that are reported by that age, of those that are reported within the
        window; None beyond it.
    frauds_old_enough : int
        Known frauds whose payment is at least so old at the end of the file.
    complete : float or None
        Share of the frauds among payments of at least that age that are known at the end of the
        file, by estimate; None if there are none.
    """

    days: int
    reported: float | None
    frauds_old_enough: int
    complete: float | None


@dataclass(frozen=True)
class ReportingCurve:
    """Reporting delays of one bank's frauds. Never leaves the bank.

    Attributes
    ----------
    frauds : int
        Known frauds.
    end : int
        End of the file: its latest payment or report, UTC epoch seconds.
    window_days : float or None
        The longest delay that is looked at; None with too few frauds.
    points : tuple of CurvePoint
        Empty with too few frauds.
    enough_days : int or None
        The least whole number of days by which ``ENOUGH`` of the frauds are reported.
    one_delay_seconds : int or None
        The delay, if all frauds have the same: then it is an assumption of a mapping.
    """

    frauds: int
    end: int
    window_days: float | None
    points: tuple[CurvePoint, ...]
    enough_days: int | None
    one_delay_seconds: int | None

    def reported_by(self, seconds: int) -> float | None:
        """Return the share that is reported by the last point at or before an age."""
        days = seconds / SECONDS_PER_DAY
        known = [p.reported for p in self.points if p.days <= days and p.reported is not None]
        return known[-1] if known else None


def reporting_curve(event_time: Int64Array, label_time: Int64Array, *, end: int) -> ReportingCurve:
    """Estimate how long after the payment frauds are reported.

    Parameters
    ----------
    event_time, label_time : ndarray of shape (n_frauds,), dtype=int64
        Of the frauds: payment and report, UTC epoch seconds.
    end : int
        Time up to which the file knows reports, UTC epoch seconds.
    """
    delays, ages = label_time - event_time, end - event_time
    count = int(delays.size)
    same = int(delays[0]) if count and (delays == delays[0]).all() else None
    found = reporting_delay(event_time, label_time, end=end)
    if found is None:
        return ReportingCurve(count, end, None, (), None, same)
    window, steps, shares = found.window, found.steps, found.shares
    points = []
    for days in HORIZON_DAYS:
        seconds = days * SECONDS_PER_DAY
        old = ages >= seconds
        points.append(
            CurvePoint(
                days=days,
                reported=float(found.at(np.array([seconds]))[0][0]) if seconds <= window else None,
                frauds_old_enough=int(np.count_nonzero(old)),
                complete=_complete(found.at(ages[old])[0]),
            )
        )
    enough = None
    if steps.size:
        enough = math.ceil(int(steps[int(np.argmax(shares >= ENOUGH))]) / SECONDS_PER_DAY)
    return ReportingCurve(count, end, window / SECONDS_PER_DAY, tuple(points), enough, same)


def _complete(shares: Float64Array) -> float | None:
    """Return the known share of frauds, each of which was to be known with some probability.

    A fraud that is known with probability p stands for 1/p frauds (D. G. Horvitz, D. J. Thompson,
    "A generalization of sampling without replacement from a finite universe", Journal of the
    American Statistical Association 47 (260), 1952).
    """
    known = shares[shares > 0]
    return float(known.size / np.sum(1.0 / known)) if known.size else None


def channel_curves(
    event_time: Int64Array,
    label_time: Int64Array,
    channels: Sequence[str | None] | None,
    *,
    end: int,
    horizon: LabelHorizon,
) -> dict[str | None, ReportingCurve]:
    """Return the curve of each channel with a horizon of its own; under None that of all others.

    Parameters
    ----------
    event_time, label_time, end
        As ``reporting_curve``.
    channels : sequence of length n_frauds of str or None; or None
        None where nobody knows them: then one curve is of all.
    horizon : LabelHorizon
    """
    own = list(horizon.by_channel) if channels is not None else []
    named = np.array([name if name in own else "" for name in channels or ()], dtype=object)
    found: dict[str | None, ReportingCurve] = {}
    for channel in (None, *own):
        chosen = slice(None) if channels is None else named == (channel or "")
        found[channel] = reporting_curve(event_time[chosen], label_time[chosen], end=end)
    return found


def curve_lines(
    curve: ReportingCurve,
    *,
    horizon: LabelHorizon,
    by_channel: Mapping[str | None, ReportingCurve] | None = None,
) -> list[str]:
    """Say in sentences what a curve means for a label horizon; the points stand in a table.

    Parameters
    ----------
    curve : ReportingCurve
        Of all frauds.
    horizon : LabelHorizon
        Of the run's contract.
    by_channel : mapping of str or None to ReportingCurve, or None
        As ``channel_curves`` returns them; None: the curve of all is compared.
    """
    if curve.window_days is None:
        return [
            f"{curve.frauds} known frauds are too few for a reporting curve, expected at least "
            f"{LEAST_FRAUDS}."
        ]
    if curve.one_delay_seconds is not None:
        return [
            f"Every fraud is reported {curve.one_delay_seconds / SECONDS_PER_DAY:g} days after its "
            "payment: that is an assumption, not a record; give the real label_time."
        ]
    lines = [
        f"{curve.frauds:,} frauds are known. Shares are of the frauds that are reported within "
        f"{curve.window_days:.0f} days; this file does not tell of later ones.",
        f"A label horizon of {curve.enough_days} days waits for {ENOUGH:.0%} of them.",
    ]
    for channel, one in (by_channel or {None: curve}).items():
        days = horizon.seconds_of(channel) // SECONDS_PER_DAY
        if one.enough_days is None or days >= one.enough_days:
            continue
        by_then = one.reported_by(days * SECONDS_PER_DAY)
        share = "too few to say" if by_then is None else f"about {by_then:.0%} or more"
        of = "" if channel is None else f" for {channel}"
        waits = "" if channel is None else f" ({one.enough_days} days wait for {ENOUGH:.0%})"
        lines.append(
            f"The run's label horizon{of} is {days} days; by then {share} are reported{waits}: the "
            "last payments that are trained on, and judged by, have frauds labelled as clean."
        )
    return lines
