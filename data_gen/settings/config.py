"""The configuration of a world: every number that changes the output, checked before any work."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Final, TypeAlias

from fraudfed.errors import ConfigurationError

Setting: TypeAlias = int | float | tuple[int, ...] | tuple[float, ...] | None

DAY_SECONDS: Final = 86_400
# 2025-01-01T00:00:00Z, a Wednesday: the calendar starts here unless told otherwise.
DEFAULT_START_TIME: Final = 1_735_689_600

_MIN_CUSTOMERS_PER_BANK: Final = 20
# Customers' identifiers have 7 digits, accounts' 8, and there are three accounts per customer.
_MAX_CUSTOMERS: Final = 4_000_000


class CommonConfig:
    """What every kind of data set is configured by; the subclass declares the fields."""

    seed: int
    banks: int
    customers: int
    days: int
    start_time: int
    size_exponent: float
    test_share: float

    def check_common(self, *, least_per_bank: int, most_customers: int, least_days: int) -> None:
        """Check the dials that every kind of data set has.

        Parameters
        ----------
        least_per_bank, most_customers : int
            Range of the number of customers: per bank, and of all banks.
        least_days : int
            Shortest period.

        Raises
        ------
        ConfigurationError
            A number is out of its range, or the period does not begin at midnight UTC.
        """
        check_range("seed", self.seed, 0, 2**63 - 1)
        check_range("banks", self.banks, 1, 676)
        check_range("customers", self.customers, least_per_bank * self.banks, most_customers)
        check_range("days", self.days, least_days, 3_650)
        check_range("start_time", self.start_time, 0, 2**40)
        if self.start_time % DAY_SECONDS:
            raise ConfigurationError(
                f"start_time: got {self.start_time}, expected midnight UTC (a multiple of "
                f"{DAY_SECONDS} seconds)"
            )
        check_range("size_exponent", self.size_exponent, 0.0, 3.0)
        check_range("test_share", self.test_share, 0.01, 0.9)

    @property
    def end_time(self) -> int:
        """First second after the period, UTC epoch seconds."""
        return self.start_time + self.days * DAY_SECONDS

    @property
    def split_time(self) -> int:
        """Suggested first second of the test period: a midnight, UTC epoch seconds."""
        return self.start_time + round(self.days * (1.0 - self.test_share)) * DAY_SECONDS

    def as_dict(self) -> dict[str, Setting]:
        """Return all fields by name, for the manifest."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True, kw_only=True)
class WorldConfig(CommonConfig):
    """Configuration of a world.

    Parameters
    ----------
    seed : int
        Names the world; same configuration and seed, same bytes.
    banks : int
        Number of banks, 1 to 676.
    customers : int
        Customers of all banks together, at least 20 per bank, at most 4 million.
    days : int
        Length of the period in days, 14 to 3650.
    start_time : int
        First second, UTC epoch seconds; must be a midnight.
    transactions_per_day : float
        Mean number of legitimate everyday transactions per day of a customer with one bank.
    fraud_rate : float
        Share of fraudulent transactions over all banks, 0 to 0.05.
    channel_share : tuple of 4 floats
        Relative frequency of the channels pos, ecommerce, transfer and atm over all banks.
    kind_share : tuple of 7 floats
        Relative number of fraudulent transactions by kind, in the order of ``FraudKind``, over
        all banks. Mule chains need victims' money to pass on: a share above what take-overs and
        scams bring in is not reached.
    size_exponent : float
        Bank of rank r has a share of customers proportional to ``r ** -size_exponent``.
    channel_spread, amount_spread, region_spread, fraud_rate_spread : float
        Standard deviation, on a log scale, of a bank's channel shares, amounts, home towns and
        fraud rate around those of all banks; 0 makes banks alike.
    fraud_mix_spread : float
        How much the mix of fraud kinds differs between banks at any time; 0 gives every bank
        the same mix, 2 gives each bank a few dominant kinds.
    dirichlet : float or None
        One dial for the mixes of channels, home towns and fraud kinds, instead of
        ``channel_spread``, ``region_spread`` and ``fraud_mix_spread``: each bank's shares are
        drawn from a Dirichlet distribution with ``dirichlet`` times the shares of all banks as
        its parameters. 1000 makes banks alike; with 0.1 each has little more than one value of
        each mix, which other banks may have too. None: the three dials.
    missing_column_share : float
        Share of banks that keep no ``device_id``, and share of those that keep no places.
    multi_bank_share : float
        Share of people with two or three banks.
    fraud_travel : float
        How far the focus of a fraud kind moves round the ring of banks over the whole period,
        in rounds; 0.5 takes a tactic from one bank to the opposite one.
    campaign_reach : float
        Largest share of the other banks that a campaign moves to; it reaches at least half of
        that share. With 0 each campaign stays at one bank.
    growth_per_year : float
        Relative growth of the number of transactions per year.
    drift_days : tuple of int
        Days of the period, ascending, from which fraudsters use other categories, hours and
        amounts, and customers buy more online.
    clean_delay_days : int
        Days after which a transaction without report counts as legitimate.
    label_delay_scale : float
        Factor on all delays until fraud is reported; 1 is realistic, which needs long periods.
    incoming_delay_days : float or None
        Write what arrives at each bank, too. The receiving bank learns of a fraud when the payer's
        bank has told it: after a time of this mean, exponentially distributed, and at once if both
        are the same bank. None: no such files.
    incumbent_threshold : float or None
        The bank's present system stops card payments from this score on, and nobody reports what it
        stopped. A point is a doubling of what the customer usually pays at such merchants, the
        night adds one. None: there is no such system.
    missed_fraud_share : float
        Share of fraud episodes that are never reported.
    false_report_share : float
        Share of legitimate transactions that are reported as fraud.
    test_share : float
        Share of the period, at its end, that is suggested for testing.
    """

    seed: int = 42
    banks: int = 5
    customers: int = 2_700
    days: int = 120
    start_time: int = DEFAULT_START_TIME
    transactions_per_day: float = 0.78
    fraud_rate: float = 0.010
    channel_share: tuple[float, ...] = (0.52, 0.25, 0.15, 0.08)
    kind_share: tuple[float, ...] = (0.26, 0.12, 0.26, 0.12, 0.16, 0.05, 0.03)
    size_exponent: float = 1.2
    channel_spread: float = 0.35
    amount_spread: float = 0.20
    region_spread: float = 0.80
    fraud_rate_spread: float = 0.25
    fraud_mix_spread: float = 1.2
    dirichlet: float | None = None
    missing_column_share: float = 0.0
    multi_bank_share: float = 0.15
    fraud_travel: float = 0.5
    campaign_reach: float = 1.0
    growth_per_year: float = 0.10
    drift_days: tuple[int, ...] = ()
    clean_delay_days: int = 7
    label_delay_scale: float = 0.25
    incoming_delay_days: float | None = None
    incumbent_threshold: float | None = None
    missed_fraud_share: float = 0.02
    false_report_share: float = 0.0002
    test_share: float = 0.25

    def __post_init__(self) -> None:
        self.check_common(
            least_per_bank=_MIN_CUSTOMERS_PER_BANK, most_customers=_MAX_CUSTOMERS, least_days=14
        )
        check_range("transactions_per_day", self.transactions_per_day, 0.01, 50.0)
        check_range("fraud_rate", self.fraud_rate, 0.0, 0.05)
        for name, length in (("channel_share", 4), ("kind_share", 7)):
            _check_shares(name, getattr(self, name), length)
            # A manifest holds lists; tuples can be compared and hashed.
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("channel_spread", "amount_spread", "region_spread", "fraud_rate_spread"):
            check_range(name, getattr(self, name), 0.0, 2.0)
        check_range("fraud_mix_spread", self.fraud_mix_spread, 0.0, 5.0)
        check_range("fraud_travel", self.fraud_travel, 0.0, 10.0)
        if self.dirichlet is not None:
            check_range("dirichlet", self.dirichlet, 0.01, 1e6)
        for name in (
            "missing_column_share",
            "multi_bank_share",
            "campaign_reach",
            "missed_fraud_share",
        ):
            check_range(name, getattr(self, name), 0.0, 1.0)
        check_range("growth_per_year", self.growth_per_year, -0.9, 10.0)
        object.__setattr__(self, "drift_days", tuple(self.drift_days))
        if list(self.drift_days) != sorted(set(self.drift_days)) or not all(
            0 < day < self.days for day in self.drift_days
        ):
            raise ConfigurationError(
                f"drift_days: got {self.drift_days}, expected ascending days of the period, "
                f"from 1 to {self.days - 1}"
            )
        check_range("clean_delay_days", self.clean_delay_days, 1, 400)
        check_range("label_delay_scale", self.label_delay_scale, 0.0, 10.0)
        if self.incoming_delay_days is not None:
            check_range("incoming_delay_days", self.incoming_delay_days, 0.0, 100.0)
        if self.incumbent_threshold is not None:
            check_range("incumbent_threshold", self.incumbent_threshold, -100.0, 100.0)
        check_range("false_report_share", self.false_report_share, 0.0, 0.1)

    def replace(self, **changes: Setting) -> "WorldConfig":
        """Return a copy with the given fields changed; ``None`` leaves a field as it is."""
        given = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **given)  # type: ignore[arg-type]


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ConfigurationError unless ``value`` is a number from ``low`` to ``high``."""
    if not math.isfinite(value) or not low <= value <= high:
        raise ConfigurationError(f"{name}: got {value}, expected a number from {low} to {high}")


def _check_shares(name: str, shares: tuple[float, ...], length: int) -> None:
    if len(shares) != length:
        raise ConfigurationError(f"{name}: got {len(shares)} numbers, expected {length}")
    for share in shares:
        check_range(name, share, 0.0, 1e6)
    if not sum(shares) > 0.0:
        raise ConfigurationError(f"{name}: got zeros only, expected a share above 0")


def bank_names(count: int) -> list[str]:
    """Return ``bank_a``, ``bank_b``, ... or, above 26 banks, ``bank_aa``, ``bank_ab``, ..."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    if count <= len(letters):
        return [f"bank_{letter}" for letter in letters[:count]]
    return [f"bank_{letters[i // 26]}{letters[i % 26]}" for i in range(count)]
