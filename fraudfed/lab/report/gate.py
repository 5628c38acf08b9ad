"""What a bank's gate says of the shared model, from the scores that a demo has at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.gate.decision import MIN_CASES, Verdict, gate_of
from fraudfed.lab.report.facts import Interval

_WORDS: Final[Mapping[Verdict, str]] = {
    Verdict.ADOPT: "adopt",
    Verdict.KEEP: "keep your own",
    Verdict.UNDECIDED: "undecided",
}


@dataclass(frozen=True)
class GateAnswer:
    """One bank's answer: the model with all that is shared against the bank's own.

    Attributes
    ----------
    verdict : Verdict
    cases, alerts : int
        Of the judge window: cases of fraud, and the alert budget, one payment in 200.
    difference : float
        Case recall of the shared model less that of the bank's own, at that budget.
    interval : Interval
        Of one-sided bounds, each at 95 %: the ones that decide.
    only_shared, only_own : int
        Cases that one of the two finds alone.
    cases_to_adopt : int or None
        How many cases would tell a difference of this size; None where it is none.
    """

    verdict: Verdict
    cases: int
    alerts: int
    difference: float
    interval: Interval
    only_shared: int
    only_own: int
    cases_to_adopt: int | None

    @property
    def words(self) -> str:
        """The verdict as people say it."""
        return _WORDS[self.verdict]

    @property
    def reason(self) -> str:
        """Why it is undecided, or nothing."""
        if self.verdict is not Verdict.UNDECIDED:
            return ""
        if self.cases < MIN_CASES:
            return f"{self.cases} cases, and fewer than {MIN_CASES} decide nothing"
        if self.cases_to_adopt is None:
            return "the shared model finds no more, and may find fewer"
        return f"about {self.cases_to_adopt:,} cases would tell such a difference"


def ask_gate(
    shared: Float32Array | None, own: Float32Array | None, outcomes: Outcomes, *, seed: int
) -> GateAnswer | None:
    """Ask the gate as a bank does that has declared neither budget nor margin.

    Parameters
    ----------
    shared, own : ndarray of shape (n_rows,), dtype=float32, or None
        Scores of the judge window.
    outcomes : Outcomes
        Of the same rows.
    seed : int
        Of the bootstrap.

    Returns
    -------
    GateAnswer or None
        None without one of the models, or of rows of one class.
    """
    labels = outcomes.labels
    if shared is None or own is None or not ((labels == 1).any() and (labels == 0).any()):
        return None
    found = gate_of(shared, own, outcomes, generator=np.random.default_rng(seed))
    return GateAnswer(
        verdict=found.verdict,
        cases=found.n_cases,
        alerts=found.n_alerts,
        difference=found.difference.estimate,
        interval=Interval(found.difference.lower, found.difference.upper),
        only_shared=found.only_shared,
        only_own=found.only_own,
        cases_to_adopt=found.cases_to_adopt,
    )
