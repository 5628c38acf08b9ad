"""``audit.log``: everything that left this bank, chained and signed by the bank itself.

Beside it stands why a bank changed what it will send: notes, of which nothing has left.

One JSON object per line. Before a request leaves, the entry that describes it is on disk; what the
aggregator answered is a second entry. So the log holds at least what left, whenever the program or
the machine stopped.

Each entry names the hash of the one before and carries the bank's Ed25519 signature over its own
bytes: an entry that is changed, removed from the middle, inserted or reordered shows. Entries cut
off the end do not show in the chain; they show against the aggregator's log
(``bank_node.audit.check``).
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fraudfed.consortium.public.documents import FIRST_PREVIOUS_HASH, Signer, is_signed_by
from fraudfed.durable_file import PRIVATE_FILE, sync_directory
from fraudfed.errors import StateError
from fraudfed.wire.messages import Sha256, SignatureHex

_DOMAIN = b"fraudfed bank audit entry v1\0"
#: No entry is longer: paths and labels are bounded.
_LONGEST_ENTRY_BYTES = 64 * 1024


class BankAuditEntry(BaseModel):
    """One line of ``audit.log``.

    Attributes
    ----------
    seq : int
        1, 2, 3, ... without a gap.
    time : int
        UTC epoch seconds, by this bank's clock.
    event : {"sent", "answered", "noted"}
        ``sent`` is written before the request, or a shared run as a file, leaves; ``answered``
        when the answer is there.
        ``noted`` stands for a decision at this bank: no request.
    kind : str
        What the request is, as in the aggregator's log: ``contribution``, ``opening``, ...
    method, path : str
        The path with its query.
    request_id : str
        Equal for all attempts of one request and their answers.
    body_bytes : int
        Length of the body.
    body_sha256 : str or None
        None without a body.
    run_id, round_number, label, context : str, int or None
        What the body belongs to.
    status : int or None
        ``answered`` only: the HTTP status.
    note : str or None
        ``noted``: what was decided, and why. Of a shared run: with whom.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: Annotated[int, Field(ge=1)]
    time: int
    event: Literal["sent", "answered", "noted"]
    kind: str
    method: str
    path: str
    request_id: str
    body_bytes: Annotated[int, Field(ge=0)]
    body_sha256: Sha256 | None = None
    run_id: str | None = None
    round_number: int | None = None
    label: str | None = None
    context: Sha256 | None = None
    status: int | None = None
    note: str | None = None
    previous_hash: Sha256
    hash: Sha256
    signature: SignatureHex

    def signed_bytes(self) -> bytes:
        """Return what ``hash`` is the SHA-256 of and ``signature`` signs."""
        return _signed_bytes(self.model_dump())


_SIGNED = sorted(BankAuditEntry.model_fields.keys() - {"hash", "signature"})


def _signed_bytes(fields: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of an entry's fields; a field that is missing is None."""
    signed = {name: fields.get(name) for name in _SIGNED}
    return _DOMAIN + json.dumps(signed, separators=(",", ":"), ensure_ascii=True).encode("ascii")


class AuditLog:
    """The end of a bank's audit log, to which entries are added.

    Several processes may add to one log (training, and a question for the status).

    Parameters
    ----------
    path : Path
        Made when it is missing.
    signer : Signer
        The bank's identity.
    """

    def __init__(self, path: Path, signer: Signer) -> None:
        self._path = path
        self._signer = signer
        self._size = -1
        self._seq = 0
        self._previous_hash = FIRST_PREVIOUS_HASH

    def append(self, *, durable: bool, **facts: Any) -> BankAuditEntry:
        """Add an entry.

        Parameters
        ----------
        durable : bool
            Return only when the entry survives a crash of the machine.
        facts
            The fields of ``BankAuditEntry`` that are not made here.

        Raises
        ------
        StateError
            If the log cannot be written, or its end is damaged.
        """
        try:
            new = not self._path.exists()
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                self._find_end(handle)
                entry = self._entry(facts)
                line = entry.model_dump_json(exclude_none=True).encode() + b"\n"
                written = os.write(handle, line)
                if written != len(line):
                    raise StateError(
                        f"{self._path}: an entry was cut off after {written} bytes; nothing was "
                        "sent: make room on the disk"
                    )
                if durable:
                    os.fsync(handle)
                self._size += len(line)
                self._seq, self._previous_hash = entry.seq, entry.hash
            finally:
                os.close(handle)
            if new:
                sync_directory(self._path.parent)
        except OSError as error:
            raise StateError(
                f"{self._path}: cannot be written ({error.strerror or error}); nothing was sent: "
                "make the file writable and see that the disk has room"
            ) from error
        return entry

    def _find_end(self, handle: int) -> None:
        """Learn number and hash of the last entry, unless nobody has written since."""
        size = os.fstat(handle).st_size
        if size == self._size:
            return
        start = max(0, size - 2 * _LONGEST_ENTRY_BYTES)
        tail = os.pread(handle, size - start, start)
        end = tail.rfind(b"\n") + 1
        if end < len(tail):
            # A crash cut the last line off while it was written, so its request never left.
            os.ftruncate(handle, start + end)
            size = start + end
            tail = tail[:end]
        if tail:
            line = tail[:-1].rpartition(b"\n")[2]
            last = _parse(line, source=f"{self._path}: last entry")
            self._seq, self._previous_hash = last.seq, last.hash
        else:
            self._seq, self._previous_hash = 0, FIRST_PREVIOUS_HASH
        self._size = size

    def _entry(self, facts: dict[str, Any]) -> BankAuditEntry:
        fields = {
            **facts,
            "seq": self._seq + 1,
            "time": int(time.time()),
            "previous_hash": self._previous_hash,
        }
        data = _signed_bytes(fields)
        return BankAuditEntry(
            **fields,
            hash=hashlib.sha256(data).hexdigest(),
            signature=self._signer.sign(data).hex(),
        )


def read_audit_log(path: Path) -> Iterator[BankAuditEntry]:
    """Yield the entries of a log without checking the chain; nothing if there is no log.

    Raises
    ------
    StateError
        If the file cannot be read or a line is no entry.
    """
    if not path.exists():
        return
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    # Cut off by a crash; the next entry replaces it.
                    return
                yield _parse(line, source=f"{path}, line {number}")
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
        ) from error


def verify_audit_log(path: Path, *, signing_key: str) -> list[BankAuditEntry]:
    """Return the entries of a log whose chain and signatures are whole.

    Parameters
    ----------
    path : Path
    signing_key : str
        The bank's public key, hexadecimal.

    Raises
    ------
    StateError
        If an entry was changed, removed from the middle, inserted or reordered; names the line.
    """
    entries: list[BankAuditEntry] = []
    previous = FIRST_PREVIOUS_HASH
    for number, entry in enumerate(read_audit_log(path), start=1):
        where = f"{path}, line {number}"
        if entry.seq != number or entry.previous_hash != previous:
            raise StateError(
                f"{where}: entry {entry.seq} does not follow the entry before it; entries were "
                "removed, inserted or reordered"
            )
        data = entry.signed_bytes()
        if hashlib.sha256(data).hexdigest() != entry.hash:
            raise StateError(f"{where}: entry {entry.seq} was changed after it was written")
        if not is_signed_by(signing_key, data, entry.signature):
            raise StateError(
                f"{where}: entry {entry.seq} is not signed with this bank's key; it was forged"
            )
        previous = entry.hash
        entries.append(entry)
    return entries


def _parse(line: bytes, *, source: str) -> BankAuditEntry:
    try:
        return BankAuditEntry.model_validate_json(line)
    except ValidationError:
        raise StateError(
            f"{source}: is no entry of an audit log; the file was damaged: restore it from a backup"
        ) from None
