"""How sure a demo's AUPRC is: one bootstrap of the rows that judge, the same for all models.

What is resampled is what is independent: a case of fraud with all its payments, and a day with all
its clean ones, as the banks' own comparison does it (``fraudfed.gate.bootstrap``). Banks are
resampled apart from each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Float32Array, Float64Array
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.gate.bootstrap import bootstrap
from fraudfed.gate.cases import JudgedCases
from fraudfed.lab.report.compare import Difference
from fraudfed.lab.report.facts import Interval

#: The ends of an interval move by a tenth of a standard error.
_RESAMPLES = 1000
_ENDS = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Resampled:
    """AUPRC of models: on the rows themselves, and on each resample.

    Attributes
    ----------
    found : mapping of str to float
        By names of ``MODELS``.
    values : mapping of str to ndarray of shape (n_resamples,), dtype=float64
    """

    found: Mapping[str, float]
    values: Mapping[str, Float64Array]

    @classmethod
    def of(
        cls, scores: Mapping[str, Float32Array | None], outcomes: Outcomes, *, seed: int
    ) -> "Resampled | None":
        """Resample one bank's rows; None where they hold only one class.

        Parameters
        ----------
        scores : mapping of str to ndarray of shape (n_rows,), dtype=float32, or None
            By model; one without scores is left out.
        outcomes : Outcomes
            Without censored rows.
        seed : int
        """
        labels = outcomes.labels
        if not ((labels == 1).any() and (labels == 0).any()):
            return None
        measured = bootstrap(
            {model: found for model, found in scores.items() if found is not None},
            JudgedCases.of(outcomes),
            1,
            generator=np.random.default_rng(seed),
            n_resamples=_RESAMPLES,
        )
        return cls(
            {model: float(each.here.auprc[0]) for model, each in measured.items()},
            {model: each.again.auprc for model, each in measured.items()},
        )

    def intervals(self) -> dict[str, Interval]:
        """Return where each model's AUPRC lies."""
        return {model: interval_of(values) for model, values in self.values.items()}


def mean_of_banks(banks: Sequence[Resampled | None]) -> Resampled | None:
    """Return the means over the banks where every model is known; None without such a bank."""
    models = {model for bank in banks if bank is not None for model in bank.values}
    whole = [bank for bank in banks if bank is not None and bank.values.keys() == models]
    if not whole:
        return None
    return Resampled(
        {model: float(np.mean([bank.found[model] for bank in whole])) for model in models},
        {model: np.mean([bank.values[model] for bank in whole], axis=0) for model in models},
    )


def difference(resampled: Resampled, model: str, other: str) -> Difference | None:
    """Compare two models on the same resamples; None where one of them is not known."""
    if model not in resampled.values or other not in resampled.values:
        return None
    return Difference(
        model=model,
        other=other,
        auprc=resampled.found[model] - resampled.found[other],
        interval=interval_of(resampled.values[model] - resampled.values[other]),
    )


def interval_of(values: Float64Array) -> Interval:
    """Return the percentile interval; Efron and Tibshirani, 1993, equation 13.5."""
    lower, upper = np.quantile(values, _ENDS)
    return Interval(float(lower), float(upper))
