"""What left this bank, in plain words, day by day: from its own chained and signed log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from bank_node.audit.explain import EVERY_REQUEST, FIELDS
from bank_node.state.audit_log import BankAuditEntry, verify_audit_log
from fraudfed.errors import ProtocolError

#: Of each kind of request, in one sentence; ``FIELDS`` says the same field by field.
PLAIN = {
    "registration": "This bank registered: its name and its public keys.",
    "key-epoch": "The consortium's key, made here: the public part, and the private part sealed to "
    "each member.",
    "acknowledgement": "This bank's signature that it was shown the consortium's keys.",
    "member-removal": "This bank's signature that another bank has left.",
    "join": "This bank joined a run: the public half of a key for it.",
    "ready": "This bank agreed to go on in a run, and from which step.",
    "decline": "This bank declined to go on with other banks; nothing else.",
    "handover": "The training so far, equal at every bank, sealed to the members.",
    "abort": "This bank ended a run, with one of a few constants as reason.",
    "contribution": "Numbers made of this bank's payments, masked and then encrypted: nobody can "
    "read them alone, only the sum over all banks comes out.",
    "opening": "This bank's share in opening a sum over all banks, sealed to the members: it holds "
    "no number of a single bank.",
    "model": "The finished result, equal at every bank, with this bank's signature.",
    "run-share": "A finished run for another bank that may adopt it, sealed to that bank: model, "
    "description, risk tables and statistics of all banks, and this bank's signature. No payment.",
    "question": "Questions for the state of runs and members; no body.",
    "health": "Whether the aggregator is there; no body.",
}
#: What is summed, by the first word of its label.
SUMS = {
    "rows": "number of rows",
    "cuts": "where to cut columns",
    "histogram": "splits of trees",
    "select": "comparison of candidates",
    "judge": "judgement of the model",
    "risk_totals": "payments and frauds a day",
    "risk_sketches": "payments and frauds by account, terminal and merchant",
    "statistics": "what columns hold",
}
#: The kinds that are made of payments; all others are of keys, names and states.
OF_PAYMENTS = frozenset({"contribution", "opening", "model", "handover"})


@dataclass(frozen=True)
class KindSent:
    """All requests of a kind on a day.

    Attributes
    ----------
    kind, plain : str
    requests, bytes : int
    runs : tuple of str
    sums : tuple of (str, int)
        What was summed, and in how many rounds.
    fields : dict of str to str
    """

    kind: str
    plain: str
    requests: int
    bytes: int
    runs: tuple[str, ...]
    sums: tuple[tuple[str, int], ...]
    fields: dict[str, str]


@dataclass(frozen=True)
class DaySent:
    """What left on a day.

    Attributes
    ----------
    day : str
        ISO date, UTC.
    requests, bytes : int
    kinds : tuple of KindSent
        Those made of payments first.
    """

    day: str
    requests: int
    bytes: int
    kinds: tuple[KindSent, ...]


class SentLog:
    """Reads and checks the log, again only when it has changed. Safe to use from many threads."""

    def __init__(self, path: Path, signing_key: str) -> None:
        self._path, self._signing_key = path, signing_key
        self._lock = Lock()
        self._read_at: tuple[int, int] | None = None
        self._entries: list[BankAuditEntry] = []

    def entries(self) -> Sequence[BankAuditEntry]:
        """Return all entries; raises StateError if the chain is not whole."""
        with self._lock:
            if not self._path.exists():
                return ()
            found = self._path.stat()
            stamp = (found.st_size, found.st_mtime_ns)
            if stamp != self._read_at:
                self._entries = verify_audit_log(self._path, signing_key=self._signing_key)
                self._read_at = stamp
            return self._entries


def today() -> str:
    """Return the date by UTC, as the log's times are."""
    return datetime.fromtimestamp(time.time(), UTC).date().isoformat()


def day_before(day: str) -> str:
    """Return the date before another; raises ValueError if that is none."""
    return (datetime.fromisoformat(day).date() - timedelta(days=1)).isoformat()


def start_of(day: str) -> int:
    """Return when a date begins, UTC epoch seconds; raises ProtocolError if it is none."""
    try:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ProtocolError(f"day is {day[:40]!r}, expected a date as 2026-01-31") from None


def days(entries: Sequence[BankAuditEntry]) -> list[tuple[str, int]]:
    """Return the days on which something left, newest first, with the bytes of each."""
    found: dict[str, int] = {}
    for entry in entries:
        if entry.event == "sent":
            day = _day_of(entry)
            found[day] = found.get(day, 0) + entry.body_bytes
    return sorted(found.items(), reverse=True)


def sent_on(entries: Sequence[BankAuditEntry], day: str) -> DaySent:
    """Return what left on a day."""
    sent = [entry for entry in entries if entry.event == "sent" and _day_of(entry) == day]
    names = {entry.kind for entry in sent}
    known = [kind for kind in PLAIN if kind in names] + sorted(names - PLAIN.keys())
    kinds = [_kind(kind, [entry for entry in sent if entry.kind == kind]) for kind in known]
    kinds.sort(key=lambda one: (one.kind not in OF_PAYMENTS, -one.bytes))
    return DaySent(day, len(sent), sum(entry.body_bytes for entry in sent), tuple(kinds))


def every_request() -> dict[str, str]:
    """Return what goes with every request."""
    return EVERY_REQUEST


def _kind(kind: str, sent: list[BankAuditEntry]) -> KindSent:
    sums: dict[str, set[tuple[str | None, int | None]]] = {}
    for entry in sent:
        if entry.label is not None:
            name = entry.label.partition(":")[0]
            sums.setdefault(name, set()).add((entry.run_id, entry.round_number))
    return KindSent(
        kind=kind,
        plain=PLAIN.get(kind, "A request of another kind."),
        requests=len(sent),
        bytes=sum(entry.body_bytes for entry in sent),
        runs=tuple(sorted({entry.run_id for entry in sent if entry.run_id is not None})),
        sums=tuple((SUMS.get(name, name), len(rounds)) for name, rounds in sorted(sums.items())),
        fields=FIELDS.get(kind, {}),
    )


def _day_of(entry: BankAuditEntry) -> str:
    return datetime.fromtimestamp(entry.time, UTC).date().isoformat()
