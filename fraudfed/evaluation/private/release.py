"""Judge a model by one noised release; every bank runs this and ends with the same report.

Law: all that is opened is one array of noised counts; the report is a formula over it and over what
was public before. Adding or removing a row moves one count by one row, and a customer at most
``row_cap`` rows, by at most so much in Euclidean norm (all in one count): sensitivity 1, or
``row_cap``.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS
from fraudfed.communicator import NoisingCommunicator
from fraudfed.dtypes import Float32Array
from fraudfed.errors import ParameterError
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.plan import JudgingPlan
from fraudfed.evaluation.private.estimates import FRACTION_BITS, UNIT, report
from fraudfed.evaluation.private.own_counts import own_counts
from fraudfed.evaluation.private.report import NoisedReport
from fraudfed.privacy.releases import NoisedRelease

#: The ledger rounds a rho up to a multiple of 2^-80, and adds a distance far below that.
_GRID: Final = 1 << 80
_LEDGER_STEPS: Final = 2
#: Sums and their noise stay in int64.
_LARGEST_VARIANCE: Final = 1 << 62


@dataclass(frozen=True, eq=False)
class NoisedJudging:
    """What the release of a run may cost, and what one unit can move.

    Attributes
    ----------
    release : NoisedRelease
        In units of 2^-16 of a row; one variance for all counts.
    row_cap : int or None
        Most rows of one customer that are counted; None where the unit is a row.
    """

    release: NoisedRelease
    row_cap: int | None

    @classmethod
    def of(cls, *, rho: Fraction, row_cap: int | None) -> "NoisedJudging":
        """Plan the release.

        Parameters
        ----------
        rho : Fraction
            What it may cost, above 0.
        row_cap : int or None

        Raises
        ------
        ParameterError
            If that is next to nothing.
        """
        each = Fraction(math.floor(rho * _GRID) - _LEDGER_STEPS, _GRID)
        moved = ((row_cap or 1) * UNIT) ** 2
        if each <= 0 or math.ceil(moved / (2 * each)) > _LARGEST_VARIANCE:
            raise ParameterError(
                "the noise of the metrics leaves 62 bits; choose a larger epsilon or metric_share, "
                "or a smaller row_cap"
            )
        variance = math.ceil(moved / (2 * each))
        return cls(NoisedRelease(variance=variance, moved=Fraction(moved, variance)), row_cap)

    @property
    def variance(self) -> int:
        """Of the noise of each count, units^2."""
        if not isinstance(self.release.variance, int):
            raise TypeError("the variance of this release is one number")
        return self.release.variance


def judge_noised(
    margins: Float32Array,
    outcomes: Outcomes,
    communicator: NoisingCommunicator,
    *,
    judging: NoisedJudging,
    plan: JudgingPlan,
    draw: np.random.Generator,
) -> NoisedReport:
    """Judge a model's scores by the rows of all banks.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32
        Scores on the logit of this bank's rows; there may be none.
    outcomes : Outcomes
    communicator : NoisingCommunicator
    judging : NoisedJudging
    plan : JudgingPlan
        The same at every bank; its budget is kept.
    draw : Generator
        This bank's own, from secret entropy: it chooses a customer's rows.

    Raises
    ------
    FraudFedError
        If the sum fails.
    """
    own = own_counts(margins, outcomes, row_cap=judging.row_cap, draw=draw)
    noised = communicator.noised_sum(
        own << FRACTION_BITS,
        bound=MAX_POOLED_ROWS << FRACTION_BITS,
        low=0,
        label="noised-scores",
        release=judging.release,
    )
    return report(noised, variance=judging.variance, plan=plan, row_cap=judging.row_cap)
