"""Past payments with what is known of them: what a policy is tried on, and a report counts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bank_node.decisions.decision import Decision
from bank_node.outcomes.label import Label
from fraudfed.errors import DataError
from fraudfed.intake.outcomes import stopped_payments


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


def past_of_file(rows: pd.DataFrame, scores: pd.DataFrame) -> list[PastPayment]:
    """Return the scored payments of a file.

    Parameters
    ----------
    rows : DataFrame
        Raw transactions, with labels where they are known.
    scores : DataFrame
        ``transaction_id``, ``score``, and perhaps ``probability``, as ``bank-node score`` writes.

    Raises
    ------
    DataError
        If a column is missing, or no payment has a score.
    """
    for name in ("transaction_id", "score"):
        if name not in scores.columns:
            raise DataError(
                f"scores: column {name!r} is missing; give a file that 'bank-node score' wrote"
            )
    chosen = ["transaction_id", "score", *({"probability"} & set(scores.columns))]
    scores = scores[chosen].astype({"transaction_id": "str"})
    for name in chosen[1:]:
        try:
            scores[name] = pd.to_numeric(scores[name]).astype("float64")
        except ValueError as error:
            raise DataError(f"scores: column {name!r}: {error}; correct the file") from None
    table = rows.merge(scores, on="transaction_id", how="inner")
    if table.empty:
        raise DataError(
            "scores: no payment of the file has a score; score this file with 'bank-node score'"
        )
    stopped = stopped_payments(table)

    def column(name: str) -> list[Any]:
        if name not in table.columns:
            return [None] * len(table)
        values = table[name].astype(object)
        return [None if pd.isna(value) else value for value in values]

    names = ("transaction_id", "customer_id", "event_time", "channel", "direction", "amount_minor")
    others = ("probability", "score", "is_fraud", "label_time")
    found = []
    for number, row in enumerate(zip(*map(column, (*names, *others)), strict=True)):
        known = dict(zip((*names, *others), row, strict=True))
        is_fraud = known["is_fraud"] == 1
        label_time = known.pop("label_time")
        found.append(
            PastPayment(
                **{
                    **known,
                    "is_fraud": is_fraud,
                    "event_time": int(known["event_time"]),
                    "amount_minor": int(known["amount_minor"]),
                    "is_blocked": bool(stopped[number]),
                    "label_time": int(label_time) if is_fraud else None,
                }
            )
        )
    return found
