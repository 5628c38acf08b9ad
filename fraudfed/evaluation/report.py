"""What a model is worth on a judge window: every metric with the ends of what the counts allow."""

from dataclasses import dataclass

from fraudfed.evaluation.readings import Reading
from fraudfed.evaluation.score_histogram import Bounded, ReliabilityBin


@dataclass(frozen=True)
class AtBudget:
    """What the alerts of the budget find.

    Attributes
    ----------
    alerts : int
        Payments of all banks that may be alerted on.
    precision : Bounded or None
        Share of frauds among them.
    case_recall, first_seen_case_recall : Bounded or None
        Share of cases found, and of those that nothing known led to.
    case_value_recall, value_recall : Bounded or None
        Amounts of the cases found, and of the frauds alerted on, as a share of all fraud.
    saved_from_alert, saved_after_alert : Bounded or None
        Amounts of the cases found from the first alert on, and after it, as a share of all fraud:
        with the payment that is alerted on stopped, and without.
    """

    alerts: int
    precision: Bounded | None
    case_recall: Bounded | None
    first_seen_case_recall: Bounded | None
    case_value_recall: Bounded | None
    value_recall: Bounded | None
    saved_from_alert: Bounded | None
    saved_after_alert: Bounded | None


@dataclass(frozen=True)
class AtFalsePositiveRate:
    """What is found while at most a share of the clean payments is alerted on.

    Attributes
    ----------
    rate : float
    recall, case_recall, value_recall : Bounded or None
        Of frauds, of cases, of the amount of all fraud.
    """

    rate: float
    recall: Bounded | None
    case_recall: Bounded | None
    value_recall: Bounded | None


@dataclass(frozen=True)
class AtFalsePositiveRatio:
    """What is found while at most ``ratio`` clean accounts are alerted on for each one found.

    Attributes
    ----------
    ratio : int
    account_recall, value_recall : Bounded or None
        Of the accounts that fraud runs through, and of the amount of all fraud.
    """

    ratio: int
    account_recall: Bounded | None
    value_recall: Bounded | None


@dataclass(frozen=True)
class ReadMetrics:
    """All metrics under one reading of the labels.

    Attributes
    ----------
    reading : Reading
    rows, frauds, cases : int
        Of all banks.
    auprc, auc, brier, calibration_error : Bounded or None
        None where a class is missing.
    at_budget : AtBudget
    at_rates : tuple of AtFalsePositiveRate
    at_ratios : tuple of AtFalsePositiveRatio
    reliability : tuple of ReliabilityBin
    """

    reading: Reading
    rows: int
    frauds: int
    cases: int
    auprc: Bounded | None
    auc: Bounded | None
    brier: Bounded | None
    calibration_error: Bounded | None
    at_budget: AtBudget
    at_rates: tuple[AtFalsePositiveRate, ...]
    at_ratios: tuple[AtFalsePositiveRatio, ...]
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class FirstSeen:
    """Frauds that nothing reported led to, against all clean payments.

    Attributes
    ----------
    frauds, cases : int
    auprc, recall : Bounded or None
        Recall at one per cent of false positives.
    """

    frauds: int
    cases: int
    auprc: Bounded | None
    recall: Bounded | None


@dataclass(frozen=True)
class GroupMetrics:
    """A group of payments with at least 20 cases of all banks.

    Attributes
    ----------
    group, value : str
    clean, frauds, cases : int
        ``clean`` is of all payments where clean ones have no such value, as with a kind of fraud.
    auprc, auc, recall : Bounded or None
        Recall at one per cent of false positives among the group's payments.
    case_recall : Bounded or None
        At the threshold of the whole budget, as what follows.
    alert_rate, false_positive_rate, true_positive_rate : Bounded or None
        Share of the group's payments, of its clean ones and of its frauds that are alerted on. The
        first two are None where clean payments have no such value.
    """

    group: str
    value: str
    clean: int
    frauds: int
    cases: int
    auprc: Bounded | None
    auc: Bounded | None
    recall: Bounded | None
    case_recall: Bounded | None
    alert_rate: Bounded | None
    false_positive_rate: Bounded | None
    true_positive_rate: Bounded | None


@dataclass(frozen=True)
class CardPrecision:
    """Each bank's list of the ``k`` most suspicious cards of a day.

    Attributes
    ----------
    k, days : int
        Length of a list, and lists of all banks.
    precision, attainable : float
        Share of compromised cards on the lists, and the largest that was possible.
    """

    k: int
    days: int
    precision: float
    attainable: float


@dataclass(frozen=True)
class PooledReport:
    """What all banks' judged rows say of a model.

    Attributes
    ----------
    rows, censored, blocked_frauds : int
        All rows, those whose label nobody knows, and frauds that were blocked.
    readings : tuple of ReadMetrics
        ``known`` first; the others only where some payment was blocked.
    first_seen : FirstSeen or None
        None where nothing is known of that.
    groups : tuple of GroupMetrics
    cards : tuple of CardPrecision
        Empty without times.
    """

    rows: int
    censored: int
    blocked_frauds: int
    readings: tuple[ReadMetrics, ...]
    first_seen: FirstSeen | None
    groups: tuple[GroupMetrics, ...]
    cards: tuple[CardPrecision, ...]

    @property
    def known(self) -> ReadMetrics:
        """Metrics of the rows whose label is known."""
        return self.readings[0]
