"""Key epochs: announced by a steward, acknowledged by all, ended by any change of the members.

::

    pending --(every bank of the roster acknowledged)--> active
       |                                                   |
       '---- a later epoch, or a member joins or leaves ---'--> superseded
"""

import time
from functools import lru_cache

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from aggregator.audit.log import AuditTrail
from aggregator.caller import Caller
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import AcknowledgementRow, BankRow, KeyEpochRow
from aggregator.storage.transaction import Transaction
from fraudfed.consortium.public.documents import (
    key_epoch_digest,
    verify_acknowledgement,
    verify_key_epoch,
)
from fraudfed.errors import ConflictError, ForbiddenError, NotFoundError, ProtocolError
from fraudfed.wire.messages import KeyAcknowledgement, KeyEpoch, KeyEpochState, KeyEpochStatus


def retire_epochs(session: Session, now: int) -> None:
    """End every epoch, because the members have changed."""
    session.execute(
        update(KeyEpochRow).where(KeyEpochRow.retired_at.is_(None)).values(retired_at=now)
    )


def key_epoch(session: Session, epoch: int) -> KeyEpoch:
    """Return an epoch as it was announced.

    Raises
    ------
    NotFoundError
        If there is none of this number.
    """
    return _parsed(_row(session, epoch).document)


def require_active_epoch(session: Session, epoch: int) -> KeyEpoch:
    """Return an epoch that a run may be opened with.

    Raises
    ------
    NotFoundError
        If there is none of this number.
    ConflictError
        If it is not active.
    """
    status = _status(session, _row(session, epoch))
    if status.state is KeyEpochState.ACTIVE:
        return status.key_epoch
    last = session.scalar(select(func.max(KeyEpochRow.epoch)))
    if status.state is KeyEpochState.PENDING:
        missing = {m.name for m in status.key_epoch.roster} - {a.bank for a in status.acknowledged}
        raise ConflictError(
            f"key epoch {epoch} is pending: {', '.join(sorted(missing))} must acknowledge it "
            "before a run can use it"
        )
    reason = f"epoch {last} came after it" if last != epoch else "the members have changed since"
    raise ConflictError(
        f"key epoch {epoch} is superseded: {reason}; use the newest, or let a steward bank make "
        "one for the members of now"
    )


class KeyEpochs:
    """The key epochs of one aggregator. Safe to use from many threads."""

    def __init__(self, database: Database, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail

    def announce(self, wanted: KeyEpoch, caller: Caller) -> KeyEpochStatus:
        """Store a steward's epoch; the same again changes nothing.

        Raises
        ------
        ForbiddenError
            If the caller is not the steward.
        KeyMaterialError
            If the steward's signature is wrong.
        ConflictError
            If it is not the next epoch, or its roster is not that of the members now.
        """
        if wanted.steward != caller.bank:
            raise ForbiddenError(
                f"key epoch {wanted.epoch} names {wanted.steward!r} as its steward, but "
                f"{caller.name!r} sent it"
            )
        verify_key_epoch(wanted)
        digest = key_epoch_digest(wanted)
        now = int(time.time())

        def announce(written: Transaction) -> KeyEpochStatus:
            session = written.session
            known = session.get(KeyEpochRow, wanted.epoch)
            if known is not None and known.digest == digest:
                return _status(session, known)
            last = session.scalar(select(func.max(KeyEpochRow.epoch))) or 0
            if wanted.epoch != last + 1:
                raise ConflictError(
                    f"key epoch {wanted.epoch} was announced, but the next one is {last + 1}; "
                    "somebody else was faster, or this bank has not seen the last"
                )
            _require_roster(session, wanted)
            retire_epochs(session, now)
            row = KeyEpochRow(
                epoch=wanted.epoch,
                document=wanted.model_dump_json(),
                digest=digest,
                announced_at=now,
            )
            session.add(row)
            detail = (
                f"digest {digest}, key {wanted.public_key.fingerprint}, for "
                f"{len(wanted.roster)} banks"
            )
            self._trail.note(written, caller, "key-epoch", f"epoch/{wanted.epoch}", detail)
            return _status(session, row)

        return self._database.transaction("announce-epoch", Kind.WRITE, announce)

    def acknowledge(self, epoch: int, wanted: KeyAcknowledgement, caller: Caller) -> KeyEpochStatus:
        """Store a bank's acknowledgement; the same again changes nothing.

        Raises
        ------
        NotFoundError
            If there is no such epoch.
        ForbiddenError
            If the caller is not the bank that it names, or not in the epoch's roster.
        ProtocolError
            If it is of another epoch than its address says.
        KeyMaterialError
            If it is of another digest, or its signature is wrong.
        ConflictError
            If the epoch is superseded.
        """
        if wanted.bank != caller.bank:
            raise ForbiddenError(
                f"acknowledgement of key epoch {epoch} is {wanted.bank!r}'s, but {caller.name!r} "
                "sent it"
            )
        if wanted.epoch != epoch:
            raise ProtocolError(
                f"acknowledgement of key epoch {wanted.epoch} was sent to epoch {epoch}"
            )

        def acknowledge(written: Transaction) -> KeyEpochStatus:
            session = written.session
            row = _row(session, epoch)
            announced = _parsed(row.document)
            if wanted.bank not in [member.name for member in announced.roster]:
                raise ForbiddenError(
                    f"bank {wanted.bank!r} is not in the roster of key epoch {epoch}; it holds no "
                    "key of it"
                )
            verify_acknowledgement(wanted, announced)
            if session.get(AcknowledgementRow, (epoch, wanted.bank)) is None:
                if row.retired_at is not None:
                    raise ConflictError(
                        f"key epoch {epoch} is superseded; acknowledge the current one"
                    )
                session.add(
                    AcknowledgementRow(
                        epoch=epoch,
                        bank=wanted.bank,
                        signature=wanted.signature,
                        acknowledged_at=int(time.time()),
                    )
                )
                detail = f"digest {wanted.digest}"
                self._trail.note(written, caller, "acknowledgement", f"epoch/{epoch}", detail)
            return _status(session, row)

        return self._database.transaction("acknowledge-epoch", Kind.WRITE, acknowledge)

    def status(self, epoch: int | None = None) -> KeyEpochStatus:
        """Return an epoch and its acknowledgements; the newest one without a number.

        Raises
        ------
        NotFoundError
            If there is none.
        """

        def status(read: Transaction) -> KeyEpochStatus:
            found = epoch
            if found is None:
                found = read.session.scalar(select(func.max(KeyEpochRow.epoch)))
            if found is None:
                raise NotFoundError(
                    "there is no key epoch yet; a steward bank makes one with `bank-node keys "
                    "create`"
                )
            return _status(read.session, _row(read.session, found))

        return self._database.transaction("epoch-status", Kind.READ, status)


# An epoch never changes, and its boxes make it long.
@lru_cache(maxsize=16)
def _parsed(document: str) -> KeyEpoch:
    return KeyEpoch.model_validate_json(document)


def _row(session: Session, epoch: int) -> KeyEpochRow:
    row = session.get(KeyEpochRow, epoch)
    if row is None:
        raise NotFoundError(f"there is no key epoch {epoch} at this aggregator; see the current")
    return row


def _status(session: Session, row: KeyEpochRow) -> KeyEpochStatus:
    announced = _parsed(row.document)
    rows = session.scalars(
        select(AcknowledgementRow)
        .where(AcknowledgementRow.epoch == row.epoch)
        .order_by(AcknowledgementRow.bank)
    )
    acknowledged = tuple(
        KeyAcknowledgement(
            epoch=row.epoch, bank=one.bank, digest=row.digest, signature=one.signature
        )
        for one in rows
    )
    state = KeyEpochState.PENDING
    if row.retired_at is not None:
        state = KeyEpochState.SUPERSEDED
    elif len(acknowledged) == len(announced.roster):
        state = KeyEpochState.ACTIVE
    return KeyEpochStatus(key_epoch=announced, acknowledged=acknowledged, state=state)


def _require_roster(session: Session, wanted: KeyEpoch) -> None:
    rows = session.scalars(select(BankRow).where(BankRow.removed_at.is_(None)))
    now = {row.name: (row.signing_key, row.agreement_key) for row in rows}
    announced = {m.name: (m.signing_key, m.agreement_key) for m in wanted.roster}
    if announced == now:
        return
    differing = sorted(
        name for name in now.keys() | announced.keys() if now.get(name) != announced.get(name)
    )
    raise ConflictError(
        f"key epoch {wanted.epoch} is for another roster than the members of now: "
        f"{', '.join(differing)} differ; read the roster again and make the epoch for it"
    )
