"""What one noised release says of a model: few metrics, each with the ends that noise leaves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Noised:
    """A metric of noised counts.

    Attributes
    ----------
    estimate : float
    low, high : float
        Where the metric of the counted rows lies, as far as the order of rows within a range
        leaves it open, and 1.96 standard deviations of the noise more on either side.
    noise : float
        Standard deviation of the estimate that the noise makes.
    """

    estimate: float
    low: float
    high: float
    noise: float


@dataclass(frozen=True)
class NoisedAtBudget:
    """What the alerts of the budget find.

    Attributes
    ----------
    alerts : int
        Payments of all banks that may be alerted on; of a default budget a share of noised rows.
    recall, precision : Noised or None
        Share of frauds alerted on, and of frauds among the alerts.
    """

    alerts: int
    recall: Noised | None
    precision: Noised | None


@dataclass(frozen=True)
class NoisedReport:
    """The whole of a verdict under privacy terms.

    Attributes
    ----------
    n_counts : int
        Noised counts that everything here is made of.
    count_noise : float
        Standard deviation of the noise of each, in rows.
    row_cap : int or None
        No customer had more rows counted; None where the unit is a row.
    rows, frauds : int
        Noised, of the rows whose label is known.
    rows_noise : float
        Standard deviation of the noise of ``frauds``, and of the clean rows among ``rows``.
    auprc, auc, brier, log_loss : Noised or None
        None if the noise leaves too few frauds, or clean rows, to say anything.
    at_budget : NoisedAtBudget
    """

    n_counts: int
    count_noise: float
    row_cap: int | None
    rows: int
    frauds: int
    rows_noise: float
    auprc: Noised | None
    auc: Noised | None
    brier: Noised | None
    log_loss: Noised | None
    at_budget: NoisedAtBudget
