"""What every feature of outbound payments means: the published half of what ``build`` computes.

The definitions go into the data contract of a run, so every bank and every reader of the model
knows what a column was. The meaning of a published feature never changes; a change of meaning is
a new recipe version.
"""

from dataclasses import dataclass
from enum import StrEnum

from fraudfed.payments.columns import CHANNELS, MERCHANT_CATEGORIES
from fraudfed.wire.messages import FeatureType

#: Name and version, as a data contract names it.
RECIPE = "fraudfed-card-2"

#: Window lengths of counts, means and fraud rates; those of the Fraud Detection Handbook
#: (Le Borgne, Siblini, Lebichot, Bontempi, 2022, chapter 3, "Baseline feature transformation").
WINDOW_DAYS = (1, 7, 30)
#: Window lengths for the distinct customers of a payee.
FAN_IN_DAYS = (7, 30)
#: Payments without fraud that a fraud rate begins with, so that one fraud among one payment
#: does not rank above fifty among a hundred (Laplace's rule of succession, with a prior mean of 0).
PRIOR_PAYMENTS = 10
#: The entities that have a fraud rate, by the names that the definitions use.
RISK_ENTITIES = ("terminal", "merchant", "payee")
#: Raw texts that are features as they are, with their values in code order.
CATEGORIES = {"channel": CHANNELS, "merchant_category": MERCHANT_CATEGORIES}


class Others(StrEnum):
    """Whose payments a feature holds beside those of the payment's own customer."""

    NOBODY = "nobody"
    """No other customer's."""
    OF_BANK = "of-bank"
    """Of other customers of the same bank, as they are."""
    IN_TABLES = "in-tables"
    """Of other customers of any bank, out of the tables of shared risk."""


@dataclass(frozen=True)
class FeatureDefinition:
    """One feature column.

    Attributes
    ----------
    name : str
    unit : str
        ``"1"`` for counts, ratios and flags; ``"code"`` for categories.
    description : str
        Definition in one sentence, with when it is missing.
    categories : tuple of str, or None
        Values in code order; None for a numeric feature.
    others : Others
        Whose traces the feature holds.
    """

    name: str
    unit: str
    description: str
    categories: tuple[str, ...] | None = None
    others: Others = Others.NOBODY

    @property
    def kind(self) -> FeatureType:
        """Numeric or categorical."""
        return FeatureType.NUMERIC if self.categories is None else FeatureType.CATEGORICAL


def _customer_windows() -> list[FeatureDefinition]:
    counts = [
        FeatureDefinition(
            f"customer_count_{days}d",
            "1",
            f"the customer's earlier payments in the last {days} x 24 h",
        )
        for days in WINDOW_DAYS
    ]
    means = [
        FeatureDefinition(
            f"customer_mean_amount_{days}d",
            "minor currency units",
            f"mean amount of the customer's earlier payments in the last {days} x 24 h; missing if "
            "there is none",
        )
        for days in WINDOW_DAYS
    ]
    return counts + means


def fraud_rate_definition(
    prefix: str, days: int, *, without: str, others: Others
) -> FeatureDefinition:
    """Define the rate that belongs to a count of frauds and one of payments."""
    return FeatureDefinition(
        f"{prefix}_fraud_rate_{days}d",
        "1",
        f"f / (max(c, f) + {PRIOR_PAYMENTS}) with f = {prefix}_fraud_count_{days}d and "
        f"c = {prefix}_count_{days}d; missing without {without}",
        others=others,
    )


def risk_windows(
    entity: str, *, payments: str, frauds: str, without: str
) -> list[FeatureDefinition]:
    """Define counts and rates of a bank's own payments.

    Parameters
    ----------
    entity : str
        As the names have it.
    payments, frauds : str
        Which are counted, as in "payments at the terminal".
    without : str
        Whose absence makes the features missing.
    """
    counts = [
        FeatureDefinition(
            f"{entity}_count_{days}d",
            "1",
            f"{payments} in the {days} x 24 h that ended risk_delay_days ago; missing without "
            f"{without}",
            others=Others.OF_BANK,
        )
        for days in WINDOW_DAYS
    ]
    fraud_counts = [
        FeatureDefinition(
            f"{entity}_fraud_count_{days}d",
            "1",
            f"{frauds} that were reported in the last {days} x 24 h, before this payment, whenever "
            f"they were paid; each not before risk_delay_days after it was paid; missing without "
            f"{without}",
            others=Others.OF_BANK,
        )
        for days in WINDOW_DAYS
    ]
    rates = [
        fraud_rate_definition(entity, days, without=without, others=Others.OF_BANK)
        for days in WINDOW_DAYS
    ]
    return counts + fraud_counts + rates


#: Every feature in column order. A tree would never choose a monotone copy of a column (such as its
#: logarithm), but every secure sum would carry it; so there is none.
FEATURES: tuple[FeatureDefinition, ...] = (
    FeatureDefinition("amount", "minor currency units", "amount of the payment"),
    FeatureDefinition("hour_of_day", "h", "time since midnight UTC, 0 to below 24"),
    FeatureDefinition("is_night", "1", "1 from 00:00:00 to 05:59:59 UTC, else 0"),
    FeatureDefinition("is_weekend", "1", "1 on Saturday and Sunday UTC, else 0"),
    FeatureDefinition("channel", "code", "how it was paid", CATEGORIES["channel"]),
    FeatureDefinition(
        "merchant_category",
        "code",
        "what the merchant sells; missing for transfers",
        CATEGORIES["merchant_category"],
    ),
    FeatureDefinition(
        "customer_seconds_since_previous",
        "s",
        "time since the customer's latest earlier payment; missing for the first",
    ),
    *_customer_windows(),
    FeatureDefinition(
        "amount_over_customer_mean_30d",
        "1",
        "amount / customer_mean_amount_30d; missing if that is missing or 0",
    ),
    FeatureDefinition(
        "new_payee",
        "1",
        "1 if the customer never paid this payee at an earlier second, else 0; missing without "
        "payee",
    ),
    FeatureDefinition(
        "new_device",
        "1",
        "1 if the customer never paid from this device at an earlier second, else 0; missing "
        "without device",
    ),
    FeatureDefinition(
        "device_age_seconds",
        "s",
        "time since the customer first paid from this device, 0 at first sight; missing without "
        "device",
    ),
    FeatureDefinition(
        "distance_km",
        "km",
        "great-circle distance from the place of the customer's latest earlier payment that has "
        "one; missing if either place is",
    ),
    FeatureDefinition(
        "speed_kmh",
        "km/h",
        "distance_km / time between the two payments; missing if distance_km is",
    ),
    *(
        FeatureDefinition(
            f"payee_customers_{days}d",
            "1",
            f"distinct customers of the bank who paid the payee in the last {days} x 24 h, before "
            "this payment; missing without payee",
            others=Others.OF_BANK,
        )
        for days in FAN_IN_DAYS
    ),
    *(
        definition
        for entity in RISK_ENTITIES
        for definition in risk_windows(
            entity,
            payments=f"payments at the {entity}",
            frauds=f"frauds at the {entity}",
            without=entity,
        )
    ),
)


def shared_windows(entity: str, *, at: str, without: str) -> list[FeatureDefinition]:
    """Define counts and rates out of risk tables.

    Parameters
    ----------
    entity : str
        As the names have it.
    at : str
        Which payments are counted, as in "at the terminal".
    without : str
        Whose absence makes the features missing.
    """
    window = (
        "the {days} UTC days of entry that ended risk_publication_lag_days before the day of the "
        "payment"
    )
    counts = [
        FeatureDefinition(
            f"shared_{entity}_count_{days}d",
            "1",
            f"payments {at} that all banks entered for {window.format(days=days)}, at "
            f"or above the true number; missing without {without}",
            others=Others.IN_TABLES,
        )
        for days in WINDOW_DAYS
    ]
    fraud_counts = [
        FeatureDefinition(
            f"shared_{entity}_fraud_count_{days}d",
            "1",
            f"frauds {at} that all banks entered for {window.format(days=days)}, at or "
            f"above the true number; missing without {without}",
            others=Others.IN_TABLES,
        )
        for days in WINDOW_DAYS
    ]
    rates = [
        fraud_rate_definition(f"shared_{entity}", days, without=without, others=Others.IN_TABLES)
        for days in WINDOW_DAYS
    ]
    return counts + fraud_counts + rates


#: Features that a run with risk tables adds after ``FEATURES``, in column order. A payment is
#: entered for the day that lies the risk delay after its own day; see docs/shared-risk.md.
SHARED_FEATURES: tuple[FeatureDefinition, ...] = tuple(
    definition
    for entity in RISK_ENTITIES
    for definition in shared_windows(entity, at=f"at the {entity}", without=entity)
)
