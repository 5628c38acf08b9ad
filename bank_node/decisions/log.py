"""The log of decisions: append-only, encrypted, erasable by customer.

Laws: what ``append`` has returned for survives the end of this process, and what ``commit`` has
returned for a crash of the machine; a record that a crash cut off is dropped at opening. A decision
is found by its transaction and by its time until it is erased or too old. After ``erase`` nothing
that this bank holds opens a decision of that customer, and no other decision has changed.

::

    decisions/
      log.key           32 random bytes that wrap all other keys, sealed by the vault
      000001.log        a segment: records, one behind the other (``segment``)
      000001.keys       a key for each of its customers, wrapped (``customer_keys``)
      000001.index      where each record is; made of the segment when it is closed
      000001.margins    what challengers made of its payments (``challenger_margins``)
      .lock             held by the one process that adds decisions
"""

import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bank_node.decisions.customer_keys import KEY_BYTES, TAG_BYTES
from bank_node.decisions.decision import Decision
from bank_node.decisions.segment import Place, Segment
from bank_node.state.lock_file import take_lock
from bank_node.vault.vault import Vault
from fraudfed.durable_file import make_private, write_new
from fraudfed.errors import KeyMaterialError, StateError

#: Six years: how long UK firms keep records for the limitation of claims (Limitation Act 1980,
#: section 5).
RETENTION_DAYS: Final = 2192
SEGMENT_BYTES: Final = 64 * 1024 * 1024
#: A segment is removed as a whole, so that no record stays longer than this over its retention.
SEGMENT_DAYS: Final = 30
_DAY: Final = 86_400
_KEY_FILE: Final = "log.key"
#: For the vault: below the state directory.
_KEY_NAME: Final = "serving/decisions/log.key"
_SEGMENT: Final = re.compile(r"([0-9]{6,})\.log")


@dataclass(frozen=True)
class Verified:
    """What a log holds.

    Attributes
    ----------
    segments, decisions, erased : int
        ``decisions`` can be opened; ``erased`` cannot any more.
    first, last : int or None
        Times of decisions, UTC epoch seconds.
    """

    segments: int
    decisions: int
    erased: int
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Written:
    """Where a decision is, for what is known of it later."""

    segment: Segment
    place: Place


class DecisionLog:
    """The log of one bank.

    Parameters
    ----------
    directory : Path
        Made when it is missing, unless ``read_only``.
    vault : Vault
        Of the state directory.
    read_only : bool
        For commands beside a service that adds decisions: nothing is added, cut off or removed.
        ``erase`` works all the same, and the service goes on with a new key.
    retention_days : int
        Segments whose decisions are all older are removed.
    segment_bytes : int
        Size from which on a new segment is begun.
    clock : callable returning float
        UTC epoch seconds.

    Raises
    ------
    StateError
        If another process adds decisions, or a file cannot be read or is damaged.
    KeyMaterialError
        If the log's key is missing or does not open.
    """

    def __init__(
        self,
        directory: Path,
        vault: Vault,
        *,
        read_only: bool = False,
        retention_days: int = RETENTION_DAYS,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory, self._read_only = directory, read_only
        self._retention_seconds, self._segment_bytes = retention_days * _DAY, segment_bytes
        self._clock = clock
        self._adding, self._committing = threading.RLock(), threading.Lock()
        self._lock: int | None = None
        if not read_only:
            make_private(directory.parent, directory)
            self._lock = take_lock(
                directory / ".lock",
                held=f"{directory}: another process adds decisions to this log; stop that service "
                "first",
            )
        try:
            key = self._log_key(vault)
            self._wrapping = AESGCM(_derived(key, b"wrap"))
            self._tagging = _derived(key, b"tag")
            self._segments = self._open_segments()
            self._added = self._committed = 0
            if not read_only:
                self.remove_old()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<DecisionLog in {self._directory}>"

    def append(self, decision: Decision) -> Written:
        """Add a decision; it survives the end of this process when this returns.

        Raises
        ------
        StateError
            If it cannot be written, as on a full disk: the log is as before.
        ValueError
            If a text of the decision is too long, or a number is none.
        """
        if self._read_only:
            raise StateError(f"{self._directory}: is open for reading only")
        customer, transaction = self._tags(decision)
        with self._adding:
            if self._is_full(decision.decided_at):
                self._rotate()
            segment = self._segments[-1]
            place = segment.append(decision, customer=customer, transaction=transaction)
            self._added += 1
        return Written(segment, place)

    def append_challenger_margin(self, written: Written, margin: float) -> None:
        """Add what the challenger made of a payment to its decision, unless that was erased.

        Raises
        ------
        StateError
            If it cannot be written: the log is as before.
        """
        with self._adding:
            if written.segment not in self._segments:
                return  # past its retention
            written.segment.append_margin(written.place, margin)
            self._added += 1
            if written.segment is not self._segments[-1]:
                # It was closed in between, and is synced no more.
                written.segment.sync()

    def commit(self) -> None:
        """Return when what was added survives a crash of the machine; calls at once share a sync.

        Raises
        ------
        StateError
            If that is not possible.
        """
        with self._adding:
            wanted, segment = self._added, self._segments[-1] if self._segments else None
        with self._committing:
            if segment is not None and self._committed < wanted:
                with self._adding:
                    covered, segment = self._added, self._segments[-1]
                # An earlier segment was synced when it was closed.
                segment.sync()
                self._committed = covered

    def find(self, transaction_id: str, *, since: int | None = None) -> Decision | None:
        """Return the last decision about a transaction; None if there is none, or it is erased.

        Parameters
        ----------
        transaction_id : str
        since : int or None
            UTC epoch seconds: earlier decisions need not be found, so that a log of years is not
            looked through for a payment of today.
        """
        tag = self._tag(b"transaction", transaction_id)
        with self._adding:
            segments = list(self._segments)
        for segment in reversed(segments):
            # That which grows is always looked into: it is quicker than to know its times.
            if since is not None and segment is not segments[-1]:
                times = segment.times
                if times is None or times[1] < since:
                    continue
            found = segment.find(tag)
            if found is not None:
                return found
        return None

    def between(self, start: int, stop: int) -> Iterator[Decision]:
        """Yield the decisions made from ``start`` until before ``stop``, UTC epoch seconds.

        In the order in which they were added; erased ones are left out.
        """
        with self._adding:
            segments = list(self._segments)
        for segment in segments:
            times = segment.times
            if times is None or times[1] < start or times[0] >= stop:
                continue
            for decision in segment.decisions():
                if decision is not None and start <= decision.decided_at < stop:
                    yield decision

    def of_customer(self, customer_id: str) -> Iterator[Decision]:
        """Yield the decisions about a customer, in the order in which they were added."""
        tag = self._tag(b"customer", customer_id)
        with self._adding:
            segments = list(self._segments)
        for segment in segments:
            for decision in segment.decisions(tag):
                if decision is not None:
                    yield decision

    def erase(self, customer_id: str) -> int:
        """Destroy the keys of a customer, and return of how many decisions.

        A call that was cut off is done again: what is erased stays erased.

        Raises
        ------
        StateError
            If a file cannot be written.
        """
        tag = self._tag(b"customer", customer_id)
        with self._adding:
            return sum(segment.erase(tag) for segment in self._segments)

    def verify(self) -> Verified:
        """Read every record and open what is not erased.

        Raises
        ------
        StateError
            If a record is damaged; names file and byte.
        KeyMaterialError
            If a key does not open.
        """
        opened, erased, first, last = 0, 0, None, None
        for segment in self._segments:
            for decision in segment.decisions():
                if decision is None:
                    erased += 1
                    continue
                opened += 1
                at = decision.decided_at
                first, last = min(first or at, at), max(last or at, at)
        return Verified(len(self._segments), opened, erased, first, last)

    def remove_old(self) -> int:
        """Remove segments whose decisions are all past their retention; returns how many."""
        oldest = int(self._clock()) - self._retention_seconds
        with self._adding:
            old = [each for each in self._segments if each.times and each.times[1] < oldest]
            for segment in old:
                segment.remove()
                self._segments.remove(segment)
        return len(old)

    def close(self) -> None:
        """Commit, and let other processes add."""
        if self._lock is not None:
            try:
                if hasattr(self, "_committed"):
                    self.commit()
            finally:
                os.close(self._lock)
                self._lock = None

    def _is_full(self, now: int) -> bool:
        if not self._segments:
            return True
        last = self._segments[-1]
        first = last.first_time
        return last.end >= self._segment_bytes or (
            first is not None and now - first > SEGMENT_DAYS * _DAY
        )

    def _rotate(self) -> None:
        number = 1
        if self._segments:
            self._segments[-1].close()
            number = _number(self._segments[-1].path) + 1
        self.remove_old()
        path = self._directory / f"{number:06d}.log"
        self._segments.append(Segment(path, self._wrapping, writes=True, closed=False))

    def _open_segments(self) -> list[Segment]:
        paths = sorted(
            (path for path in self._directory.glob("*.log") if _SEGMENT.fullmatch(path.name)),
            key=_number,
        )
        writes = not self._read_only
        return [
            Segment(path, self._wrapping, writes=writes, closed=path is not paths[-1])
            for path in paths
        ]

    def _log_key(self, vault: Vault) -> bytes:
        path = self._directory / _KEY_FILE
        if not path.exists():
            if self._read_only:
                raise StateError(
                    f"{self._directory}: has no decisions; a scoring service writes them "
                    "('bank-node serve')"
                )
            if any(self._directory.glob("*.log")):
                raise KeyMaterialError(
                    f"{path}: is missing, and the decisions beside it do not open without it; "
                    "restore it from a backup"
                )
            write_new(path, vault.seal(_KEY_NAME, secrets.token_bytes(KEY_BYTES)))
        try:
            key = vault.unseal(_KEY_NAME, path.read_bytes())
        except OSError as error:
            raise KeyMaterialError(
                f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        if len(key) != KEY_BYTES:
            raise KeyMaterialError(f"{path}: is no key of a log; restore it from a backup")
        return key

    def _tags(self, decision: Decision) -> tuple[bytes, bytes]:
        return (
            self._tag(b"customer", decision.customer_id),
            self._tag(b"transaction", decision.transaction_id),
        )

    def _tag(self, what: bytes, identifier: str) -> bytes:
        text = what + b"\0" + identifier.encode()
        return hmac.new(self._tagging, text, hashlib.sha256).digest()[:TAG_BYTES]


def _number(path: Path) -> int:
    return int(path.stem)


def _derived(key: bytes, use: bytes) -> bytes:
    info = b"fraudfed decisions v1\0" + use
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)
