"""What is computed of a judge window: public, and the same at every bank."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from fraudfed.payments.columns import CHANNELS, MERCHANT_CATEGORIES
from fraudfed.payments.fraud_kinds import FRAUD_KINDS

#: Alerts where no number is given: one payment in so many.
PAYMENTS_PER_ALERT: Final = 200
#: Cases of all banks from which on a group of payments has metrics of its own.
LEAST_CASES: Final = 20
#: Shares of clean payments that are alerted on.
FALSE_POSITIVE_RATES: Final = (0.001, 0.01, 0.05)
#: Clean accounts that are alerted on for each fraudulent one found.
FALSE_POSITIVE_RATIOS: Final = (5, 10, 20)
#: Lengths of a bank's daily list of cards.
CARDS_PER_DAY: Final = (10, 100)

#: Most values of an own column that makes groups.
MOST_OWN_GROUPS: Final = 50

#: Groups of payments, with the public list of each: ``Outcomes.cells`` holds positions in it.
PAYMENT_GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "channel": CHANNELS,
        "fraud_kind": tuple(kind.name for kind in FRAUD_KINDS),
        "merchant_category": MERCHANT_CATEGORIES,
    }
)


@dataclass(frozen=True)
class JudgingPlan:
    """What is computed.

    Attributes
    ----------
    n_alerts : int or None
        Payments of all banks and the whole window that may be alerted on. None: one in 200.
    groups : mapping of str to tuple of str
    """

    n_alerts: int | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: PAYMENT_GROUPS)

    def __post_init__(self) -> None:
        if self.n_alerts is not None and self.n_alerts < 1:
            raise ValueError(f"n_alerts is {self.n_alerts}, expected at least 1")

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """Group and value of each cell, in order."""
        return tuple((name, value) for name, values in self.groups.items() for value in values)

    def budget(self, n_rows: int) -> int:
        """Return how many of so many payments may be alerted on, at least 1."""
        return max(1, n_rows // PAYMENTS_PER_ALERT) if self.n_alerts is None else self.n_alerts
