"""What banks hand to those that enter a generation: sealed to the members, so only bytes here.

Every bank that stays sends the same bytes, each with a signature of its own over them. The first
bytes are kept, until a later generation has some or the run ends (``effects``); others that differ
are refused, and say that these banks do not agree on the training so far. What is kept is given out
with the signatures of all of them, and not before.
"""

import time

from sqlalchemy import delete, select

from aggregator.audit.log import AuditTrail
from aggregator.caller import Caller
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import HandoverRow, HandoverSignatureRow, RunRow
from aggregator.storage.transaction import Transaction
from fraudfed.errors import CohortChangedError, ConflictError
from fraudfed.wire import handovers
from fraudfed.wire.messages import HandoverSignature, HandoverSignatures, RunState


class Handovers:
    """The handovers of all runs. Safe to use from many threads."""

    def __init__(self, database: Database, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail

    def put(
        self, run_id: str, generation: int, content: bytes, signature: str, caller: Caller
    ) -> bool:
        """Keep a handover with a bank's signature, and forget those of earlier generations.

        The same again changes nothing; tell whether anything was new.

        Raises
        ------
        ConflictError
            If another bank sent another one.
        CohortChangedError
            If the run is not at this generation any more.
        """
        sha256 = caller.sent_sha256

        def put(written: Transaction) -> bool:
            session = written.session
            going_on = select(RunRow.id).where(
                RunRow.id == run_id,
                RunRow.generation == generation,
                RunRow.state == RunState.TRAINING.value,
            )
            if session.scalar(going_on) is None:
                raise CohortChangedError(
                    f"run {run_id}: the handover to generation {generation} is not needed, the run "
                    "has gone on meanwhile; look at its status"
                )
            known = session.get(HandoverRow, (run_id, generation))
            if known is not None and known.sha256 != sha256:
                raise ConflictError(
                    f"run {run_id}: the handover to generation {generation} has sha256 {sha256}, "
                    f"{known.bank} sent {known.sha256}; the banks do not agree on the training so "
                    "far: use the same release at every bank"
                )
            if session.get(HandoverSignatureRow, (run_id, generation, caller.name)) is not None:
                return False
            if known is None:
                for table in (HandoverSignatureRow, HandoverRow):
                    earlier = (table.run_id == run_id, table.generation < generation)
                    session.execute(delete(table).where(*earlier))
                session.add(
                    HandoverRow(
                        run_id=run_id,
                        generation=generation,
                        bank=caller.name,
                        sha256=sha256,
                        content=content,
                        stored_at=int(time.time()),
                    )
                )
            session.add(
                HandoverSignatureRow(
                    run_id=run_id, generation=generation, bank=caller.name, signature=signature
                )
            )
            # No version of the run says it.
            written.announce(run_id)
            detail = f"generation {generation}, {len(content)} bytes"
            self._trail.note(written, caller, "handover", f"run/{run_id}", detail)
            return True

        return self._database.transaction("put-handover", Kind.WRITE, put)

    def get(self, run_id: str, generation: int, *, signed_by: tuple[str, ...]) -> bytes | None:
        """Return a handover with the signatures over it.

        None until all of ``signed_by`` have signed it.
        """
        content = select(HandoverRow.content).where(
            HandoverRow.run_id == run_id, HandoverRow.generation == generation
        )
        signed = (
            select(HandoverSignatureRow.bank, HandoverSignatureRow.signature)
            .where(
                HandoverSignatureRow.run_id == run_id,
                HandoverSignatureRow.generation == generation,
            )
            .order_by(HandoverSignatureRow.bank)
        )

        def get(read: Transaction) -> bytes | None:
            found = {row.bank: row.signature for row in read.connection.execute(signed)}
            if set(found) != set(signed_by):
                return None
            signatures = HandoverSignatures(
                signatures=tuple(
                    HandoverSignature(bank=bank, signature=found[bank]) for bank in sorted(found)
                )
            )
            data: bytes | None = read.connection.scalar(content)
            return None if data is None else handovers.encode(signatures, data)

        return self._database.transaction("handover", Kind.READ, get)
