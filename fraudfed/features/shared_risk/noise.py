"""The noise of tables with privacy: how much, and what it hides.

Unit: a customer of a bank and a calendar month (UTC) of entry. Each bank bounds it on its own rows
(``entries``): a customer is counted at most ``PAYMENTS_A_DAY`` times a day for each kind of entity,
and at most ``REPORTS_A_MONTH`` reports of fraud of a customer are entered in a month. Each kind has
a row of its own in a sketch, so that no two counts of one payment meet in a counter.

What one unit moves, with e kinds of entities and the noise drawn anew for each day:

* payments: on each day one counter by 1 in each of e rows, so e in squares; 31 days: ``31 e``;
* reports: at worst both on one day and in one counter of each row, so ``(2)^2 e`` in squares. Any
  other way moves less: on two days, or in two counters, it is ``2 e``.

``moved = 31 e / sigma_payments^2 + 4 e / sigma_reports^2`` for a month, of which each summand takes
its share of ``2 rho``. One step of a run is charged its days of payments and, for each month that
it touches, all of the reports: they may all lie in it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Final

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import ParameterError
from fraudfed.features.shared_risk.months import months_of
from fraudfed.privacy.accounting import rho_of, usable_delta
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.wire.messages import RiskSpec

#: Times that a customer is counted on a day, for each kind of entity.
PAYMENTS_A_DAY: Final = 1
#: Reports of one customer's payments in a month.
REPORTS_A_MONTH: Final = 2
#: Fractional bits of a counter while it is summed: each bank's part of the noise must be wide.
FRACTION_BITS: Final = 16
_UNIT: Final = 1 << FRACTION_BITS
_MOST_DAYS: Final = 31
#: The ledger rounds a rho up to a multiple of 2^-80, and adds a distance far below that.
_GRID: Final = 1 << 80
_LEDGER_STEPS: Final = 2 * _MOST_DAYS
_LARGEST_VARIANCE: Final = 1 << 62


@dataclass(frozen=True)
class RiskNoise:
    """Variances of the noise of each counter and day, in units of 2^-FRACTION_BITS, squared.

    Attributes
    ----------
    n_entities : int
    payments, frauds : int
    """

    n_entities: int
    payments: int
    frauds: int

    @classmethod
    def of(cls, spec: RiskSpec) -> "RiskNoise":
        """Return the noise of a run with privacy.

        Raises
        ------
        ParameterError
            If the bound is too small for any table.
        ValueError
            If the run has no privacy.
        """
        if spec.privacy is None:
            raise ValueError("a risk run without privacy has no noise")
        return cls(
            len(spec.entities),
            *_variances(
                spec.privacy.epsilon,
                spec.privacy.delta,
                spec.privacy.fraud_share,
                len(spec.entities),
            ),
        )

    @property
    def payment_sigma(self) -> float:
        """Standard deviation of one counter of payments of one day."""
        return math.sqrt(self.payments) / _UNIT

    @property
    def fraud_sigma(self) -> float:
        """Standard deviation of one counter of reports of one day."""
        return math.sqrt(self.frauds) / _UNIT

    def moved(self, days: range) -> Fraction:
        """Return what one unit moves at most in the tables of some days, as ``NoisedRelease``."""
        most = Fraction(0)
        for n_days in months_of(days).values():
            payments = n_days * self.n_entities * (PAYMENTS_A_DAY * _UNIT) ** 2
            frauds = self.n_entities * (REPORTS_A_MONTH * _UNIT) ** 2
            most = max(most, Fraction(payments, self.payments) + Fraction(frauds, self.frauds))
        return most

    def release(self, days: range, *, payments: int, frauds: int) -> NoisedRelease:
        """Return the release of a step: of each day counters of payments, then those of reports."""
        of_day = np.repeat(
            np.array([self.payments, self.frauds], dtype=np.int64), [payments, frauds]
        )
        variances: Int64Array = np.tile(of_day, len(days))
        return NoisedRelease(variance=variances, moved=self.moved(days))


def steps_of(spec: RiskSpec) -> Iterator[range]:
    """Yield the days of each step of a run."""
    for first in range(spec.first_day, spec.last_day + 1, spec.days_per_step):
        yield range(first, min(first + spec.days_per_step, spec.last_day + 1))


@cache
def _variances(
    epsilon: float, delta: float, fraud_share: float, n_entities: int
) -> tuple[int, int]:
    """Return the variances of payments and of reports; they are asked for at every look-up."""
    rho = rho_of(epsilon, usable_delta(epsilon, delta)) - Fraction(_LEDGER_STEPS, _GRID)
    share = Fraction(fraud_share)
    payments = _MOST_DAYS * n_entities * (PAYMENTS_A_DAY * _UNIT) ** 2
    frauds = n_entities * (REPORTS_A_MONTH * _UNIT) ** 2
    parts = (1 - share) * rho, share * rho
    if min(parts) <= 0 or max(payments / parts[0], frauds / parts[1]) > 2 * _LARGEST_VARIANCE:
        raise ParameterError(
            f"epsilon is {epsilon:g}: the noise of risk tables leaves 62 bits; choose a larger one"
        )
    return math.ceil(payments / (2 * parts[0])), math.ceil(frauds / (2 * parts[1]))
