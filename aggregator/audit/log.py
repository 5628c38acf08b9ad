"""The audit log: what was accepted and what was refused, chained by hashes and signed.

An accepted change is logged in the transaction that makes it, so that there is no change without
an entry and no entry without a change. Each entry holds the hash of the one before and the
signature of the aggregator's audit key: to alter, remove or insert one later breaks the chain
from there on. Only the last entries can be cut off unseen by the chain itself: the tables behind it
(``verify`` compares), the banks' own logs and any head written down earlier show that.
"""

import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import insert, or_, select

from aggregator.audit.key import AuditKey
from aggregator.caller import Caller
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import AuditRow, ContributionRow, OpeningRow, VoteRow
from aggregator.storage.statement import Statement
from aggregator.storage.transaction import Transaction
from fraudfed.consortium.public.documents import (
    FIRST_PREVIOUS_HASH,
    signed_audit_fields,
    verify_audit_entry,
)
from fraudfed.errors import ProtocolError, StateError
from fraudfed.foreign_text import visible
from fraudfed.wire.messages import AuditEntry, AuditStatus

_log = logging.getLogger(__name__)

#: An entry's size is bounded, whatever provoked it (see ``refusals``).
_MAX_DETAIL = 400
_MAX_SUBJECT = 200
_READ_AT_ONCE = 1000
_STATUSES = frozenset(status.value for status in AuditStatus)

_LAST = Statement(select(AuditRow.seq, AuditRow.hash).order_by(AuditRow.seq.desc()).limit(1))
_INSERT = Statement(insert(AuditRow))

#: Kinds whose accepted entries are held against the rows of their tables.
_STORED_KINDS = frozenset({"contribution", "opening", "model"})


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """What one entry says, before it gets its place in the chain."""

    kind: str
    actor: str
    subject: str
    detail: str
    status: AuditStatus = AuditStatus.ACCEPTED
    body_sha256: str | None = None

    @classmethod
    def of(
        cls,
        caller: Caller,
        kind: str,
        subject: str,
        detail: str,
        *,
        status: AuditStatus = AuditStatus.ACCEPTED,
        of_body: bool = True,
    ) -> Self:
        """Return what ``caller`` did; with ``of_body`` it is about the body that was sent."""
        return cls(
            kind=kind,
            actor=caller.actor,
            subject=subject,
            detail=detail,
            status=status,
            body_sha256=caller.body_sha256 if of_body else None,
        )


@dataclass(frozen=True)
class AuditHead:
    """The end of a verified log; noted down, it tells later whether the log was cut."""

    entries: int
    hash: str


def round_subject(run_id: str, number: int) -> str:
    """Return how the log names a round."""
    return f"run/{run_id}/round/{number}"


class AuditTrail:
    """Writes, reads and checks the audit log of one database."""

    def __init__(self, database: Database, key: AuditKey) -> None:
        self._database = database
        self._key = key

    @property
    def public_key(self) -> str:
        """Public audit key, 64 hexadecimal digits."""
        return self._key.public_hex

    def append(self, written: Transaction, record: AuditRecord) -> None:
        """Add an entry within the transaction of what it tells, which must be a durable one."""
        # What it tells is refused by the database, if at all, before the entry is signed.
        written.flush()
        last = _LAST.row(written.connection, {})
        seq, previous = (1, FIRST_PREVIOUS_HASH) if last is None else (last[0] + 1, last[1])
        row = signed_audit_fields(
            self._key,
            seq=seq,
            time=int(time.time()),
            kind=record.kind,
            actor=record.actor,
            subject=_shown(record.subject, _MAX_SUBJECT),
            status=record.status,
            detail=_shown(record.detail, _MAX_DETAIL),
            body_sha256=record.body_sha256,
            previous_hash=previous,
        )
        _INSERT.change(written.connection, row)

    def note(
        self, written: Transaction, caller: Caller, kind: str, subject: str, detail: str
    ) -> None:
        """Add, likewise, what ``caller`` has changed."""
        self.append(written, AuditRecord.of(caller, kind, subject, detail))

    def require_own(self, key_file: Path) -> None:
        """Raise ``StateError`` if the log was begun with another key: it is another aggregator's.

        What else its first entry may say is for ``verify``.
        """
        first = self.entries(limit=1)
        begun = re.fullmatch("audit key ([0-9a-f]{64})", first[0].detail) if first else None
        if begun is not None and begun[1] != self.public_key:
            raise StateError(
                f"database {self._database.dialect.name} is another aggregator's: its log begins "
                f"with audit key {begun[1]}, but {key_file} has {self.public_key}; give the state "
                "directory and the database that belong together"
            )

    def record(self, *records: AuditRecord) -> None:
        """Add entries in a transaction of their own."""

        def add(written: Transaction) -> None:
            for record in records:
                self.append(written, record)

        self._database.transaction("audit-entries", Kind.WRITE, add)

    def entries(
        self, *, run_id: str | None = None, start: int = 1, limit: int = _READ_AT_ONCE
    ) -> tuple[AuditEntry, ...]:
        """Return entries from number ``start`` on, of one run or of all."""
        query = select(AuditRow).where(AuditRow.seq >= start).order_by(AuditRow.seq).limit(limit)
        if run_id is not None:
            # "0" follows "/": all subjects that begin with run/ID/.
            inside = (AuditRow.subject >= f"run/{run_id}/") & (AuditRow.subject < f"run/{run_id}0")
            query = query.where(or_(AuditRow.subject == f"run/{run_id}", inside))
        return self._database.transaction(
            "audit-log",
            Kind.READ,
            lambda read: tuple(_entry(row) for row in read.session.scalars(query)),
        )

    def last_number(self) -> int:
        """Return the number of the newest entry; 0 for an empty log."""
        last = self._database.transaction(
            "audit-end", Kind.READ, lambda read: _LAST.row(read.connection, {})
        )
        return 0 if last is None else int(last[0])

    def verify(self, *, expected: AuditHead | None = None) -> AuditHead:
        """Check every entry, and that every stored contribution, opening and vote has one.

        Parameters
        ----------
        expected : AuditHead, optional
            A head that was noted earlier; the log must still hold that entry with that hash.

        Raises
        ------
        StateError
            At the first entry that was altered, removed, inserted or not signed by this
            aggregator, at the first stored body without its entry, or if the log was cut.
        """
        # Read before the log: what is accepted while we read has its entry further down.
        missing = self._database.transaction("audit-bodies", Kind.READ, _stored_bodies)
        previous: AuditEntry | None = None
        for entry in self._all():
            if previous is None and entry.seq != 1:
                raise _broken(f"it begins with entry {entry.seq}, expected 1")
            try:
                verify_audit_entry(entry, self.public_key, previous=previous)
            except ProtocolError as error:
                raise _broken(str(error)) from None
            if expected is not None and entry.seq == expected.entries:
                _require_head(entry, expected)
            if entry.status is AuditStatus.ACCEPTED and entry.kind in _STORED_KINDS:
                missing.discard((entry.kind, entry.subject, entry.actor, entry.body_sha256 or ""))
            previous = entry
        count = 0 if previous is None else previous.seq
        if count == 0:
            raise _broken("it is empty, but its first entry is written by `aggregator init`")
        if expected is not None and count < expected.entries:
            raise _broken(f"it has {count} entries, but had {expected.entries}; it was cut")
        for kind, subject, actor, sha256 in sorted(missing):
            raise _broken(f"{kind} {sha256} of {actor} to {subject} is stored without an entry")
        return AuditHead(count, previous.hash if previous else FIRST_PREVIOUS_HASH)

    def _all(self) -> Iterator[AuditEntry]:
        start = 1
        while page := self.entries(start=start):
            yield from page
            start = page[-1].seq + 1


def _stored_bodies(read: Transaction) -> set[tuple[str, str, str, str]]:
    """Return kind, subject, actor and digest of every stored contribution, opening and vote."""
    found = set()
    for kind, table in (("contribution", ContributionRow), ("opening", OpeningRow)):
        columns = select(table.run_id, table.number, table.bank, table.sha256)
        for run_id, number, bank, sha256 in read.connection.execute(columns):
            found.add((kind, round_subject(run_id, number), f"bank:{bank}", sha256))
    votes = select(VoteRow.run_id, VoteRow.bank, VoteRow.sha256)
    for run_id, bank, sha256 in read.connection.execute(votes):
        found.add(("model", f"run/{run_id}", f"bank:{bank}", sha256))
    return found


def _entry(row: AuditRow) -> AuditEntry:
    if row.status not in _STATUSES:
        raise _broken(f"entry {row.seq} has status {row.status!r}")
    # Not validated again: a malformed row must come out as it is, for ``verify`` to name it.
    return AuditEntry.model_construct(
        seq=row.seq,
        time=row.time,
        kind=row.kind,
        actor=row.actor,
        subject=row.subject,
        status=AuditStatus(row.status),
        detail=row.detail,
        body_sha256=row.body_sha256,
        previous_hash=row.previous_hash,
        hash=row.hash,
        signature=row.signature,
    )


def _require_head(entry: AuditEntry, expected: AuditHead) -> None:
    if entry.hash != expected.hash:
        raise _broken(
            f"entry {entry.seq} has hash {entry.hash}, but had {expected.hash}; it was rewritten"
        )


def _shown(text: str, limit: int) -> str:
    """Return one short line of printable characters."""
    clean = visible(text, limit)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def _broken(reason: str) -> StateError:
    return StateError(
        f"audit log does not verify: {reason}; keep a copy of the state directory and find out "
        "who changed it"
    )
