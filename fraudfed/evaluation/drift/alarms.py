"""Which differences are alarms: a bound on false ones over everything that is looked at.

One look makes hundreds of comparisons, and chance makes some of them look large. A look has the
probability ``FALSE_ALARMS`` of one false alarm or more, and each comparison has a share of it:
its p-value must be below the share (weighted Bonferroni; C. R. Genovese, K. Roeder, L. Wasserman,
"False discovery control with p-value weighting", Biometrika 93(3), 2006, section 2). Half goes to
the few comparisons over all payments, where a whole bank's drift shows; half to those by channel,
column and kind of fraud, where a fault of one feed is so large that its part is enough. The bound
holds however the comparisons depend on each other. On top of it a difference has to matter
(``series``): with a million payments the smallest change is beyond chance.

A silent hour stands outside the bound: it needs no statistics where every reference week had
``LEAST_IN_HOUR`` payments or more in that hour, and this week has none.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.drift.alarm import Alarm, Scale, Subject
from fraudfed.evaluation.drift.rows import HOUR, MONITORED_CHANNELS, MONITORED_KINDS, WEEK
from fraudfed.evaluation.drift.series import (
    Candidate,
    Enough,
    quantile_candidate,
    share_candidate,
    stability_candidate,
    volume_candidate,
)
from fraudfed.evaluation.drift.watch import Watch

#: Probability that a look at weeks without drift gives an alarm: one look in a hundred.
FALSE_ALARMS: Final = 0.01
#: Payments that an hour had in every reference week.
LEAST_IN_HOUR: Final = 50

_MISSING: Final = Enough(points=0.05)
_UNKNOWN: Final = Enough(points=0.01, only_up=True)
_FALLBACK: Final = Enough(points=0.01, only_up=True)
_ALERTS: Final = Enough(ratio=1.5)
_PREVALENCE: Final = Enough(ratio=2.0)
_KIND: Final = Enough(ratio=2.0, only_up=True)
_WORSE: Final = Enough(points=0.2, ratio=1.5, only_down=True)
#: Alerts, or reported frauds, of a week from which on a share of them says something.
_LEAST_FRAUDS: Final = 10


def alarms_of(watch: Watch, *, fair_from: int | None = None) -> tuple[Alarm, ...]:
    """Compare the last week with the reference.

    Parameters
    ----------
    watch : Watch
    fair_from : int or None
        Weeks before this time, UTC epoch seconds, were trained on: the model's alerts among their
        frauds are better than life, and are compared with nothing. None: no week was.

    Returns
    -------
    tuple of Alarm
        In the order in which they are to be read.
    """
    overall = [each for each in _overall(watch, fair_from) if each is not None]
    detailed = [each for each in _detailed(watch) if each is not None]
    found = list(_silences(watch))
    for family in (overall, detailed):
        share = FALSE_ALARMS / 2 / max(len(family), 1)
        found += [each.alarm for each in family if each.matters and _p(each.alarm) <= share]
    return tuple(sorted(found, key=lambda alarm: alarm.order))


def _p(alarm: Alarm) -> float:
    return 1.0 if alarm.p is None else alarm.p


def _blank(
    subject: Subject,
    scale: Scale = "week",
    *,
    channel: str | None = None,
    feature: str | None = None,
    fraud_kind: str | None = None,
) -> Alarm:
    return Alarm(subject, scale, 0.0, 0.0, None, channel, feature, fraud_kind)


def _overall(watch: Watch, fair_from: int | None) -> Iterator[Candidate | None]:
    n = watch.weeks.n_reference
    payments, alerts, fallbacks = watch.totals.counts[:, -1].T
    scores = watch.by_week(watch.scores.counts).sum(axis=1)
    frauds = watch.frauds.counts.sum(axis=1)[:, 0]
    yield volume_candidate(_blank(Subject.VOLUME), payments, n_reference=n)
    yield share_candidate(_blank(Subject.ALERTS), alerts, payments, _ALERTS, n_reference=n)
    yield share_candidate(_blank(Subject.FALLBACK), fallbacks, payments, _FALLBACK, n_reference=n)
    yield quantile_candidate(_blank(Subject.HIGH_SCORES), scores, n_reference=n)
    yield stability_candidate(_blank(Subject.SCORES), scores, n_reference=n, n_apart=0)
    yield share_candidate(
        _blank(Subject.PREVALENCE), frauds[:, 0], payments, _PREVALENCE, n_reference=n
    )
    # A reference week counts here only if the model had not seen it.
    seen = 0
    if fair_from is not None:
        seen = min(max(-(-(fair_from - watch.weeks.start) // WEEK), 0), n)
    for subject, parts, wholes in (
        (Subject.PRECISION, frauds[:, 1], alerts),
        (Subject.FOUND, frauds[:, 1], frauds[:, 0]),
    ):
        yield share_candidate(
            _blank(subject),
            parts[seen:],
            wholes[seen:],
            _WORSE,
            n_reference=n - seen,
            least_whole=_LEAST_FRAUDS,
        )


def _detailed(watch: Watch) -> Iterator[Candidate | None]:
    n = watch.weeks.n_reference
    week = watch.by_week
    for at, feature in enumerate(watch.features):
        yield stability_candidate(
            _blank(Subject.FEATURE, feature=feature.name),
            watch.by_feature.of(at),
            n_reference=n,
            n_apart=2,
        )
    payments = watch.totals.counts[:, -1, 0]
    frauds = watch.frauds.counts[:, :, 0, 0]
    for at, kind in enumerate(MONITORED_KINDS):
        yield share_candidate(
            _blank(Subject.KIND, fraud_kind=kind), frauds[:, at], payments, _KIND, n_reference=n
        )
    scores = week(watch.scores.counts)
    for at, channel in enumerate(MONITORED_CHANNELS):
        yield quantile_candidate(
            _blank(Subject.HIGH_SCORES, channel=channel), scores[:, at], n_reference=n
        )
    day = watch.by_last_day
    yield from _without_labels(watch, watch.totals.counts, week(watch.absences.counts), "week")
    yield from _without_labels(watch, day(watch.traffic.counts), day(watch.absences.counts), "day")


def _without_labels(
    watch: Watch, traffic: Int64Array, absences: Int64Array, scale: Scale
) -> Iterator[Candidate | None]:
    n = watch.weeks.n_reference
    for at, channel in enumerate(MONITORED_CHANNELS):
        payments, alerts, fallbacks = traffic[:, at].T
        if not payments[:n].any():
            continue
        yield volume_candidate(
            _blank(Subject.VOLUME, scale, channel=channel), payments, n_reference=n
        )
        yield share_candidate(
            _blank(Subject.FALLBACK, scale, channel=channel),
            fallbacks,
            payments,
            _FALLBACK,
            n_reference=n,
        )
        if scale == "week":
            yield share_candidate(
                _blank(Subject.ALERTS, channel=channel), alerts, payments, _ALERTS, n_reference=n
            )
        for column, feature in enumerate(watch.features):
            kinds = [(Subject.MISSING, 0, _MISSING)]
            if feature.categories is not None:
                kinds.append((Subject.UNKNOWN, 1, _UNKNOWN))
            for subject, kind, enough in kinds:
                yield share_candidate(
                    _blank(subject, scale, channel=channel, feature=feature.name),
                    absences[:, at, column, kind],
                    payments - fallbacks,
                    enough,
                    n_reference=n,
                )


def _silences(watch: Watch) -> Iterator[Alarm]:
    """Yield the silent hours of the last week by channel, neighbours as one."""
    if watch.slot_seconds != HOUR:
        return
    weeks = watch.weeks
    payments = watch.traffic.counts[..., 0].reshape(weeks.n_weeks, watch.slots_per_week, -1)
    usual = payments[: weeks.n_reference].min(axis=0)
    silent = (usual >= LEAST_IN_HOUR) & (payments[-1] == 0)
    for at, channel in enumerate(MONITORED_CHANNELS):
        hours = np.flatnonzero(silent[:, at])
        for hour in hours[np.diff(hours, prepend=-2) > 1].tolist():
            mean = float(payments[: weeks.n_reference, hour, at].mean())
            start = weeks.stop - WEEK + hour * HOUR
            yield Alarm(Subject.SILENCE, "hour", mean, 0.0, None, channel=channel, hour=start)
