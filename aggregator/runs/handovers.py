"""What banks hand to those that enter a generation: sealed to the members, so only bytes here.

Every bank that took part before sends the same bytes. The first is kept, until a later
generation has one or the run ends (``effects``); another one that differs is refused, and says that
these banks do not agree on the training so far.
"""

import time

from sqlalchemy import delete, select

from aggregator.audit.log import AuditTrail
from aggregator.caller import Caller
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import HandoverRow, RunRow
from aggregator.storage.transaction import Transaction
from fraudfed.errors import CohortChangedError, ConflictError
from fraudfed.wire.messages import RunState


class Handovers:
    """The handovers of all runs. Safe to use from many threads."""

    def __init__(self, database: Database, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail

    def put(self, run_id: str, generation: int, content: bytes, caller: Caller) -> bool:
        """Keep a handover, and forget those of earlier generations; tell whether it is the first.

        The same bytes again, from any bank, change nothing.

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
            if known is not None:
                if known.sha256 == sha256:
                    return False
                raise ConflictError(
                    f"run {run_id}: the handover to generation {generation} has sha256 {sha256}, "
                    f"{known.bank} sent {known.sha256}; the banks do not agree on the training so "
                    "far: use the same release at every bank"
                )
            session.execute(
                delete(HandoverRow).where(
                    HandoverRow.run_id == run_id, HandoverRow.generation < generation
                )
            )
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
            # No version of the run says it.
            written.announce(run_id)
            detail = f"generation {generation}, {len(content)} bytes"
            self._trail.note(written, caller, "handover", f"run/{run_id}", detail)
            return True

        return self._database.transaction("put-handover", Kind.WRITE, put)

    def get(self, run_id: str, generation: int) -> bytes | None:
        """Return a handover, None while no bank has sent it."""
        query = select(HandoverRow.content).where(
            HandoverRow.run_id == run_id, HandoverRow.generation == generation
        )
        return self._database.transaction(
            "handover", Kind.READ, lambda read: read.connection.scalar(query)
        )
