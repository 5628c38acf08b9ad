"""An answer as the decision log has it, and what the log has as an answer again."""

from bank_node.decisions.bins import bins_of, row_of
from bank_node.decisions.decision import NO_POLICY, Decision
from bank_node.policy import Decided
from bank_node.service.messages import Answer
from bank_node.service.past_answers import other_content
from bank_node.serving.bundle import Bundle
from bank_node.serving.ladder import Judged, Step
from bank_node.serving.scorer import Scorer
from fraudfed.dtypes import Float32Array
from fraudfed.features.payment import Payment
from fraudfed.reasons import Catalogue, Reason, reasons_in, shown_values, with_shown

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
    )


def payment_of(decision: Decision) -> Payment:
    """Return what a decision has of its payment: enough to report it as a fraud."""
    return Payment(**{name: getattr(decision, name) for name in _OF_PAYMENT})


def require_same(decision: Decision, payment: Payment) -> None:
    """Raise ConflictError if a decision is about another payment of the same identifier."""
    for name in _OF_PAYMENT:
        if getattr(decision, name) != getattr(payment, name):
            raise other_content(payment.transaction_id)


def answer_of(decision: Decision, bundle: Bundle) -> Answer:
    """Return the answer that a decision was; with reasons while its model is served."""
    reasons: tuple[Reason, ...] = ()
    for scorer in (bundle.champion, bundle.second):
        if scorer is not None and scorer.sha256 == decision.model_sha256 and decision.bins:
            row = row_of(decision.bins, scorer.model)
            contributions = scorer.contributions(row)
            catalogue = _catalogue_of(bundle, scorer)
            if catalogue is not None:
                row, _ = with_shown(row, decision.shown, catalogue)
            reasons = reasons_by(bundle, scorer, row, contributions, decision.currency)
    has_policy = decision.action != NO_POLICY
    return Answer(
        transaction_id=decision.transaction_id,
        probability=decision.probability,
        score=decision.score,
        margin=decision.margin,
        action=decision.action if has_policy else None,
        rule=decision.rule if has_policy else None,
        warn_only=decision.full_action is not None and decision.full_action != decision.action,
        step=Step(decision.step),
        has_state=decision.step != Step.NO_STATE,
        model_sha256=decision.model_sha256,
        policy_sha256=decision.policy_sha256,
        tables_sha256=decision.tables_sha256,
        decided_at=decision.decided_at,
        reasons=reasons,
    )


def reasons_of(bundle: Bundle, judged: Judged, currency: str | None) -> tuple[Reason, ...]:
    """Return why a payment has its score; nothing if no model scored it."""
    scored, row = judged.scored, judged.row
    if scored is None or scored.contributions is None or judged.scorer is None or row is None:
        return ()
    return reasons_by(bundle, judged.scorer, row, scored.contributions, currency)


def reasons_by(
    bundle: Bundle,
    scorer: Scorer,
    row: Float32Array,
    contributions: Float32Array,
    currency: str | None,
) -> tuple[Reason, ...]:
    """Return the reasons of what each feature of a row added; nothing without a catalogue."""
    catalogue = _catalogue_of(bundle, scorer)
    if catalogue is None:
        return ()
    return reasons_in(catalogue, contributions, row, currency=currency)


def _catalogue_of(bundle: Bundle, scorer: Scorer) -> Catalogue | None:
    return bundle.catalogue if scorer is bundle.champion else bundle.second_catalogue
