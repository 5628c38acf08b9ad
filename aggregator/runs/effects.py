"""How each effect of the run machine is written, within one transaction."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from aggregator import run_machine as machine
from aggregator.storage.schema import (
    CohortRow,
    ContributionRow,
    HandoverRow,
    HandoverSignatureRow,
    ModelRow,
    OpeningRow,
    ProductRow,
    RoundRow,
    VoteRow,
)
from aggregator.storage.statement import Statement
from fraudfed.paillier.vector import CiphertextVector


@dataclass(frozen=True)
class Payload:
    """Bytes that belong to an event; the state machine knows only their digests."""

    received_bytes: int = 0
    factor: CiphertextVector | None = None
    """The ciphertexts of a contribution, to be multiplied into the running product."""
    product: bytes | None = None
    """The running product with this contribution in it; None if it is written with a later one."""
    is_first_product: bool = False
    """Whether there is no product of the round yet."""
    commitment: str = ""
    """Of the contribution, to the seed of its self mask."""
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
_ROUND_ABANDONED = Statement(
    update(RoundRow).where(*_THIS_ROUND).values(abandoned_at=bindparam("now"))
)
_THIS_BANK = (CohortRow.run_id == bindparam("of_run"), CohortRow.bank == bindparam("of_bank"))
_BANK_WAITS = Statement(update(CohortRow).where(*_THIS_BANK).values(waits=1))
_BANK_READY = Statement(
    update(CohortRow)
    .where(*_THIS_BANK)
    .values(
        ready_step=bindparam("ready_step"),
        more_rows=bindparam("more_rows"),
        ready_key=bindparam("ready_key"),
        ready_signature=bindparam("ready_signature"),
    )
)
_BANK_IN_GENERATION = Statement(
    update(CohortRow)
    .where(*_THIS_BANK)
    .values(
        takes_part=bindparam("takes_part"),
        is_entrant=bindparam("is_entrant"),
        was_there=bindparam("was_there"),
        drops=bindparam("drops"),
        waits=bindparam("waits"),
        ready_step=bindparam("ready_step"),
        more_rows=bindparam("more_rows"),
        ready_key=bindparam("ready_key"),
        ready_signature=bindparam("ready_signature"),
    )
)
_NO_VOTES = Statement(delete(VoteRow).where(VoteRow.run_id == bindparam("of_run")))
_NO_HANDOVERS = tuple(
    Statement(delete(table).where(table.run_id == bindparam("of_run")))
    for table in (HandoverRow, HandoverSignatureRow)
)
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
_EXPIRED_OPENINGS = tuple(
    Statement(
        delete(table).where(table.run_id == bindparam("of_run"), table.number < bindparam("before"))
    )
    for table in (OpeningRow, ContributionRow)
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
    if not effect.has_rows:
        return
    run_id = step.run.run_id
    match effect:
        case machine.MemberJoined(bank):
            _MEMBER_JOINED.change(connection, {"of_run": run_id, "of_bank": bank, "now": now})
        case machine.MemberWaits(bank):
            _BANK_WAITS.change(connection, {"of_run": run_id, "of_bank": bank})
        case machine.GenerationFormed():
            _write_generation(connection, step.run)
        case machine.MemberReady(readiness):
            of_bank = {"of_run": run_id, "of_bank": readiness.bank}
            _BANK_READY.change(connection, of_bank | _ready_columns(readiness))
        case machine.RunFailed():
            for statement in _NO_HANDOVERS:
                statement.change(connection, {"of_run": run_id})
        case machine.RoundOpened(number, terms):
            _ROUND_OPENED.change(
                connection,
                {
                    "run_id": run_id,
                    "number": number,
                    "label": terms.label,
                    "context": terms.context,
                    "generation": step.run.generation,
                    "step": terms.step,
                    "ciphertexts": terms.count,
                    "bytes_received": 0,
                    "opened_at": now,
                    "completed_at": None,
                    "closed_at": None,
                    "abandoned_at": None,
                },
            )
        case machine.ContributionAccepted(bank, number, _, digest):
            position = len(step.round.contributions) - 1 if step.round else 0
            accepted = {"bank": bank, "position": position, "sha256": digest}
            accepted["commitment"] = payload.commitment
            _write_accepted(connection, _CONTRIBUTION, run_id, number, accepted, payload, now=now)
            if payload.product is not None and payload.is_first_product:
                product = {"run_id": run_id, "number": number, "data": payload.product}
                _FIRST_PRODUCT.change(connection, product)
            elif payload.product is not None:
                product = {"of_run": run_id, "of_number": number, "product": payload.product}
                _NEXT_PRODUCT.change(connection, product)
        case machine.ProductComplete(number):
            _ROUND_COMPLETED.change(connection, {"of_run": run_id, "of_number": number, "now": now})
        case machine.OpeningAccepted(bank, number, _, shard, digest):
            position = len(step.round.openings) - 1 if step.round else 0
            accepted = {"bank": bank, "position": position, "shard": shard, "sha256": digest}
            accepted["frame"] = payload.opening
            _write_accepted(connection, _OPENING, run_id, number, accepted, payload, now=now)
        case machine.RoundClosed(number):
            _ROUND_CLOSED.change(connection, {"of_run": run_id, "of_number": number, "now": now})
        case machine.RoundAbandoned(number):
            _ROUND_ABANDONED.change(connection, {"of_run": run_id, "of_number": number, "now": now})
        case machine.ProductsExpired(before):
            _EXPIRED_PRODUCTS.change(connection, {"of_run": run_id, "before": before})
        case machine.OpeningsExpired(before):
            for statement in _EXPIRED_OPENINGS:
                statement.change(connection, {"of_run": run_id, "before": before})
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
            for statement in _NO_HANDOVERS:
                statement.change(connection, {"of_run": run_id})
            stored = select(ModelRow.sha256).where(ModelRow.sha256 == model.stored)
            if connection.scalar(stored) is None:
                connection.execute(
                    insert(ModelRow),
                    {"sha256": model.stored, "content": payload.model, "accepted_at": now},
                )
        case _:
            raise TypeError(f"has rows, but it is not said which: {effect!r}")


def _write_generation(connection: Connection, run: machine.Run) -> None:
    """Write which banks take part from now on, and which have agreed; none has voted."""
    ready = {one.bank: one for one in run.ready}
    for bank in run.cohort:
        _BANK_IN_GENERATION.change(
            connection,
            {
                "of_run": run.run_id,
                "of_bank": bank,
                "takes_part": int(bank in run.banks),
                "is_entrant": int(bank in run.entrants),
                "was_there": int(bank in run.before),
                "drops": run.dropped(bank),
                "waits": int(bank in run.waiting),
            }
            | _ready_columns(ready.get(bank)),
        )
    _NO_VOTES.change(connection, {"of_run": run.run_id})


def _ready_columns(readiness: machine.Readiness | None) -> dict[str, int | str | None]:
    if readiness is None:
        return {"ready_step": None, "more_rows": 0, "ready_key": "", "ready_signature": ""}
    return {
        "ready_step": readiness.step,
        "more_rows": readiness.more_rows,
        "ready_key": readiness.key,
        "ready_signature": readiness.signature,
    }


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
