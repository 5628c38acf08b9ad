"""How each effect of the run machine is written, within one transaction."""

from dataclasses import dataclass

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from aggregator import run_machine as machine
from aggregator.schema import (
    CohortRow,
    ContributionRow,
    ModelRow,
    OpeningRow,
    ProductRow,
    RoundRow,
    RunRow,
    VoteRow,
)

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


def write_effect(
    session: Session,
    run_id: str,
    step: machine.Transition,
    effect: machine.Effect,
    payload: Payload,
    *,
    now: int,
) -> None:
    """Write one effect of ``step``; in their order, because later rows refer to earlier ones."""
    match effect:
        case machine.MemberJoined(bank):
            session.execute(
                update(CohortRow)
                .where(CohortRow.run_id == run_id, CohortRow.bank == bank)
                .values(joined_at=now)
            )
        case machine.TrainingStarted():
            pass  # ``runs.state`` says it
        case machine.RoundOpened(number, terms):
            session.add(
                RoundRow(
                    run_id=run_id,
                    number=number,
                    label=terms.label,
                    context=terms.context,
                    ciphertexts=terms.count,
                    bytes_received=0,
                    opened_at=now,
                )
            )
        case machine.ContributionAccepted():
            _store_contribution(session, run_id, step, effect, payload, now)
        case machine.ProductComplete(number):
            _set_round(session, run_id, number, completed_at=now)
        case machine.OpeningAccepted(bank, number, shard, digest):
            session.add(
                OpeningRow(
                    run_id=run_id,
                    number=number,
                    bank=bank,
                    position=len(step.round.openings) - 1 if step.round else 0,
                    shard=shard,
                    sha256=digest,
                    bytes_received=payload.received_bytes,
                    accepted_at=now,
                    frame=payload.opening,
                )
            )
            _count_bytes(session, run_id, number, payload.received_bytes, ciphertexts=0)
        case machine.RoundClosed(number):
            _set_round(session, run_id, number, closed_at=now)
        case machine.PayloadsExpired(before):
            session.execute(
                delete(ProductRow).where(ProductRow.run_id == run_id, ProductRow.number < before)
            )
            session.execute(
                update(OpeningRow)
                .where(
                    OpeningRow.run_id == run_id,
                    OpeningRow.number < before,
                    OpeningRow.frame.is_not(None),
                )
                .values(frame=None)
            )
        case machine.VoteAccepted(bank, model):
            session.add(
                VoteRow(
                    run_id=run_id,
                    bank=bank,
                    position=len(step.run.votes) - 1,
                    sha256=model.stored,
                    plain_sha256=model.plain,
                    signature=payload.model_signature,
                    submitted_at=now,
                )
            )
        case machine.ModelAccepted(model):
            if session.get(ModelRow, model.stored) is None:
                session.add(ModelRow(sha256=model.stored, content=payload.model, accepted_at=now))
            _end_run(session, run_id, now)
        case machine.RunFailed():
            _end_run(session, run_id, now)
    session.flush()


def _store_contribution(
    session: Session,
    run_id: str,
    step: machine.Transition,
    effect: machine.ContributionAccepted,
    payload: Payload,
    now: int,
) -> None:
    ciphertexts = step.round.terms.count if step.round else 0
    position = len(step.round.contributions) - 1 if step.round else 0
    session.add(
        ContributionRow(
            run_id=run_id,
            number=effect.number,
            bank=effect.bank,
            position=position,
            sha256=effect.digest,
            bytes_received=payload.received_bytes,
            accepted_at=now,
        )
    )
    if position == 0:
        session.add(ProductRow(run_id=run_id, number=effect.number, data=payload.product))
    else:
        session.execute(
            update(ProductRow)
            .where(ProductRow.run_id == run_id, ProductRow.number == effect.number)
            .values(data=payload.product)
        )
    _count_bytes(session, run_id, effect.number, payload.received_bytes, ciphertexts=ciphertexts)


def _count_bytes(
    session: Session, run_id: str, number: int, received_bytes: int, *, ciphertexts: int
) -> None:
    session.execute(
        update(RoundRow)
        .where(RoundRow.run_id == run_id, RoundRow.number == number)
        .values(bytes_received=RoundRow.bytes_received + received_bytes)
    )
    session.execute(
        update(RunRow)
        .where(RunRow.id == run_id)
        .values(
            bytes_received=RunRow.bytes_received + received_bytes,
            ciphertexts=RunRow.ciphertexts + ciphertexts,
        )
    )


def _set_round(session: Session, run_id: str, number: int, **values: int) -> None:
    session.execute(
        update(RoundRow)
        .where(RoundRow.run_id == run_id, RoundRow.number == number)
        .values(**values)
    )


def _end_run(session: Session, run_id: str, now: int) -> None:
    session.execute(update(RunRow).where(RunRow.id == run_id).values(ended_at=now))
