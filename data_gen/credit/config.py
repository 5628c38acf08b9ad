"""The configuration of a credit data set: every number that changes the output."""

import dataclasses
from dataclasses import dataclass
from typing import Final

from data_gen.settings.config import DAY_SECONDS, DEFAULT_START_TIME, check_common, check_range

_MIN_CUSTOMERS_PER_BANK: Final = 100
# All rows of a credit data set are in memory at once: about 600 bytes per person.
_MAX_CUSTOMERS: Final = 2_000_000


@dataclass(frozen=True, kw_only=True)
class CreditConfig:
    """Configuration of a credit data set.

    Parameters
    ----------
    seed : int
        Names the data set; same configuration and seed, same bytes.
    banks : int
        Number of banks, 1 to 676.
    customers : int
        People who may apply, at least 100 per bank, at most 2 million.
    days : int
        Length of the period in which they apply, 180 to 3650.
    start_time : int
        First second, UTC epoch seconds; must be a midnight.
    performance_days : int
        Days after an application in which a default counts; a loan without a default gets its
        label at their end. 90 to 720.
    default_rate : float
        Expected share of applications that default, 0.005 to 0.3.
    size_exponent : float
        Bank of rank r has a share of people proportional to ``r ** -size_exponent``.
    purpose_spread : float
        Standard deviation, on a log scale, of a bank's shares of purposes around those of all.
    shopping_share : float
        Share of searches for credit that go to several banks within days.
    distress_share : float
        Share of people who once look for credit in distress: they ask many banks within days and
        often default.
    bureau_coverage : float
        Share of banks' enquiries that the credit bureau knows.
    thin_file_share : float
        Share of people without a credit history at the bureau.
    test_share : float
        Share of the period, at its end, that is suggested for testing.
    """

    seed: int = 42
    banks: int = 5
    customers: int = 30_000
    days: int = 1_080
    start_time: int = DEFAULT_START_TIME
    performance_days: int = 360
    default_rate: float = 0.06
    size_exponent: float = 1.4
    purpose_spread: float = 0.8
    shopping_share: float = 0.15
    distress_share: float = 0.06
    bureau_coverage: float = 0.5
    thin_file_share: float = 0.15
    test_share: float = 0.25

    def __post_init__(self) -> None:
        check_common(
            seed=self.seed,
            banks=self.banks,
            customers=(self.customers, _MIN_CUSTOMERS_PER_BANK, _MAX_CUSTOMERS),
            days=(self.days, 180),
            start_time=self.start_time,
            size_exponent=self.size_exponent,
            test_share=self.test_share,
        )
        check_range("performance_days", self.performance_days, 90, 720)
        check_range("default_rate", self.default_rate, 0.005, 0.3)
        check_range("purpose_spread", self.purpose_spread, 0.0, 2.0)
        for name in ("shopping_share", "distress_share", "bureau_coverage", "thin_file_share"):
            check_range(name, getattr(self, name), 0.0, 1.0)

    @property
    def end_time(self) -> int:
        """First second after the period, UTC epoch seconds."""
        return self.start_time + self.days * DAY_SECONDS

    @property
    def split_time(self) -> int:
        """Suggested first second of the test period: a midnight, UTC epoch seconds."""
        return self.start_time + round(self.days * (1.0 - self.test_share)) * DAY_SECONDS

    def as_dict(self) -> dict[str, int | float]:
        """Return all fields by name, for the manifest."""
        return dataclasses.asdict(self)
