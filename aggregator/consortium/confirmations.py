"""Two operators for what cannot be taken back: the second one sends the same as the first.

What is asked for is told by a digest over method, address and body. Law: between the request of one
token and the effect stands the same request of another token, within ``VALID_SECONDS``; each pair
has one effect. The pair is used up before the effect: if that is refused, or the service stops in
between, both ask again.
"""

import hashlib
import time
from collections.abc import Callable

from sqlalchemy import delete

from aggregator.audit.log import AuditTrail
from aggregator.caller import Caller
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import ConfirmationRow
from aggregator.storage.transaction import Transaction
from fraudfed.errors import ConfirmationNeededError

#: For the second operator; the two need not be at work at the same hour.
VALID_SECONDS = 86_400


class Confirmations:
    """What operators have asked for and no other one has confirmed yet.

    Parameters
    ----------
    clock : callable
        UTC epoch seconds.
    """

    def __init__(
        self, database: Database, trail: AuditTrail, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._trail = trail
        self._clock = clock

    def require(self, caller: Caller, kind: str, subject: str, content: bytes) -> None:
        """Return if another operator has asked for the same; otherwise note that this one has.

        Parameters
        ----------
        kind, subject : str
            Of the audit log.
        content : bytes
            Method, address and body.

        Raises
        ------
        ConfirmationNeededError
            If no other operator has asked for the same within ``VALID_SECONDS``.
        """
        digest = hashlib.sha256(content).hexdigest()
        now = int(self._clock())

        def ask(written: Transaction) -> bool:
            session = written.session
            session.execute(delete(ConfirmationRow).where(ConfirmationRow.expires_at <= now))
            row = session.get(ConfirmationRow, digest)
            if row is not None and row.asked_by != caller.name:
                session.delete(row)
                detail = f"{kind} {digest}, asked for by operator:{row.asked_by}"
                self._trail.note(written, caller, "confirmed", subject, detail)
                return True
            if row is None:
                expires_at = now + VALID_SECONDS
                session.add(
                    ConfirmationRow(digest=digest, asked_by=caller.name, expires_at=expires_at)
                )
                detail = f"{kind} {digest}, for another operator to confirm"
                self._trail.note(written, caller, "asked", subject, detail)
            return False

        if not self._database.transaction("ask-or-confirm", Kind.WRITE, ask):
            raise ConfirmationNeededError(
                f"{caller.actor} has asked for this {kind} on {subject}; it happens when another "
                "operator, with another token, sends the same within a day"
            )
