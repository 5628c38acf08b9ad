"""Comparing two logs that nobody can write alike: this bank's and the aggregator's.

Each side signs its own log. What the aggregator says it accepted from this bank must have left this
bank, byte for byte; what this bank was told is accepted must stand in the aggregator's log. A
refusal may be missing there, as the aggregator bounds how many it writes down.
"""

import logging
from collections.abc import Iterable, Sequence

from bank_node.http.client import AggregatorClient
from bank_node.state.audit_log import BankAuditEntry
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.public.documents import verify_audit_entry
from fraudfed.errors import ConflictError
from fraudfed.wire.messages import AuditEntry, AuditStatus

_log = logging.getLogger(__name__)

#: Kinds of a bank's requests in a run that leave an entry in both logs. A handover leaves one at
#: the aggregator only for the first bank that sends it.
_CHANGES = frozenset({"join", "ready", "abort", "contribution", "opening", "model"})
#: The rest is in the program's log.
_SHOWN_DIFFERENCES = 3


def check_against_aggregator(
    state: StateDirectory,
    client: AggregatorClient,
    ours: Sequence[BankAuditEntry],
    *,
    run_id: str | None,
) -> int:
    """Compare this bank's log with the aggregator's; return the number of runs compared.

    Parameters
    ----------
    ours : sequence of BankAuditEntry
        This bank's log, verified.
    run_id : str or None
        None compares every run that this bank has sent anything to.

    Raises
    ------
    ProtocolError
        If an entry of the aggregator's log was altered or is not signed with its audit key.
    ConflictError
        If the aggregator shows another audit key than it did when this bank joined, or if the logs
        differ; each difference is logged, the first ones are in the message.
    """
    audit_key, pinned = client.audit_key().audit_key, state.config.audit_key
    if audit_key != pinned:
        raise ConflictError(
            f"{client.url}: signs its audit log with key {audit_key}, but showed {pinned} when "
            "this bank joined; the log was replaced: ask the operator"
        )
    known = sorted({e.run_id for e in ours if e.run_id is not None and e.kind in _CHANGES})
    differences: list[str] = []
    runs = known if run_id is None else [run_id]
    for run in runs:
        theirs = client.audit(run)
        verify_aggregator_log(theirs, audit_key=audit_key)
        differences += [
            f"run {run}: {difference}"
            for difference in compare_logs(ours, theirs, bank=state.config.name, run_id=run)
        ]
    for difference in differences:
        _log.error("%s", difference)
    if differences:
        more = len(differences) - _SHOWN_DIFFERENCES
        raise ConflictError(
            f"the logs of bank and aggregator differ: {'; '.join(differences[:_SHOWN_DIFFERENCES])}"
            f"{f' (and {more} more)' if more > 0 else ''}; one of them was changed or cut"
        )
    return len(runs)


def verify_aggregator_log(entries: Iterable[AuditEntry], *, audit_key: str) -> None:
    """Check the aggregator's signature on each entry, and the chain where numbers are consecutive.

    A bank is shown the entries of its runs only, so there may be gaps between them.

    Raises
    ------
    ProtocolError
        If an entry was altered, not signed with ``audit_key``, or out of order.
    """
    previous: AuditEntry | None = None
    for entry in entries:
        follows = previous is not None and entry.seq <= previous.seq + 1
        verify_audit_entry(entry, audit_key, previous=previous if follows else None)
        previous = entry


def compare_logs(
    ours: Iterable[BankAuditEntry], theirs: Iterable[AuditEntry], *, bank: str, run_id: str
) -> list[str]:
    """Return every difference between the two logs of a run, each in one sentence.

    Parameters
    ----------
    ours : iterable of BankAuditEntry
        This bank's log, verified.
    theirs : iterable of AuditEntry
        The aggregator's entries of the run, verified.
    bank, run_id : str
    """
    mine = [entry for entry in ours if entry.run_id == run_id and entry.kind in _CHANGES]
    sent = {_key(entry) for entry in mine if entry.event == "sent"}
    confirmed = {
        _key(entry): entry
        for entry in mine
        if entry.event == "answered" and entry.status is not None and 200 <= entry.status < 300
    }
    claimed = [
        ((entry.kind, entry.subject, entry.body_sha256), entry)
        for entry in theirs
        if entry.actor == f"bank:{bank}" and entry.kind in _CHANGES
    ]
    accepted = {key for key, entry in claimed if entry.status is AuditStatus.ACCEPTED}
    differences = [
        f"the aggregator's entry {entry.seq} says that this bank sent a {key[0]} to {key[1]} "
        f"({_body(key[2])}), which was {entry.status.value}; this bank's log holds no such request"
        for key, entry in claimed
        if key not in sent
    ]
    differences += [
        f"this bank's entry {entry.seq} says that the aggregator accepted a {key[0]} to {key[1]} "
        f"({_body(key[2])}); the aggregator's log holds no such entry"
        for key, entry in confirmed.items()
        if key not in accepted
    ]
    return differences


def subject_of(entry: BankAuditEntry) -> str:
    """Return how the aggregator names what an entry is about."""
    run = f"run/{entry.run_id}"
    return run if entry.round_number is None else f"{run}/round/{entry.round_number}"


def _key(entry: BankAuditEntry) -> tuple[str, str, str | None]:
    return entry.kind, subject_of(entry), entry.body_sha256


def _body(sha256: str | None) -> str:
    return "without a body" if sha256 is None else f"body {sha256}"
