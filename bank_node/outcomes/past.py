"""Past payments with what is known of them: what a policy is tried on, and a report counts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bank_node.decisions.decision import Decision
from bank_node.outcomes.label import Label


@dataclass(frozen=True, kw_only=True, slots=True)
class PastPayment:
    """One payment.

    Attributes
    ----------
    transaction_id, customer_id : str
    event_time : int
        UTC epoch seconds.
    channel, direction : str or None
    amount_minor : int
    probability, score : float or None
    is_fraud : bool
        As far as is known.
    is_blocked : bool
        It did not go through, so that nobody may ever know.
    label_time : int or None
        When the fraud was reported, UTC epoch seconds.
    """

    transaction_id: str
    customer_id: str
    event_time: int
    channel: str | None
    direction: str | None
    amount_minor: int
    probability: float | None
    score: float | None
    is_fraud: bool
    is_blocked: bool
    label_time: int | None = None


def past_of(
    decisions: Iterable[Decision], label: Callable[[str], Label | None]
) -> list[PastPayment]:
    """Return the payments of a log; ``label`` tells what is known of a transaction."""
    found = []
    for each in decisions:
        known = label(each.transaction_id)
        is_fraud = known is not None and known.is_fraud == 1
        found.append(
            PastPayment(
                transaction_id=each.transaction_id,
                customer_id=each.customer_id,
                event_time=each.event_time,
                channel=each.channel,
                direction=each.direction,
                amount_minor=each.amount_minor,
                probability=each.probability,
                score=each.score,
                is_fraud=is_fraud,
                is_blocked=known is not None and known.is_blocked,
                label_time=known.label_time if known is not None and is_fraud else None,
            )
        )
    return found
