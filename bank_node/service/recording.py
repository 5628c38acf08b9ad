"""An answer as the decision log has it."""

from bank_node.decisions.bins import bins_of
from bank_node.decisions.decision import NO_POLICY, Decision
from bank_node.policy import Decided
from bank_node.service.messages import Answer, ReasonsKind
from bank_node.service.past_answers import other_content
from bank_node.serving.bundle import Bundle
from bank_node.serving.ladder import Judged
from bank_node.serving.scorer import Scorer
from fraudfed.features.payment import Payment
from fraudfed.reasons import Catalogue, Reason, reasons_in, shown_values

#: What a decision has of its payment.
_OF_PAYMENT = (
    *("transaction_id", "customer_id", "event_time", "amount_minor", "currency"),
    *("channel", "direction", "payee_id", "payer_id", "merchant_id", "terminal_id"),
)


def decision_of(
    bundle: Bundle, payment: Payment, judged: Judged, answer: Answer, decided: Decided | None
) -> Decision:
    """Return what is written down about an answer, before it is sent."""
    bins = shown = b""
    if judged.scorer is not None and judged.row is not None:
        bins = bins_of(judged.row, judged.scorer.model)
        catalogue = _catalogue_of(bundle, judged.scorer)
        if catalogue is not None:
            shown = shown_values(answer.reasons, judged.row, catalogue)
    return Decision(
        **{name: getattr(payment, name) for name in _OF_PAYMENT},
        decided_at=answer.decided_at,
        margin=answer.margin,
        score=answer.score,
        probability=answer.probability,
        action=NO_POLICY if decided is None else decided.action.value,
        rule="no policy decided" if decided is None else decided.rule,
        step=answer.step.value,
        model_sha256=answer.model_sha256,
        policy_sha256=answer.policy_sha256,
        tables_sha256=answer.tables_sha256,
        bins=bins,
        shown=shown,
        challenger_sha256=None if bundle.challenger is None else bundle.challenger.sha256,
        propensity=None if decided is None else decided.propensity,
        full_action=None if decided is None else decided.full_action.value,
        has_state=answer.has_state,
        warn_only=answer.warn_only,
        with_reasons=answer.reasons_are is ReasonsKind.GIVEN,
        risk_age_days=answer.age.risk_days,
        bundle_seconds=answer.age.bundle_seconds,
    )


def payment_of(decision: Decision) -> Payment:
    """Return what a decision has of its payment: enough to report it as a fraud."""
    return Payment(**{name: getattr(decision, name) for name in _OF_PAYMENT})


def require_same(decision: Decision, payment: Payment) -> None:
    """Raise ConflictError if a decision is about another payment of the same identifier."""
    for name in _OF_PAYMENT:
        if getattr(decision, name) != getattr(payment, name):
            raise other_content(payment.transaction_id)


def reasons_of(bundle: Bundle, judged: Judged, currency: str | None) -> tuple[Reason, ...]:
    """Return why a payment has its score; nothing if no model scored it."""
    scored, row = judged.scored, judged.row
    if scored is None or scored.contributions is None or judged.scorer is None or row is None:
        return ()
    catalogue = _catalogue_of(bundle, judged.scorer)
    if catalogue is None:
        return ()
    return reasons_in(catalogue, scored.contributions, row, currency=currency)


def _catalogue_of(bundle: Bundle, scorer: Scorer) -> Catalogue | None:
    return bundle.catalogue if scorer is bundle.champion else bundle.second_catalogue
