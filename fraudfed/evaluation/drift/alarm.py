"""An alarm: what is not as it was, how sure that is, and in which words it is told."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias

#: Of the whole week under watch, of its last day, or of one of its hours.
Scale: TypeAlias = Literal["week", "day", "hour"]


class Subject(StrEnum):
    """What can drift."""

    SILENCE = "silence"
    """No payment in an hour that always has many."""
    VOLUME = "volume"
    """Payments."""
    MISSING = "missing"
    """Values of a column that are not there."""
    UNKNOWN = "unknown"
    """Values of a column that are none of its categories."""
    FALLBACK = "fallback"
    """Payments that something else than the whole model scored."""
    ALERTS = "alerts"
    """Payments that were alerted on."""
    HIGH_SCORES = "high-scores"
    """The 99.5th percentile of the score, on the logit."""
    SCORES = "scores"
    """The distribution of the score (PSI)."""
    FEATURE = "feature"
    """The distribution of a feature (PSI)."""
    PREVALENCE = "prevalence"
    """Reported frauds among payments, as known at the end of each week."""
    KIND = "kind"
    """Reported frauds of one kind among payments."""
    PRECISION = "precision"
    """Reported frauds among alerts."""
    FOUND = "found"
    """Alerts among reported frauds."""


#: Faults of what feeds the model: no model is retrained on them.
FAULTS: Final = frozenset({Subject.SILENCE, Subject.MISSING, Subject.UNKNOWN, Subject.FALLBACK})
#: The order in which alarms are told: what is broken first, then what costs money, then the rest.
_ORDER: Final = {
    subject: place
    for place, subject in enumerate(
        (
            Subject.SILENCE,
            Subject.MISSING,
            Subject.UNKNOWN,
            Subject.FALLBACK,
            Subject.VOLUME,
            Subject.KIND,
            Subject.FOUND,
            Subject.PRECISION,
            Subject.PREVALENCE,
            Subject.SCORES,
            Subject.HIGH_SCORES,
            Subject.ALERTS,
            Subject.FEATURE,
        )
    )
}


@dataclass(frozen=True)
class Alarm:
    """Something that differs by more than chance, and by enough to matter.

    Attributes
    ----------
    subject : Subject
    scale : Scale
    expected, found : float
        Shares from 0 to 1, numbers of payments, logits, or PSI of a usual and of this week.
    p : float or None
        How often chance is as far off (``prediction``); None of a silence.
    channel, feature, fraud_kind : str or None
        None: over all of them, or it is not about such a thing.
    hour : int or None
        First second of the hour, UTC epoch seconds.
    """

    subject: Subject
    scale: Scale
    expected: float
    found: float
    p: float | None
    channel: str | None = None
    feature: str | None = None
    fraud_kind: str | None = None
    hour: int | None = None

    @property
    def order(self) -> tuple[int, float, str]:
        """Sorts alarms: by what they are about, then the surest first."""
        return _ORDER[self.subject], self.p or 0.0, self.text

    @property
    def text(self) -> str:
        """The alarm in plain words."""
        return f"{self._what()} {self._change()}{self._where()}"

    def _where(self) -> str:
        period = {"week": "this week", "day": "on the last day", "hour": "in one hour"}[self.scale]
        return f", {period}" if self.channel is None else f", {period}, channel {self.channel}"

    def _what(self) -> str:
        return {
            Subject.SILENCE: "no payment came",
            Subject.VOLUME: "payments",
            Subject.MISSING: f"{self.feature} is missing in",
            Subject.UNKNOWN: f"{self.feature} has a value that the model does not know in",
            Subject.FALLBACK: "scored by a fallback:",
            Subject.ALERTS: "alerts:",
            Subject.HIGH_SCORES: "the highest scores (99.5th percentile, logit):",
            Subject.SCORES: "scores are distributed otherwise: PSI",
            Subject.FEATURE: f"{self.feature} is distributed otherwise: PSI",
            Subject.PREVALENCE: "reported frauds:",
            Subject.KIND: f"frauds of kind {self.fraud_kind}:",
            Subject.PRECISION: "frauds among alerts:",
            Subject.FOUND: "reported frauds that were alerted on:"
            if self.fraud_kind is None
            else f"frauds of kind {self.fraud_kind} that were alerted on:",
        }[self.subject]

    def _change(self) -> str:
        if self.subject is Subject.SILENCE:
            return f"where {self.expected:,.0f} are usual"
        if self.subject is Subject.VOLUME:
            return (
                f"fell from {self.expected:,.0f} to {self.found:,.0f}"
                if (self.found < self.expected)
                else f"rose from {self.expected:,.0f} to {self.found:,.0f}"
            )
        if self.subject in (Subject.SCORES, Subject.FEATURE):
            return f"{self.found:.2f} (usual: {self.expected:.2f})"
        if self.subject is Subject.HIGH_SCORES:
            return f"{self.found:+.2f} (usual: {self.expected:+.2f})"
        return f"{percent(self.found)} (usual: {percent(self.expected)})"


def percent(share: float) -> str:
    """Return a share with two digits that matter, ``0.21 %`` and ``38 %``."""
    hundreds = 100 * share
    return f"{hundreds:.0f} %" if hundreds >= 10 else f"{hundreds:.2g} %"
