"""The figures of a curve, from the scores of its trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.gate.alerts import RankedFrauds, alert_budget
from fraudfed.gate.bootstrap import bootstrap, measure, percentile_interval
from fraudfed.gate.cases import JudgedCases
from fraudfed.gate.decision import CONFIDENCE
from fraudfed.intake.windows import JUDGE
from fraudfed.lab.privacy.arrays import WorldTables
from fraudfed.lab.privacy.case import EXACT, OWN, CurveCase, Training, chosen_banks
from fraudfed.lab.privacy.results import CurveResults
from fraudfed.lab.privacy.verdicts import Verdicts, ask_banks

#: Resamples of the rows that judge, for a band; ends of 5 % need no more.
_RESAMPLES = 400
_SEED = 17


@dataclass(frozen=True)
class Band:
    """A figure over repeats, and over the rows that judge.

    Attributes
    ----------
    mean, lowest, highest : float
        Over the repeats.
    rows_low, rows_high : float
        Bootstrap of the first repeat, one-sided bounds of 95 % each.
    """

    mean: float
    lowest: float
    highest: float
    rows_low: float
    rows_high: float


@dataclass(frozen=True)
class CurvePoint:
    """What one model reaches under one bound.

    Attributes
    ----------
    model : str
        A way, or ``exact``.
    epsilon : float or None
        None is without noise.
    repeats, trees : int
    auprc, case_recall : Band
        Of the rows of all banks that judge; recall at one alert for 200 payments.
    kept : float or None
        Mean AUPRC as a share of what the same way reaches without noise.
    bank_auprc, bank_case_recall : float
        Mean over the banks that train alone, each by its own rows and budget; 0 without any.
    gate : Verdicts
        What these banks' gates say of it against the best that each has alone.
    cpu_seconds : float
        Of one training, on average.
    """

    model: str
    epsilon: float | None
    repeats: int
    trees: int
    auprc: Band
    case_recall: Band
    kept: float | None
    bank_auprc: float
    bank_case_recall: float
    gate: Verdicts
    cpu_seconds: float


@dataclass(frozen=True)
class OwnPoint:
    """What the banks reach alone, on average over those that train.

    Attributes
    ----------
    shared_risk : bool
        With the features of shared risk.
    banks : int
    bank_auprc, bank_case_recall : float
    """

    shared_risk: bool
    banks: int
    bank_auprc: float
    bank_case_recall: float


def points_of(
    case: CurveCase, tables: WorldTables, results: CurveResults
) -> tuple[list[CurvePoint], list[OwnPoint]]:
    """Compute every point that has a training; of all trainings of a point that are there."""
    done = results.done()
    outcomes = tables.judged_rows(JUDGE, shared=False).outcomes
    banks = chosen_banks(tables.banks, case.reference_banks)
    of_banks = {bank: outcomes.take(_positions(tables, bank)) for bank in banks}
    own: dict[bool, dict[str, Float32Array]] = {}
    for shared in (False, True)[: 1 + tables.has_shared]:
        names = {bank: Training(OWN, shared, bank=bank).name for bank in banks}
        if banks and all(name in done for name in names.values()):
            own[shared] = {bank: results.scores(name) for bank, name in names.items()}
    wanted = [Training(EXACT, case.shared_risk)]
    wanted += [Training(way, case.shared_risk) for way in case.ways]
    wanted += [
        Training(way, case.shared_risk, epsilon) for way in case.ways for epsilon in case.epsilons
    ]
    points: list[CurvePoint] = []
    whole = JudgedCases.of(outcomes)
    for first in wanted:
        found = _repeats_of(first, done, case.repeats)
        if not found:
            continue
        scorings = [results.scores(name) for name in found]
        noiseless = next(
            (p.auprc.mean for p in points if p.model == first.model and p.epsilon is None), None
        )
        points.append(
            _point(
                first,
                scorings,
                [done[name] for name in found],
                whole,
                noiseless,
                {bank: [scores[_positions(tables, bank)] for scores in scorings] for bank in banks},
                of_banks,
                own,
            )
        )
    alone = [
        OwnPoint(shared, len(banks), *_mean_over_banks(scores, of_banks))
        for shared, scores in own.items()
    ]
    return points, alone


def reached(scores: Float32Array, cases: JudgedCases) -> tuple[float, float]:
    """Return AUPRC and case recall at one alert for 200 payments."""
    once = np.ones((1, cases.n_cases), np.int64), np.ones((1, cases.n_days), np.int64)
    found = measure(RankedFrauds.of(scores, cases), cases, alert_budget(cases, None), *once)
    return float(found.auprc[0]), float(found.case_recall[0])


def _repeats_of(first: Training, done: Mapping[str, Any], repeats: int) -> list[str]:
    names = [
        Training(first.model, first.shared_risk, first.epsilon, repeat).name
        for repeat in range(1 if first.epsilon is None else repeats)
    ]
    return [name for name in names if name in done]


def _point(
    first: Training,
    scorings: Sequence[Float32Array],
    records: Sequence[Mapping[str, Any]],
    whole: JudgedCases,
    noiseless: float | None,
    by_bank: Mapping[str, Sequence[Float32Array]],
    outcomes: Mapping[str, Outcomes],
    own: Mapping[bool, Mapping[str, Float32Array]],
) -> CurvePoint:
    values = [reached(scores, whole) for scores in scorings]
    resampled = bootstrap(
        {"first": scorings[0]},
        whole,
        alert_budget(whole, None),
        generator=np.random.default_rng(_SEED),
        n_resamples=_RESAMPLES,
    )["first"].again
    auprc = _band([value for value, _ in values], resampled.auprc)
    means = [
        _mean_over_banks({bank: scores[repeat] for bank, scores in by_bank.items()}, outcomes)
        for repeat in range(len(scorings))
    ]
    return CurvePoint(
        model=first.model,
        epsilon=first.epsilon,
        repeats=len(scorings),
        trees=int(records[0]["trees"]),
        auprc=auprc,
        case_recall=_band([value for _, value in values], resampled.case_recall),
        kept=auprc.mean / noiseless if noiseless else None,
        bank_auprc=float(np.mean([value for value, _ in means])),
        bank_case_recall=float(np.mean([value for _, value in means])),
        gate=ask_banks(by_bank, own, outcomes, seed=_SEED),
        cpu_seconds=float(np.mean([record["cpu_seconds"] for record in records])),
    )


def _band(values: Sequence[float], resampled: Any) -> Band:
    interval = percentile_interval(values[0], resampled, confidence=CONFIDENCE)
    return Band(
        mean=float(np.mean(values)),
        lowest=min(values),
        highest=max(values),
        rows_low=interval.lower,
        rows_high=interval.upper,
    )


def _mean_over_banks(
    scores: Mapping[str, Float32Array], outcomes: Mapping[str, Outcomes]
) -> tuple[float, float]:
    """Return the banks' mean AUPRC and case recall; banks without both classes are left out."""
    values = [
        reached(scores[bank], JudgedCases.of(of))
        for bank, of in outcomes.items()
        if (of.labels == 1).any() and (of.labels == 0).any()
    ]
    if not values:
        return 0.0, 0.0
    auprc, recall = (float(np.mean(column)) for column in zip(*values, strict=True))
    return auprc, recall


def _positions(tables: WorldTables, bank: str) -> Any:
    rows = tables.rows(JUDGE, bank)
    return np.arange(rows.start, rows.stop, dtype=np.int64)
