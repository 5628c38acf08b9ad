"""All models of a bank on one judge window: what each reaches, and each against the bank's own.

The shared model is tested as the bank declared, at the whole error of 5 %. Of the models that the
bank has adapted from it none is singled out beforehand: they share another 5 % among them (C. E.
Bonferroni 1936; J. C. Hsu, "Multiple Comparisons", Chapman & Hall 1996, chapter 1), so that the
best of them may be chosen after the test.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.readings import Reading
from fraudfed.gate.alerts import alert_budget, threshold
from fraudfed.gate.bootstrap import N_RESAMPLES, Resampled, bootstrap, percentile_interval
from fraudfed.gate.cases import JudgedCases
from fraudfed.gate.decision import CONFIDENCE, DEFAULT_MARGIN, Decision, Verdict, decide, gate_of
from fraudfed.gate.intervals import Interval, wilson


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a scoring reaches at the alert budget.

    Attributes
    ----------
    case_recall : Interval
    case_value_recall : Interval or None
        Each case weighted by its money.
    auprc : Interval
        Of all scores; no alert has to be chosen for it.
    threshold : float
        Alerts are what scores at or above it; infinite if there are none.
    """

    case_recall: Interval
    case_value_recall: Interval | None
    auprc: Interval
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Models on one judge window.

    Attributes
    ----------
    n_alerts, n_cases, n_days : int
    reached : mapping of str to Reached
        By model.
    decisions : mapping of str to Decision
        Every other model against the bank's own.
    """

    n_alerts: int
    n_cases: int
    n_days: int
    reached: Mapping[str, Reached]
    decisions: Mapping[str, Decision]

    def advised(self, adapted: Collection[str]) -> str | None:
        """Return the adapted model to adopt, or None: of those that passed, the surest gain."""
        passed = [
            (self.decisions[name].difference.lower, self.decisions[name].difference.estimate, name)
            for name in adapted
            if self.decisions[name].verdict is Verdict.ADOPT
        ]
        return max(passed)[2] if passed else None


def compare(
    scorings: Mapping[str, Float32Array],
    outcomes: Outcomes,
    *,
    own: str,
    adapted: Collection[str] = (),
    generator: np.random.Generator,
    alerts_per_day: float | None = None,
    margin: float = DEFAULT_MARGIN,
    n_resamples: int = N_RESAMPLES,
) -> Comparison:
    """Compare scorings of a judge window, on the same resamples.

    Parameters
    ----------
    scorings : mapping of str to ndarray of shape (n_rows,), dtype=float32
        Higher is more suspicious.
    outcomes : Outcomes
    own : str
        The scoring that all others are held against.
    adapted : collection of str
        Scorings that share one error among them.
    generator, alerts_per_day, margin, n_resamples
        As ``gate_of``.

    Raises
    ------
    DataError, ConfigurationError
        As ``gate_of``.
    """
    cases = JudgedCases.of(outcomes)
    n_alerts = alert_budget(cases, alerts_per_day)
    found = bootstrap(scorings, cases, n_alerts, generator=generator, n_resamples=n_resamples)
    known = ~outcomes.is_censored
    shared_confidence = 1 - (1 - CONFIDENCE) / max(1, len(adapted))
    return Comparison(
        n_alerts=n_alerts,
        n_cases=cases.n_cases,
        n_days=cases.n_days,
        reached={
            name: _reached(found[name], threshold(scores[known], n_alerts))
            for name, scores in scorings.items()
        },
        decisions={
            name: decide(
                each,
                found[own],
                n_alerts=n_alerts,
                margin=margin,
                confidence=shared_confidence if name in adapted else CONFIDENCE,
            )
            for name, each in found.items()
            if name != own
        },
    )


def by_reading(
    shared: Float32Array,
    own: Float32Array,
    outcomes: Outcomes,
    *,
    generator: np.random.Generator,
    alerts_per_day: float | None = None,
    margin: float = DEFAULT_MARGIN,
    n_resamples: int = N_RESAMPLES,
) -> dict[Reading, Decision]:
    """Decide again for every other way to read the labels, where some payment was blocked.

    A payment that was blocked and not reported has no label. If a verdict hangs on what is taken
    for it, a person should know.

    Parameters and raises as ``gate_of``. A reading with one class only is left out.
    """
    found: dict[Reading, Decision] = {}
    if not outcomes.is_blocked.any():
        return found
    for reading in Reading:
        labels = reading.labels(outcomes)
        if reading is Reading.KNOWN or not ((labels == 1).any() and (labels == 0).any()):
            continue
        found[reading] = gate_of(
            shared,
            own,
            replace(outcomes, labels=labels),
            generator=generator,
            alerts_per_day=alerts_per_day,
            margin=margin,
            n_resamples=n_resamples,
        )
    return found


def _reached(found: Resampled, at: float) -> Reached:
    hits, n_cases = int(np.count_nonzero(found.found)), found.found.size
    score = wilson(hits, n_cases, confidence=CONFIDENCE)
    value = None
    if found.here.value_recall is not None and found.again.value_recall is not None:
        value = percentile_interval(
            float(found.here.value_recall[0]), found.again.value_recall, confidence=CONFIDENCE
        )
    return Reached(
        case_recall=percentile_interval(
            score.estimate, found.again.case_recall, confidence=CONFIDENCE
        ).widened(score),
        case_value_recall=value,
        auprc=percentile_interval(
            float(found.here.auprc[0]), found.again.auprc, confidence=CONFIDENCE
        ),
        threshold=at,
    )
