"""Seen signatures: each signed request is taken once, over restarts too.

A nonce is stored before its request does anything, without a disk sync of its own: it is on disk
no later than the change that the request makes, because both are in one write-ahead log and the
change is synced. So no change can be replayed, whatever happens; a power cut can make the service
forget only the nonces of requests since the last change, none of which changed anything.
"""

import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection, delete, insert
from sqlalchemy.exc import IntegrityError

from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import NonceRow
from aggregator.storage.statement import Statement
from aggregator.storage.transaction import Transaction
from fraudfed.errors import AuthError

_PURGE_SECONDS = 60.0
_INSERT = Statement(insert(NonceRow))


def insert_nonce(connection: Connection, bank: str, nonce: str, *, expires_at: int) -> None:
    """Store a nonce within the caller's transaction.

    Raises
    ------
    AuthError
        If the bank has used it before; the transaction must then be given up.
    """
    try:
        _INSERT.change(connection, {"bank": bank, "nonce": nonce, "expires_at": expires_at})
    except IntegrityError:
        raise AuthError(
            f"request was replayed: {bank} has used nonce {nonce} before; sign every request, and "
            "every repetition of one, anew"
        ) from None


class Nonces:
    """Nonces of the requests that were taken. Safe to use from many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._purge_at = time.monotonic()

    def use(
        self,
        bank: str,
        nonce: str,
        *,
        expires_at: int,
        now: int,
        provided: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """Take a nonce.

        Parameters
        ----------
        expires_at : int
            When its signature would be stale anyhow, in epoch seconds.
        provided : callable
            Called in the same transaction; what it raises leaves the nonce unused.

        Raises
        ------
        AuthError
            If it was used before.
        """
        purges = self._is_time_to_purge()

        def take(written: Transaction) -> None:
            provided(written.connection)
            if purges:
                written.connection.execute(delete(NonceRow).where(NonceRow.expires_at < now))
            insert_nonce(written.connection, bank, nonce, expires_at=expires_at)

        self._database.transaction("take-nonce", Kind.WRITE_BEHIND, take)

    def _is_time_to_purge(self) -> bool:
        with self._lock:
            if time.monotonic() < self._purge_at:
                return False
            self._purge_at = time.monotonic() + _PURGE_SECONDS
            return True
