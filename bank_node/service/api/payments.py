"""Score, observe, and hear what became of payments."""

from collections.abc import Callable

from bank_node.outcomes.label import LabelSource, Status
from bank_node.service.api.describe import TITLES
from bank_node.service.api.services import service
from bank_node.service.messages import (
    Answer,
    Answers,
    LoggedAnswer,
    Noted,
    NotedLabels,
    Observed,
    SentLabel,
    SentLabels,
    SentPayment,
    SentPayments,
    SentStatus,
)
from fraudfed.errors import FraudFedError, NotFoundError, UnavailableError
from fraudfed.http.server.declare import Endpoint, Endpoints
from fraudfed.http.server.problems import problem_of
from fraudfed.wire.messages import Problem, parse

endpoints = Endpoints(Endpoint)


def _each(sent: SentPayments, one: Callable[[SentPayment], Answer | Observed]) -> Answers:
    """Answer each payment; one that is refused does not hold up the others."""
    found: list[Answer | Observed | Problem] = []
    for payment in sent.payments:
        try:
            found.append(one(payment))
        except UnavailableError:
            raise
        except FraudFedError as error:
            if len(sent.payments) == 1:
                raise
            found.append(problem_of(error, titles=TITLES))
    return Answers(answers=tuple(found))


@endpoints.add(
    method="POST",
    rule="/score",
    summary="Score payments, and remember none.",
    reads=SentPayments,
    answers=Answers,
)
def score(body: SentPayments) -> Answers:
    """Score."""
    return _each(body, lambda payment: service().score(payment, reasons=body.reasons))


@endpoints.add(
    method="POST",
    rule="/observe",
    summary="Remember payments, and score none.",
    reads=SentPayments,
    answers=Answers,
)
def observe(body: SentPayments) -> Answers:
    """Observe."""
    return _each(
        body,
        lambda payment: Observed(
            transaction_id=payment.transaction_id, arrival=service().observe(payment)
        ),
    )


@endpoints.add(
    method="POST",
    rule="/payments",
    summary="Score payments and remember them, each as it arrives.",
    reads=SentPayments,
    answers=Answers,
)
def score_and_observe(body: SentPayments) -> Answers:
    """Score and observe."""
    return _each(body, lambda payment: service().score(payment, reasons=body.reasons, observe=True))


def _note(transaction_id: str, sent: SentStatus, status: Status) -> Noted:
    found = {
        "transaction_id": transaction_id,
        "status": status,
        "source": LabelSource.SYSTEM,
        "time": service().now() if sent.time is None else sent.time,
    }
    label = parse(SentLabel, found, source="address")
    return Noted(new=service().label((label,)).new)


@endpoints.add(
    method="POST",
    rule="/payments/<transaction_id>/confirm",
    summary="Note that a payment went through.",
    reads=SentStatus,
    answers=Noted,
)
def confirm(transaction_id: str, body: SentStatus) -> Noted:
    """Note it; features do not change."""
    return _note(transaction_id, body, Status.EXECUTED)


@endpoints.add(
    method="POST",
    rule="/payments/<transaction_id>/decline",
    summary="Note that a payment did not go through. It stays in the history of its customer.",
    reads=SentStatus,
    answers=Noted,
)
def decline(transaction_id: str, body: SentStatus) -> Noted:
    """Note it; features do not change."""
    return _note(transaction_id, body, Status.DECLINED)


@endpoints.add(
    method="POST",
    rule="/payments/<transaction_id>/reverse",
    summary="Note that a payment was taken back after it went through.",
    reads=SentStatus,
    answers=Noted,
)
def reverse(transaction_id: str, body: SentStatus) -> Noted:
    """Note it; features do not change."""
    return _note(transaction_id, body, Status.PAYMENT_REVERSED)


@endpoints.add(
    method="POST",
    rule="/labels",
    summary="Note what was heard of payments. A fraud counts for its payee, merchant and terminal: "
    "of a payment that was scored here, or that is given.",
    reads=SentLabels,
    answers=NotedLabels,
)
def label(body: SentLabels) -> NotedLabels:
    """Note it."""
    return service().label(body.labels)


@endpoints.add(
    method="GET",
    rule="/decisions/<transaction_id>",
    summary="What was answered about a payment.",
    answers=LoggedAnswer,
    errors=(NotFoundError,),
)
def decision(transaction_id: str) -> LoggedAnswer:
    """Return it from the decision log."""
    return service().decision(transaction_id)
