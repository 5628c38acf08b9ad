"""Paired bootstrap of a judge window: cases and clean days, all scorings on the same resample.

B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993: chapter 8
(what is resampled is what is independent: the case with all its payments, the day with all its
clean ones), chapter 13 (percentile intervals).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array, Float64Array, Int64Array
from fraudfed.gate.alerts import RankedFrauds
from fraudfed.gate.cases import JudgedCases
from fraudfed.gate.intervals import Interval

#: Resamples of a comparison: the 5 % point of so many moves by about 0.03 standard errors.
N_RESAMPLES = 4000
#: Weights of so many frauds are in memory at once.
_VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Measures:
    """What a scoring reaches, on the window itself or on each of its resamples.

    Attributes
    ----------
    case_recall : ndarray of shape (n_resamples,), dtype=float64
        Share of cases of which a payment was alerted on.
    value_recall : ndarray of shape (n_resamples,), dtype=float64, or None
        The same, each case weighted by its money; None without amounts, or where all are 0.
    auprc : ndarray of shape (n_resamples,), dtype=float64
        Average precision over payments.
    """

    case_recall: Float64Array
    value_recall: Float64Array | None
    auprc: Float64Array


def measure(
    ranked: RankedFrauds,
    cases: JudgedCases,
    n_alerts: int,
    case_weights: Int64Array,
    day_weights: Int64Array,
) -> Measures:
    """Measure a scoring under weights of cases and days.

    Parameters
    ----------
    ranked : RankedFrauds
    cases : JudgedCases
    n_alerts : int
    case_weights : ndarray of shape (n_resamples, n_cases), dtype=int64
    day_weights : ndarray of shape (n_resamples, n_days), dtype=int64
    """
    frauds, clean = ranked.counts(case_weights, day_weights)
    found = ranked.found(frauds, clean, n_alerts) * case_weights
    precision = frauds / np.maximum(frauds + clean, 1)
    of_frauds = case_weights[:, ranked.case_of]
    value_recall = None
    if cases.values is not None and cases.values.any():
        money = case_weights @ cases.values
        value_recall = (found @ cases.values) / np.maximum(money, 1)
    return Measures(
        case_recall=found.sum(axis=1) / case_weights.sum(axis=1),
        value_recall=value_recall,
        auprc=(precision * of_frauds).sum(axis=1) / of_frauds.sum(axis=1),
    )


@dataclass(frozen=True, eq=False)
class Resampled:
    """What a scoring reaches on a window, and on each resample of it.

    Attributes
    ----------
    here : Measures
        Of the window itself: arrays of one value.
    again : Measures
        Of the resamples.
    found : ndarray of shape (n_cases,), dtype=bool
        The cases that it finds in the window itself.
    """

    here: Measures
    again: Measures
    found: BoolArray


def bootstrap(
    scorings: Mapping[str, Float32Array],
    cases: JudgedCases,
    n_alerts: int,
    *,
    generator: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, Resampled]:
    """Measure every scoring on the same resamples.

    Parameters
    ----------
    scorings : mapping of str to ndarray of shape (n_rows,), dtype=float32
        Of all rows of the window, higher is more suspicious.
    cases : JudgedCases
    n_alerts : int
        The same in each resample: there are as many days.
    generator : numpy.random.Generator
    n_resamples : int
    """
    rankings = {name: RankedFrauds.of(scores, cases) for name, scores in scorings.items()}
    once = np.ones((1, cases.n_cases), np.int64), np.ones((1, cases.n_days), np.int64)
    parts: dict[str, list[Measures]] = {name: [] for name in rankings}
    for weights in _resamples(cases, generator, n_resamples):
        for name, ranked in rankings.items():
            parts[name].append(measure(ranked, cases, n_alerts, *weights))
    return {
        name: Resampled(
            here=measure(ranked, cases, n_alerts, *once),
            again=_joined(parts[name]),
            found=ranked.found(*ranked.counts(*once), n_alerts)[0],
        )
        for name, ranked in rankings.items()
    }


def percentile_interval(estimate: float, resampled: Float64Array, *, confidence: float) -> Interval:
    """Return the percentile interval; Efron and Tibshirani, equation 13.5."""
    lower, upper = np.quantile(resampled, (1 - confidence, confidence))
    return Interval(estimate, min(float(lower), estimate), max(float(upper), estimate))


def _resamples(
    cases: JudgedCases, generator: np.random.Generator, n_resamples: int
) -> Iterator[tuple[Int64Array, Int64Array]]:
    widest = max(cases.frauds.size, cases.n_days)
    at_once = max(1, min(n_resamples, _VALUES_AT_ONCE // widest))
    for start in range(0, n_resamples, at_once):
        n = min(at_once, n_resamples - start)
        yield _drawn(generator, n, cases.n_cases), _drawn(generator, n, cases.n_days)


def _drawn(generator: np.random.Generator, n_resamples: int, n_units: int) -> Int64Array:
    """Draw as many units as there are, with replacement; counts, (n_resamples, n_units)."""
    chosen = generator.integers(n_units, size=(n_resamples, n_units))
    chosen += np.arange(n_resamples)[:, np.newaxis] * n_units
    counts = np.bincount(chosen.ravel(), minlength=n_resamples * n_units)
    return counts.astype(np.int64, copy=False).reshape(n_resamples, n_units)


def _joined(parts: list[Measures]) -> Measures:
    values = [part.value_recall for part in parts if part.value_recall is not None]
    return Measures(
        case_recall=np.concatenate([part.case_recall for part in parts]),
        value_recall=np.concatenate(values) if values else None,
        auprc=np.concatenate([part.auprc for part in parts]),
    )
