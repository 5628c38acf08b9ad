"""How each effect of the run machine is written, within one transaction."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, null, select, update

from aggregator import run_machine as machine
from aggregator.schema import (
    CohortRow,
    ContributionRow,
    ModelRow,
    OpeningRow,
    ProductRow,
    RoundRow,
    VoteRow,
)
from aggregator.statement import Statement

__all__ = ["Payload", "write_effect"]


@dataclass(frozen=True)
class Payload:
    """Bytes that belong to an event; the state machine knows only their digests."""

    received_bytes: int = 0
    product: bytes | None = None
    """The running product with this contribution in it."""
    opening: bytes | None = None
    model: bytes | None = None
    model_signature: str = ""


# Built once: every round executes them. Parameters that a row is found by begin with ``of_``.
_THIS_ROUND = (RoundRow.run_id == bindparam("of_run"), RoundRow.number == bindparam("of_number"))
_MEMBER_JOINED = Statement(
    update(CohortRow)
    .where(CohortRow.run_id == bindparam("of_run"), CohortRow.bank == bindparam("of_bank"))
    .values(joined_at=bindparam("now"))
)
_ROUND_OPENED = Statement(insert(RoundRow))
_BYTES_RECEIVED = Statement(
    update(RoundRow)
    .where(*_THIS_ROUND)
    .values(bytes_received=RoundRow.bytes_received + bindparam("more"))
)
_ROUND_COMPLETED = Statement(
    update(RoundRow).where(*_THIS_ROUND).values(completed_at=bindparam("now"))
)
_ROUND_CLOSED = Statement(update(RoundRow).where(*_THIS_ROUND).values(closed_at=bindparam("now")))
_CONTRIBUTION = Statement(insert(ContributionRow))
_FIRST_PRODUCT = Statement(insert(ProductRow))
_NEXT_PRODUCT = Statement(
    update(ProductRow)
    .where(ProductRow.run_id == bindparam("of_run"), ProductRow.number == bindparam("of_number"))
    .values(data=bindparam("product"))
)
_OPENING = Statement(insert(OpeningRow))
_EXPIRED_PRODUCTS = Statement(
    delete(ProductRow).where(
        ProductRow.run_id == bindparam("of_run"), ProductRow.number < bindparam("before")
    )
)
_EXPIRED_OPENINGS = Statement(
    update(OpeningRow)
    .where(
        OpeningRow.run_id == bindparam("of_run"),
        OpeningRow.number < bindparam("before"),
        OpeningRow.frame.is_not(None),
    )
    .values(frame=null())
)


def write_effect(
    connection: Connection,
    step: machine.Transition,
    effect: machine.Effect,
    payload: Payload,
    *,
    now: int,
) -> None:
    """Write one effect of ``step``; in their order, because later rows refer to earlier ones.

    What changes in the row of the run itself is the caller's to write.
    """
    run_id = step.run.run_id
    match effect:
        case machine.MemberJoined(bank):
            _MEMBER_JOINED.change(connection, {"of_run": run_id, "of_bank": bank, "now": now})
        case machine.TrainingStarted() | machine.RunFailed():
            pass  # the row of the run says it
        case machine.RoundOpened(number, terms):
            _ROUND_OPENED.change(
                connection,
                {
                    "run_id": run_id,
                    "number": number,
                    "label": terms.label,
                    "context": terms.context,
                    "ciphertexts": terms.count,
                    "bytes_received": 0,
                    "opened_at": now,
                    "completed_at": None,
                    "closed_at": None,
                },
            )
        case machine.ContributionAccepted(bank, number, digest):
            position = len(step.round.contributions) - 1 if step.round else 0
            accepted = {"bank": bank, "position": position, "sha256": digest}
            _write_accepted(connection, _CONTRIBUTION, run_id, number, accepted, payload, now=now)
            if position == 0:
                product = {"run_id": run_id, "number": number, "data": payload.product}
                _FIRST_PRODUCT.change(connection, product)
            else:
                product = {"of_run": run_id, "of_number": number, "product": payload.product}
                _NEXT_PRODUCT.change(connection, product)
        case machine.ProductComplete(number):
            _ROUND_COMPLETED.change(connection, {"of_run": run_id, "of_number": number, "now": now})
        case machine.OpeningAccepted(bank, number, shard, digest):
            position = len(step.round.openings) - 1 if step.round else 0
            accepted = {"bank": bank, "position": position, "shard": shard, "sha256": digest}
            accepted["frame"] = payload.opening
            _write_accepted(connection, _OPENING, run_id, number, accepted, payload, now=now)
        case machine.RoundClosed(number):
            _ROUND_CLOSED.change(connection, {"of_run": run_id, "of_number": number, "now": now})
        case machine.PayloadsExpired(before):
            expired = {"of_run": run_id, "before": before}
            _EXPIRED_PRODUCTS.change(connection, expired)
            _EXPIRED_OPENINGS.change(connection, expired)
        case machine.VoteAccepted(bank, model):
            connection.execute(
                insert(VoteRow),
                {
                    "run_id": run_id,
                    "bank": bank,
                    "position": len(step.run.votes) - 1,
                    "sha256": model.stored,
                    "plain_sha256": model.plain,
                    "signature": payload.model_signature,
                    "submitted_at": now,
                },
            )
        case machine.ModelAccepted(model):
            stored = select(ModelRow.sha256).where(ModelRow.sha256 == model.stored)
            if connection.scalar(stored) is None:
                connection.execute(
                    insert(ModelRow),
                    {"sha256": model.stored, "content": payload.model, "accepted_at": now},
                )


def _write_accepted(
    connection: Connection,
    statement: Statement,
    run_id: str,
    number: int,
    accepted: dict[str, Any],
    payload: Payload,
    *,
    now: int,
) -> None:
    """Write the row of a contribution or an opening, and count its bytes."""
    received = payload.received_bytes
    row = {"run_id": run_id, "number": number, "bytes_received": received, "accepted_at": now}
    statement.change(connection, accepted | row)
    _BYTES_RECEIVED.change(connection, {"of_run": run_id, "of_number": number, "more": received})
