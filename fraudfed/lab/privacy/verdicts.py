"""What banks' gates say of a private model, held to rows that the gate has not seen.

Half of a bank's customers, with all their payments, are the gate's; the other half is the truth.
A bank that is undecided keeps its own model. Its own model is the better one of those that it has
with and without shared risk, by the gate's rows: the choice favours what the bank has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.gate.alerts import RankedFrauds, alert_budget
from fraudfed.gate.bootstrap import measure
from fraudfed.gate.cases import JudgedCases
from fraudfed.gate.decision import DEFAULT_MARGIN, Verdict, gate_of


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of all banks on all repeats.

    Attributes
    ----------
    adopt, keep, undecided : int
    adopted_worse : int
        Adopted, and worse than the bank's own by more than the margin on the other half.
    adopted_gain : float or None
        Mean difference of case recall on the other half, where it was adopted.
    """

    adopt: int = 0
    keep: int = 0
    undecided: int = 0
    adopted_worse: int = 0
    adopted_gain: float | None = None


def ask_banks(
    scorings: Mapping[str, Sequence[Float32Array]],
    own: Mapping[bool, Mapping[str, Float32Array]],
    outcomes: Mapping[str, Outcomes],
    *,
    seed: int,
) -> Verdicts:
    """Ask every bank's gate of every repeat.

    Parameters
    ----------
    scorings : mapping of bank to sequence of ndarray of shape (n_rows,), dtype=float32
        What each repeat says of the bank's rows.
    own : mapping of bool to (mapping of bank to ndarray of shape (n_rows,))
        The bank's own models, with and without shared risk; none is asked of without any.
    outcomes : mapping of bank to Outcomes
    seed : int
        Of the bootstrap.
    """
    counts = dict.fromkeys(Verdict, 0)
    gains: list[float] = []
    for bank, repeats in scorings.items():
        halves = _halves(outcomes[bank])
        if not own or halves is None:
            continue
        seen, hidden = halves
        mine = max(
            (scores[bank] for scores in own.values()),
            key=lambda scores: _case_recall(scores[seen], outcomes[bank].take(seen)),
        )
        for scores in repeats:
            verdict = gate_of(
                scores[seen],
                mine[seen],
                outcomes[bank].take(seen),
                generator=np.random.default_rng(seed),
                n_resamples=1000,
            ).verdict
            counts[verdict] += 1
            if verdict is Verdict.ADOPT:
                truth = outcomes[bank].take(hidden)
                gains.append(
                    _case_recall(scores[hidden], truth) - _case_recall(mine[hidden], truth)
                )
    return Verdicts(
        adopt=counts[Verdict.ADOPT],
        keep=counts[Verdict.KEEP],
        undecided=counts[Verdict.UNDECIDED],
        adopted_worse=sum(gain < -DEFAULT_MARGIN for gain in gains),
        adopted_gain=float(np.mean(gains)) if gains else None,
    )


def _halves(outcomes: Outcomes) -> tuple[Int64Array, Int64Array] | None:
    """Divide rows by customer; None where a half has rows of one class only."""
    customers = outcomes.customers
    if customers is None:
        customers = np.arange(outcomes.n_rows, dtype=np.int64)
    halves = [np.flatnonzero(customers % 2 == part).astype(np.int64) for part in (0, 1)]
    for half in halves:
        labels = outcomes.labels[half]
        if not ((labels == 1).any() and (labels == 0).any()):
            return None
    return halves[0], halves[1]


def _case_recall(scores: Float32Array, outcomes: Outcomes) -> float:
    cases = JudgedCases.of(outcomes)
    once = np.ones((1, cases.n_cases), np.int64), np.ones((1, cases.n_days), np.int64)
    found = measure(RankedFrauds.of(scores, cases), cases, alert_budget(cases, None), *once)
    return float(found.case_recall[0])
