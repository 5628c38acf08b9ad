"""``audit explain``: every field that left this bank, in plain words.

``FIELDS`` names each field of each message that a bank sends; a test holds it against the messages
themselves, so that no field can be added to one without an explanation here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby

from bank_node.state.audit_log import BankAuditEntry

_FRAME = {
    "kind": "what the body is: contribution or opening",
    "run_id": "the run",
    "round_number": "number of the round in the run",
    "label": "what is summed, for example 'histogram:tree 3'; the same at every bank",
    "context": "digest of everything public about the round; the same at every bank",
    "step": "contributions only: how many steps of the run this bank has finished (the "
    "preparation, then trees; or chunks of days)",
    "bank": "this bank's name",
    "shard": "openings only: which ciphertexts of the sum this bank has opened",
    "count": "how many items follow; the same for every bank's rows",
    "item_bytes": "length of one item; 0 for a sealed box",
    "commitment": "contributions only: a hash of the seed of this bank's self mask, which tells "
    "nothing of it",
    "commitments": "never sent by a bank: the aggregator lists the commitments of all with the "
    "product",
}

#: Of each kind of request: field -> what it says.
FIELDS: dict[str, dict[str, str]] = {
    "registration": {
        "name": "this bank's name",
        "invite": "the one-time code from the operator",
        "signing_key": "public key that this bank's signatures are checked with",
        "agreement_key": "public key that the others seal and agree masks with",
    },
    "key-epoch": {
        "epoch": "number of the key epoch",
        "steward": "this bank's name: it made the key",
        "roster": "names and public keys of the members",
        "public_key": "Paillier public key of the consortium",
        "sealed": "for each member its name and the private key and secret, sealed to that member",
        "signature": "this bank's signature over all of it",
    },
    "acknowledgement": {
        "epoch": "number of the key epoch",
        "bank": "this bank's name",
        "digest": "hash of the key epoch that this bank was shown",
        "signature": "this bank's signature over these three",
    },
    "member-removal": {
        "removed": "name and public keys of a member that has left",
        "signer": "this bank's name",
        "signature": "this bank's signature over these two",
    },
    "join": {
        "key": "public half of this bank's ephemeral key of generation 0; none if it comes late",
        "signature": "this bank's signature over run, generation and that key",
    },
    "ready": {
        "step": "how many steps of the run this bank has finished, so that all continue from "
        "the same one",
        "more_rows": "0, or for a bank whose rows were not counted in the preparation: the least "
        "power of two that is no less than their number",
        "key": "public half of this bank's ephemeral key of the generation",
        "signature": "this bank's signature over run, generation and that key",
    },
    "decline": {},
    "handover": {
        "body": "the trees so far and what training continues from, or the risk tables so far, "
        "equal at every bank that took part; sealed to the members: the aggregator cannot read it",
        "Fraudfed-Handover-Signature": "this bank's signature over run, generation, step and body",
    },
    "abort": {
        "reason": "one of a few constants; the details of a failure stay in this bank's log",
    },
    "contribution": {
        **_FRAME,
        "payload": "this bank's numbers, under a mask of its own and masked against every other "
        "bank, then encrypted (Paillier): readable by nobody alone, the sum over all banks by the "
        "members once every bank has sent its opening",
    },
    "opening": {
        **_FRAME,
        "payload": "a share of the masked sum over all banks, and the seed of this bank's own "
        "mask, signed and then sealed to the members: the aggregator cannot read it, and it holds "
        "no number of a single bank",
    },
    "model": {
        "sha256": "hash of the body",
        "Fraudfed-Model-Plain": "hash of the finished result: model, search with its model, or "
        "tables",
        "Fraudfed-Model-Signature": "this bank's signature over run and that hash",
        "body": "the finished result: model, search with its model, or tables, equal at every "
        "bank; sealed to the members if the run says model_visibility: members, which a risk run "
        "always does",
    },
    "run-share": {
        "bank": "this bank's name",
        "newcomer": "name and public keys of the bank that may adopt the run",
        "model, tables, statistics": "of each shared result: run, kind, digests of its description "
        "and of the result, and the banks that signed it",
        "at": "when this bank consented",
        "signature": "this bank's signature over these",
        "body": "the model, the risk tables it needs and statistics, with their runs' descriptions "
        "and the key that identifiers were hashed under: equal at every bank that was there; "
        "sealed to the newcomer, nobody else can read it",
    },
    "question": {},
    "health": {},
}

#: Fields that go with every request, whatever its kind.
EVERY_REQUEST: dict[str, str] = {
    "method, path": "what is asked for: run, round, shard, how long to wait",
    "X-Request-Id": "a random number, to find the request in the aggregator's log",
    "User-Agent": "'fraudfed' and its version",
    "Accept, Accept-Encoding, Host": "technical; the same for every bank",
    "Content-Type, Content-Length, Content-Digest": "kind, length and hash of the body",
    "Signature-Input": "this bank's name, the time by its clock, a random number",
    "Signature": "this bank's signature over the request",
}

_NO_BODY = "no body: nothing beside what goes with every request"


def explain(entries: Iterable[BankAuditEntry], *, run_id: str | None) -> Iterator[str]:
    """Yield lines of text about what was sent.

    Parameters
    ----------
    entries : iterable of BankAuditEntry
        The whole log.
    run_id : str or None
        None explains everything, each run and what belongs to no run.
    """
    entries = tuple(entries)
    sent = [
        entry
        for entry in entries
        if entry.event == "sent" and (run_id is None or entry.run_id == run_id)
    ]
    noted = [
        entry
        for entry in entries
        if entry.event == "noted" and (run_id is None or entry.run_id == run_id)
    ]
    for entry in noted:
        yield f"decided at this bank, {_period([entry], once=True)}: {entry.note}"
    if not sent:
        yield "nothing has left this bank" if run_id is None else f"run {run_id}: nothing was sent"
        return
    by_run = sorted(sent, key=lambda entry: entry.run_id or "")
    for run, of_run in groupby(by_run, key=lambda entry: entry.run_id):
        listed = list(of_run)
        yield (
            f"{'outside of runs' if run is None else f'run {run}'}: {len(listed):,} requests, "
            f"{sum(entry.body_bytes for entry in listed):,} bytes, {_period(listed)}"
        )
        for kind in FIELDS:
            chosen = [entry for entry in listed if entry.kind == kind]
            if chosen:
                yield from _of_kind(kind, chosen)
        yield ""
    yield "with every request:"
    for name, meaning in EVERY_REQUEST.items():
        yield f"  {name}: {meaning}"


def _of_kind(kind: str, entries: list[BankAuditEntry]) -> Iterator[str]:
    size = sum(entry.body_bytes for entry in entries)
    distinct = len({entry.request_id for entry in entries})
    repeated = len(entries) - distinct
    again = f" ({repeated:,} of them repeated, as no answer came)" if repeated else ""
    yield f"  {kind}: {len(entries):,} requests{again}, {size:,} bytes"
    rounds = [entry.round_number for entry in entries if entry.round_number is not None]
    labels = Counter(entry.label.partition(":")[0] for entry in entries if entry.label is not None)
    if labels:
        named = ", ".join(f"{label} {count:,}" for label, count in sorted(labels.items()))
        yield f"    of rounds {min(rounds)} to {max(rounds)}, summing: {named}"
    fields = FIELDS[kind]
    if not fields:
        yield f"    {_NO_BODY}"
    for name, meaning in fields.items():
        yield f"    {name}: {meaning}"


def _period(entries: list[BankAuditEntry], *, once: bool = False) -> str:
    first, last = (
        datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
        for time in (min(e.time for e in entries), max(e.time for e in entries))
    )
    return first if once else f"{first} to {last}"
