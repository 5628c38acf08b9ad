"""What these commands print with ``--json``. All of it stays on the bank's machine."""

from fraudfed.console import Answer


class CheckedPolicy(Answer):
    """``policy check``.

    Attributes
    ----------
    version, sha256 : str
    warn_only : bool
    rules : tuple of str
        Their names.
    needs_probability : bool
        It reads calibrated probabilities: the model needs a calibration.
    """

    version: str
    sha256: str
    warn_only: bool
    rules: tuple[str, ...]
    needs_probability: bool


class TriedOn(Answer):
    """What a policy would have done; of all payments (channel None), or of a channel.

    Attributes
    ----------
    As ``bank_node.outcomes.trial.Trial``.
    """

    channel: str | None
    payments: int
    frauds: int
    days: int
    actions: dict[str, int]
    alerts_a_day: float
    busiest_day: int
    days_over_budget: int
    frauds_alerted: int
    fraud_minor: int
    stopped_minor: int
    warned_minor: int
    customers_bothered: int
    fallbacks: int
    budget_threshold: float | None
    net_benefit: float | None


class TriedPolicy(Answer):
    """One policy of ``policy try``."""

    version: str
    sha256: str
    currency: str
    warn_only: bool
    alert_budget_a_day: int
    parts: tuple[TriedOn, ...]


class TriedPolicies(Answer):
    """``policy try``: the policy, and the one that it was tried against."""

    policies: tuple[TriedPolicy, ...]


class ShownDecision(Answer):
    """``decisions show``; as ``bank_node.decisions.decision.Decision``, with bytes as hexadecimal.

    Attributes
    ----------
    labels : tuple of HeardLabel
        What was heard of the payment.
    """

    transaction_id: str
    customer_id: str
    event_time: int
    decided_at: int
    channel: str | None
    direction: str | None
    amount_minor: int
    currency: str | None
    margin: float | None
    score: float | None
    probability: float | None
    action: str
    rule: str
    step: str
    model_sha256: str | None
    policy_sha256: str | None
    tables_sha256: str | None
    bins: str
    shown: str
    challenger_sha256: str | None
    challenger_margin: float | None
    propensity: float | None
    full_action: str | None
    has_state: bool
    warn_only: bool
    with_reasons: bool
    risk_age_days: int | None
    bundle_seconds: int
    payee_id: str | None
    payer_id: str | None
    merchant_id: str | None
    terminal_id: str | None
    labels: tuple["HeardLabel", ...]


class HeardLabel(Answer):
    """One thing heard of a payment; ``time`` is UTC epoch seconds."""

    time: int
    status: str
    source: str
    fraud_kind: str | None
    never_revised: bool


class ExportedRows(Answer):
    """``decisions export`` and ``outcomes export``."""

    out: str
    rows: int


class ErasedCustomer(Answer):
    """``decisions erase``; ``done`` is false where it was only counted."""

    decisions: int
    labels: int
    done: bool


class VerifiedDecisions(Answer):
    """``decisions verify``; times are UTC epoch seconds."""

    segments: int
    decisions: int
    erased: int
    first: int | None
    last: int | None


class AddedLabels(Answer):
    """``outcomes add``; ``new`` of the ``rows`` were not known."""

    rows: int
    new: int


class ShownLabels(Answer):
    """``outcomes show``: what was heard, and what it means now."""

    transaction_id: str
    is_fraud: int | None
    label_time: int | None
    is_blocked: bool
    heard: tuple[HeardLabel, ...]


class ReportedWeek(Answer):
    """Payments of a week, Monday to Sunday UTC; see ``fraudfed.evaluation.drift.outcomes``.

    Attributes
    ----------
    monday : str
        ISO date.
    decisions, alerts, frauds, frauds_alerted : int
    completeness, completeness_lower, completeness_upper : float or None
        Share of the week's frauds that is known, by estimate, and ends of 95 %.
    is_young : bool or None
        Completeness is below 95 %: the figures below will move.
    precision, precision_lower, precision_upper : float or None
        Divided by completeness, and by its ends.
    recall : float or None
    fraud_minor, saved_minor : int
        Money of all frauds, and of those held or blocked, divided by completeness; minor units.
    """

    monday: str
    decisions: int
    alerts: int
    frauds: int
    frauds_alerted: int
    completeness: float | None
    completeness_lower: float | None
    completeness_upper: float | None
    is_young: bool | None
    precision: float | None
    precision_lower: float | None
    precision_upper: float | None
    recall: float | None
    fraud_minor: int
    saved_minor: int


class ReportedHoldOut(Answer):
    """As ``bank_node.outcomes.report.HeldOut``."""

    blocked: int
    held_out: int
    frauds: int
    precision: float | None
    lower: float | None
    upper: float | None


class OutcomesReport(Answer):
    """``outcomes report``; ``currency`` is None where amounts are of several, or of none.

    Attributes
    ----------
    as_of : int
        Time up to which labels are known, UTC epoch seconds.
    currency : str or None
    delay_window_days : float or None
        Completeness is of the frauds that are reported within so many days; None with too few
        frauds to estimate it.
    weeks : tuple of ReportedWeek
    holdout : ReportedHoldOut or None
    """

    as_of: int
    currency: str | None
    delay_window_days: float | None
    weeks: tuple[ReportedWeek, ...]
    holdout: ReportedHoldOut | None
