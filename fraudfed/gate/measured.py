"""What one scoring of a judge window reaches: named numbers, of all payments or of a group."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.evaluation.cases import Cases
from fraudfed.evaluation.metrics import auc, auprc, recall_at_fpr
from fraudfed.evaluation.outcomes import Outcomes


@dataclass(frozen=True)
class Group:
    """Payments with one value of a cell, as a channel or a kind of fraud.

    Attributes
    ----------
    name : str
        Of ``Outcomes.cells``.
    position : int
        Of the value, in the group's public list.
    """

    name: str
    position: int


@dataclass(frozen=True, eq=False)
class MeasuredScoring:
    """A scoring of payments whose labels are known, with alerts on some of them.

    Attributes
    ----------
    scores : ndarray of shape (n_rows,), dtype=float32
    is_alerted : ndarray of shape (n_rows,), dtype=bool
        From a threshold of the whole window, also where only a group is measured.
    outcomes : Outcomes
        Without censored payments.
    cases : Cases
        Those that are measured, with all of their payments.
    rows : ndarray of shape (n_measured,), dtype=int64
        The payments that are measured.
    """

    scores: Float32Array
    is_alerted: BoolArray
    outcomes: Outcomes
    cases: Cases
    rows: Int64Array

    @classmethod
    def of(cls, scores: Float32Array, outcomes: Outcomes, threshold: float) -> "MeasuredScoring":
        """Measure alerts at or above a threshold; censored payments are left out."""
        known = ~outcomes.is_censored
        kept = outcomes.take(known)
        scores = scores[known]
        rows = np.arange(scores.size, dtype=np.int64)
        return cls(scores, scores >= threshold, kept, Cases.of(kept), rows)

    def of_group(self, group: Group) -> "MeasuredScoring":
        """Return the part of a group: its payments, and the cases whose first payment is in it.

        A case is found by any of its payments, in the group or not, as in the pooled metrics. A
        kind of fraud is nothing that clean payments have: all of them are in its group.
        """
        places = self.outcomes.cells.get(group.name)
        if places is None:
            inside = np.zeros(self.outcomes.n_rows, dtype=np.bool_)
        else:
            inside = places == group.position
        measured = inside
        if group.name == "fraud_kind":
            measured = inside | (self.outcomes.labels == 0)
        return replace(
            self, cases=_begun_in(self.cases, inside), rows=self.rows[measured[self.rows]]
        )

    def value(self, metric: str) -> float | None:
        """Return a metric of ``METRICS``, or None where these payments have none."""
        return METRICS[metric].of(self)

    @property
    def measured(self) -> tuple[Float32Array, Float32Array]:
        """Scores and labels of the payments that are measured; shapes (n_measured,)."""
        return self.scores[self.rows], self.outcomes.labels[self.rows]

    @cached_property
    def found(self) -> Int64Array:
        """What alerts find, as ``Cases.at``."""
        return self.cases.at(self.is_alerted)


def _begun_in(cases: Cases, inside: BoolArray) -> Cases:
    """Return the cases whose first payment lies inside."""
    if not cases.n_cases:
        return cases
    case_of = np.repeat(np.arange(cases.n_cases), np.diff(np.append(cases.starts, cases.rows.size)))
    begun = inside[cases.rows[cases.starts]]
    kept = begun[case_of]
    return replace(
        cases,
        rows=cases.rows[kept],
        starts=np.flatnonzero(np.diff(case_of[kept], prepend=-1)).astype(np.int64),
        is_first_seen=cases.is_first_seen[begun],
        amounts=cases.amounts[kept],
    )


def _share(
    position: int, whole: Callable[[Cases], int]
) -> Callable[[MeasuredScoring], float | None]:
    """Return a metric: a number of ``Cases.at`` as a share of something of all cases."""

    def of(scoring: MeasuredScoring) -> float | None:
        total = whole(scoring.cases)
        return float(scoring.found[position]) / total if total else None

    return of


def _precision(scoring: MeasuredScoring) -> float | None:
    alerts = scoring.rows[scoring.is_alerted[scoring.rows]]
    hits = np.count_nonzero(scoring.outcomes.labels[alerts] == 1)
    return hits / alerts.size if alerts.size else None


@dataclass(frozen=True)
class Metric:
    """A number that a scoring reaches, higher is better.

    Attributes
    ----------
    meaning : str
    of : callable
        From a ``MeasuredScoring`` to the number, or to None where there is none.
    """

    meaning: str
    of: Callable[[MeasuredScoring], float | None]


#: All of them by name, as ``fraudfed.evaluation.report`` calls them.
METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "case_recall": Metric(
            "share of cases of which a payment is alerted on",
            _share(0, lambda cases: cases.n_cases),
        ),
        "first_seen_case_recall": Metric(
            "the same of cases that nothing reported led to",
            _share(1, lambda cases: cases.n_first_seen),
        ),
        "case_value_recall": Metric(
            "amounts of the cases found, as a share of all fraud",
            _share(3, lambda cases: cases.value),
        ),
        "value_recall": Metric(
            "amounts of the frauds alerted on, as a share of all fraud",
            _share(2, lambda cases: cases.value),
        ),
        "saved_from_alert": Metric(
            "amounts from each case's first alert on, as a share of all fraud",
            _share(4, lambda cases: cases.value),
        ),
        "saved_after_alert": Metric(
            "amounts after each case's first alert, as a share of all fraud",
            _share(5, lambda cases: cases.value),
        ),
        "precision": Metric("share of frauds among the alerts", _precision),
        "auprc": Metric(
            "average precision over payments",
            lambda scoring: auprc(*scoring.measured),
        ),
        "auc": Metric(
            "area under the ROC curve",
            lambda scoring: auc(*scoring.measured),
        ),
        "recall_at_1pct_fpr": Metric(
            "share of frauds found at one per cent of false positives",
            lambda scoring: recall_at_fpr(*scoring.measured, max_fpr=0.01),
        ),
    }
)
