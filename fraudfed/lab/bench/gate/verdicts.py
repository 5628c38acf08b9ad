"""What the gate says from a few weeks of a world, held to what all its other weeks say.

Weeks are dealt at random into those that the gate sees and those that are the truth, so that both
are of the same mixture of tactics. What changes after a judge window is not the gate's to know, and
is not tried here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.errors import DataError
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.gate.alerts import alert_budget
from fraudfed.gate.bootstrap import bootstrap
from fraudfed.gate.cases import JudgedCases
from fraudfed.gate.decision import Verdict, gate_of
from fraudfed.lab.bench.gate.models import BankTrial

_WEEK_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class Trial:
    """One verdict.

    Attributes
    ----------
    preset, bank, verdict : str
    seed : int
        Of the world.
    cases : int
        That the gate saw.
    estimate, lower, upper : float
        Of the difference of case recall, shared less own.
    truth : float
        The difference over all other weeks.
    truth_cases, truth_frauds : int
        In those weeks.
    truth_error : float
        Standard error of ``truth``.
    """

    preset: str
    seed: int
    bank: str
    cases: int
    verdict: str
    estimate: float
    lower: float
    upper: float
    truth: float
    truth_cases: int
    truth_frauds: int
    truth_error: float

    @property
    def loss(self) -> float:
        """Case recall that the bank gives away by doing what the gate says.

        An undecided bank keeps its own model.
        """
        chosen = self.truth if self.verdict == Verdict.ADOPT else 0.0
        return max(self.truth, 0.0) - chosen


def verdicts_of(
    trial: BankTrial,
    *,
    preset: str,
    seed: int,
    cases: Sequence[int],
    margin: float,
    generator: np.random.Generator,
) -> list[Trial]:
    """Let the gate judge one bank from about so many cases each, and hold it to the truth.

    A number of cases that would take more than half of the weeks is left out.
    """
    outcomes = trial.judge.outcomes
    if outcomes.event_time is None:
        raise ValueError("trials are of payments in time")
    weeks = (outcomes.event_time - outcomes.event_time.min()) // _WEEK_SECONDS
    found: list[Trial] = []
    for wanted in cases:
        order = generator.permutation(int(weeks.max()) + 1)
        seen = _weeks_with(wanted, outcomes, weeks, order)
        if seen is None:
            continue
        try:
            found.append(
                _judged(trial, seen, preset=preset, seed=seed, margin=margin, generator=generator)
            )
        except DataError:
            # A bank without fraud in the weeks of the gate or of the truth.
            continue
    return found


def _judged(
    trial: BankTrial,
    seen: BoolArray,
    *,
    preset: str,
    seed: int,
    margin: float,
    generator: np.random.Generator,
) -> Trial:
    outcomes = trial.judge.outcomes
    decision = gate_of(
        trial.shared[seen],
        trial.own[seen],
        outcomes.take(seen),
        generator=generator,
        alerts_per_day=trial.alerts_per_day,
        margin=margin,
    )
    rest = JudgedCases.of(outcomes.take(~seen))
    truth = bootstrap(
        {"shared": trial.shared[~seen], "own": trial.own[~seen]},
        rest,
        alert_budget(rest, trial.alerts_per_day),
        generator=generator,
        n_resamples=1,
    )
    difference = truth["shared"].found.astype(np.float64) - truth["own"].found
    return Trial(
        preset=preset,
        seed=seed,
        bank=trial.bank,
        cases=decision.n_cases,
        verdict=decision.verdict.value,
        estimate=decision.difference.estimate,
        lower=decision.difference.lower,
        upper=decision.difference.upper,
        truth=float(difference.mean()),
        truth_cases=rest.n_cases,
        truth_frauds=int(rest.frauds.size),
        truth_error=float(difference.std() / np.sqrt(rest.n_cases)),
    )


def _weeks_with(
    wanted: int, outcomes: Outcomes, weeks: Int64Array, order: Int64Array
) -> BoolArray | None:
    """Return the rows of the first weeks that hold so many cases; None if they are most weeks."""
    for count in range(1, order.size // 2 + 1):
        seen: BoolArray = np.isin(weeks, order[:count])
        part = outcomes.take(seen)
        if (part.labels == 1).any() and JudgedCases.of(part).n_cases >= wanted:
            return seen
    return None
