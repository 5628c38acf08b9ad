"""What to do about alarms: mend a feed, look closer, or retrain, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fraudfed.evaluation.drift.alarm import FAULTS, Alarm, Subject

#: PSI from which on a distribution has shifted (Siddiqi 2006, as ``stability``).
SHIFTED: Final = 0.25


@dataclass(frozen=True)
class Suggestion:
    """What to do.

    Attributes
    ----------
    action : {"nothing", "mend", "look", "retrain"}
        The most urgent. A fault is mended before anything else: a model that is trained on broken
        columns learns that they are broken.
    causes : tuple of str
        In plain words; those of "retrain" name kinds of fraud where these are the cause.
    """

    action: Literal["nothing", "mend", "look", "retrain"]
    causes: tuple[str, ...]


def suggestion(alarms: Sequence[Alarm]) -> Suggestion:
    """Say what to do about alarms.

    Rules: a fault of a feed, or a channel whose payments fell away, is mended. Without one: a
    kind of fraud that has grown, alerts that find less, and scores or features whose PSI is
    ``SHIFTED`` or more are reasons to retrain. All else is looked at.
    """
    if not alarms:
        return Suggestion("nothing", ())
    faults = [alarm for alarm in alarms if _is_fault(alarm)]
    if faults:
        return Suggestion("mend", tuple(dict.fromkeys(alarm.text for alarm in faults)))
    reasons = [alarm for alarm in alarms if _asks_for_retraining(alarm)]
    if reasons:
        return Suggestion("retrain", tuple(dict.fromkeys(alarm.text for alarm in reasons)))
    return Suggestion("look", tuple(dict.fromkeys(alarm.text for alarm in alarms)))


def _is_fault(alarm: Alarm) -> bool:
    fell = alarm.subject is Subject.VOLUME and alarm.found < alarm.expected
    return alarm.subject in FAULTS or fell


def _asks_for_retraining(alarm: Alarm) -> bool:
    if alarm.subject in (Subject.SCORES, Subject.FEATURE):
        return alarm.found >= SHIFTED
    return alarm.subject in (Subject.KIND, Subject.PRECISION, Subject.FOUND)
