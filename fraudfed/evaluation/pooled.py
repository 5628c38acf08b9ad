"""Judge a model by the rows of all banks; every bank runs this and ends with the same report.

Law: the report depends on the pooled rows, not on how they are split over banks, as long as a
customer's and an account's payments stay together (card lists are each bank's own). All that passes
between banks goes through ``Communicator.sum``, in three rounds: how many rows, cases and accounts
there are, which bounds all that follows; scores by public cells; and what public thresholds, found
from those, find. Every value in the report is a formula over these sums.

Groups of payments with fewer than 20 cases of all banks are counted in the first round and then
left out, at every bank alike: what is summed depends on no single bank's counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.boosting.score_cells import coarsened, fine_edge
from fraudfed.communicator import Communicator
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.evaluation.cases import N_FOUND
from fraudfed.evaluation.fairness import share_alerted
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.own_rows import CLEAN, OwnRows
from fraudfed.evaluation.plan import (
    CARDS_PER_DAY,
    FALSE_POSITIVE_RATES,
    FALSE_POSITIVE_RATIOS,
    JudgingPlan,
)
from fraudfed.evaluation.pooled_counts import (
    MOST_OWN_VALUE,
    PooledRows,
    PooledScores,
    SumOfParts,
    count_rows,
    count_scores,
)
from fraudfed.evaluation.readings import Reading, check_outcomes
from fraudfed.evaluation.report import (
    AtBudget,
    AtFalsePositiveRate,
    AtFalsePositiveRatio,
    CardPrecision,
    FirstSeen,
    GroupMetrics,
    PooledReport,
    ReadMetrics,
)
from fraudfed.evaluation.score_histogram import Bounded, RankedCounts, ScoreHistogram
from fraudfed.evaluation.thresholds import (
    AtRatio,
    Between,
    at_budget,
    at_false_positive_rate,
    at_ratio,
    precision_between,
)
from fraudfed.held_sums import hold_judged

_ONE_PER_CENT: Final = 0.01


def check_judged_rows(outcomes: Outcomes) -> None:
    """Check a bank's rows before it joins; raises DataError as ``readings.check_outcomes``."""
    check_outcomes(outcomes, most_value=MOST_OWN_VALUE)


def judge(
    margins: Float32Array,
    outcomes: Outcomes,
    communicator: Communicator,
    *,
    plan: JudgingPlan | None = None,
) -> PooledReport | None:
    """Judge a model's scores by the rows of all banks.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32
        Scores on the logit of this bank's rows; there may be none.
    outcomes : Outcomes
        Of these rows; accepted by ``check_judged_rows``.
    communicator : Communicator
    plan : JudgingPlan or None
        The same at every bank; None is the default one.

    Returns
    -------
    PooledReport or None
        None if no bank has a fraud whose label is known, or none a clean row.

    Raises
    ------
    SumError
        If an opened sum is none of rows.
    FraudFedError
        If a sum fails.
    """
    if margins.shape != outcomes.labels.shape:
        raise DataError(
            f"margins have shape {margins.shape}, expected one for each of {outcomes.n_rows} rows"
        )
    own = OwnRows(margins, outcomes, JudgingPlan() if plan is None else plan)
    counts = count_rows(own, communicator)
    if counts.n_frauds == 0 or counts.n_clean == 0:
        return None
    scores = count_scores(own, counts, communicator)
    return _report(own, counts, scores, communicator)


@dataclass(frozen=True, eq=False)
class _Aims:
    """The thresholds of one reading: two edges for each aim."""

    n_alerts: int
    budget: Between
    rates: tuple[Between, ...]
    ratios: tuple[AtRatio, ...]

    @classmethod
    def of(cls, rows: ScoreHistogram, accounts: Int64Array, plan: JudgingPlan) -> "_Aims":
        n_alerts = plan.budget(rows.n_negatives + rows.n_positives)
        ratios = []
        for ratio in FALSE_POSITIVE_RATIOS:
            at = at_ratio(accounts[0], accounts[1], ratio)
            # Cells of accounts are coarse ones.
            edges = (fine_edge(at.between.strict), fine_edge(at.between.loose))
            ratios.append(AtRatio(Between(*edges, share=at.between.share), at.found))
        return cls(
            n_alerts=n_alerts,
            budget=at_budget(rows, n_alerts),
            rates=tuple(at_false_positive_rate(rows, rate) for rate in FALSE_POSITIVE_RATES),
            ratios=tuple(ratios),
        )

    @property
    def edges(self) -> list[int]:
        """All edges, from the strictest to the loosest."""
        pairs = (self.budget, *self.rates, *(at.between for at in self.ratios))
        return sorted({edge for one in pairs for edge in (one.strict, one.loose)}, reverse=True)


def _report(
    own: OwnRows, counts: PooledRows, scores: PooledScores, communicator: Communicator
) -> PooledReport:
    """Sum what the thresholds find, the third round, and put everything together."""
    rows = {reading: scores.histogram(reading) for reading in counts.read}
    aims = {
        reading: _Aims.of(rows[reading], scores.accounts[reading], own.plan)
        for reading in counts.read
    }
    budget = aims[Reading.KNOWN].budget
    shown = [counts.cell(index) for index in counts.shown]
    of_shown = counts.cells[list(counts.shown), 2]
    parts = SumOfParts()
    for reading in counts.read:
        cases, first, _, _, value = counts.of(reading)
        most = np.array([cases, first, value, value, value, value])
        parts.add(own.found(reading, aims[reading].edges), most)
    for edge in (budget.strict, budget.loose):
        parts.add(own.group_cases_found(shown, edge), of_shown)
    parts.add(own.card_hits(), counts.days * np.array(CARDS_PER_DAY)[:, None])
    pooled = parts.sum(communicator, label="judge:thresholds")
    *of_readings, strict, loose, cards = pooled
    found = {}
    for reading, table in zip(counts.read, of_readings, strict=True):
        hold_judged(_grows(table))
        found[reading] = dict(zip(aims[reading].edges, table.tolist(), strict=True))
    hold_judged(_grows(np.stack([strict, loose])))
    hold_judged(bool((cards[:, 0] <= cards[:, 1]).all()))
    return PooledReport(
        rows=int(counts.classes.sum()),
        censored=counts.n_censored,
        blocked_frauds=counts.n_blocked_frauds,
        readings=tuple(
            _read_metrics(reading, counts, rows[reading], aims[reading], found[reading])
            for reading in counts.read
        ),
        first_seen=_first_seen(counts, scores),
        groups=_groups(counts, scores, budget, strict.tolist(), loose.tolist()),
        cards=tuple(
            CardPrecision(k, counts.days, hits / (k * counts.days), most / (k * counts.days))
            for k, (hits, most) in zip(CARDS_PER_DAY, cards.tolist(), strict=True)
            if counts.days
        ),
    )


def _grows(found: Int64Array) -> bool:
    """Tell whether looser thresholds find no less."""
    return bool((found >= 0).all() and (np.diff(found, axis=0) >= 0).all())


def _read_metrics(
    reading: Reading,
    counts: PooledRows,
    rows: ScoreHistogram,
    aims: _Aims,
    found: dict[int, list[int]],
) -> ReadMetrics:
    cases, first, _, _, value = counts.of(reading)
    wholes = (cases, first, value, value, value, value)

    def of(between: Between, what: int) -> Bounded | None:
        at_strict, at_loose = found[between.strict][what], found[between.loose][what]
        return between.of(at_strict, at_loose, whole=wholes[what])

    budget = [of(aims.budget, what) for what in range(N_FOUND)]
    return ReadMetrics(
        reading=reading,
        rows=rows.n_negatives + rows.n_positives,
        frauds=rows.n_positives,
        cases=cases,
        auprc=rows.average_precision(),
        auc=rows.auc(),
        brier=rows.brier(),
        calibration_error=rows.calibration_error(),
        at_budget=AtBudget(
            alerts=aims.n_alerts,
            precision=precision_between(rows, aims.budget, aims.n_alerts),
            case_recall=budget[0],
            first_seen_case_recall=budget[1],
            value_recall=budget[2],
            case_value_recall=budget[3],
            saved_from_alert=budget[4],
            saved_after_alert=budget[5],
        ),
        at_rates=tuple(
            AtFalsePositiveRate(
                rate=rate,
                recall=rows.recall_at_fpr(rate),
                case_recall=of(between, 0),
                value_recall=of(between, 2),
            )
            for rate, between in zip(FALSE_POSITIVE_RATES, aims.rates, strict=True)
        ),
        at_ratios=tuple(
            AtFalsePositiveRatio(
                ratio=ratio, account_recall=at.found, value_recall=of(at.between, 2)
            )
            for ratio, at in zip(FALSE_POSITIVE_RATIOS, aims.ratios, strict=True)
        ),
        reliability=rows.reliability(),
    )


def _first_seen(counts: PooledRows, scores: PooledScores) -> FirstSeen | None:
    rows = scores.first_seen()
    if rows.n_positives == 0:
        return None
    return FirstSeen(
        frauds=rows.n_positives,
        cases=counts.of(Reading.KNOWN)[1],
        auprc=rows.average_precision(),
        recall=rows.recall_at_fpr(_ONE_PER_CENT),
    )


def _groups(
    counts: PooledRows,
    scores: PooledScores,
    budget: Between,
    strict: Sequence[int],
    loose: Sequence[int],
) -> tuple[GroupMetrics, ...]:
    found = []
    coarse_clean = coarsened(scores.classes[CLEAN])
    for at, (index, cells) in enumerate(scores.groups.items()):
        name, value = counts.plan.cells[index]
        # Clean payments have no kind of fraud: each kind stands against all of them.
        of_group = [i for i, (group, _) in enumerate(counts.plan.cells) if group == name]
        has_clean = bool(counts.cells[of_group, 0].any())
        rows = RankedCounts(cells[0] if has_clean else coarse_clean, cells[1])
        found.append(
            GroupMetrics(
                group=name,
                value=value,
                clean=rows.n_negatives,
                frauds=rows.n_positives,
                cases=int(counts.cells[index, 2]),
                auprc=rows.average_precision(),
                auc=rows.auc(),
                recall=rows.recall_at_fpr(_ONE_PER_CENT),
                case_recall=budget.of(strict[at], loose[at], whole=int(counts.cells[index, 2])),
                alert_rate=share_alerted(cells.sum(axis=0), budget) if has_clean else None,
                false_positive_rate=share_alerted(cells[0], budget) if has_clean else None,
                true_positive_rate=share_alerted(cells[1], budget),
            )
        )
    return tuple(found)
