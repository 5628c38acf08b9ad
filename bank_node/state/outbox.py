"""What this bank has sealed for each context of a run, before it is sent: never a second one.

The pairwise masks of a contribution follow from its context alone. Two contributions under one
context would carry the same masks, and their difference would show the difference of the
statistics to whoever holds the Paillier key. So a contribution is written down, durably, before
it is sent, and a program that was started again sends those bytes again.

Law: for one context at most one contribution is ever kept, and what is sent for it is always those
bytes, whatever is killed and whenever.

The file is a row of records, and grows at its end only::

    magic "FFOB", version (2 bytes), kind (2), context (32), length of the payload (8)
    checksum of the fields above (8)
    payload
    checksum of all of the record above (32)

Numbers are big-endian. The head has a checksum of its own: a wrong length must not make the records
behind it look like one that a crash has cut off. The checksum is SHA-256, cut to 8 bytes for the
head: it is the fastest of ``hashlib`` where the processor has instructions for it (67 microseconds
for 115 kB, BLAKE2b 151), a small part of what the disk takes.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from bank_node.state.files import append_whole, make_durable, remove_leftovers, write_atomic
from fraudfed.errors import StateError
from fraudfed.secure_sum.context import check_digest
from fraudfed.secure_sum.faults import SumFault, sum_error

#: Raised when the records change their meaning.
OUTBOX_VERSION = 1

_MAGIC = b"FFOB"
_FIELDS = struct.Struct(">4sHH32sQ")
_FIELDS_CHECKSUM_BYTES = 8
_HEAD_BYTES = _FIELDS.size + _FIELDS_CHECKSUM_BYTES
_CHECKSUM_BYTES = 32
_DIGEST_BYTES = 32
_NO_CONTEXT = bytes(_DIGEST_BYTES)

#: The format before the records: lines of a digest in hexadecimal, nothing else.
_OLD_LINE_BYTES = 2 * _DIGEST_BYTES + 1
_OLD_ALPHABET = frozenset(b"0123456789abcdef")


class _Kind(IntEnum):
    USED = 1
    """Contexts whose payloads are forgotten: digests one behind the other; first record only."""
    CONTRIBUTION = 2
    OPENING = 3


@dataclass(frozen=True)
class Kept:
    """What was sealed under a context.

    Attributes
    ----------
    contribution : bytes or None
        None if it was forgotten after a checkpoint. The context is used up all the same.
    opening : bytes or None
        None if it was forgotten, or never kept.
    """

    contribution: bytes | None
    opening: bytes | None


@dataclass
class _Places:
    """Where the records of a context begin in the file, and how long their payloads are."""

    contribution: tuple[int, int] | None = None
    opening: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Record:
    kind: _Kind
    context: bytes
    payload: memoryview
    start: int
    end: int


class Outbox:
    """The contributions and openings of one run. The caller holds the state directory's lock.

    Parameters
    ----------
    path : Path
        Made at the first ``keep`` when it is missing.

    Raises
    ------
    StateError
        If the file cannot be read or synced, is damaged, or was written by a newer release. A
        last record that a crash cut off is no damage: what it was for was never sent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[bytes, _Places] = {}
        self._whole_bytes = 0
        self._is_old = False
        remove_leftovers(path)
        # The program before may have been killed within its sync. What is found is sent again, so
        # it must be as safe as if it had been kept just now.
        make_durable(path)
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise self._unreadable(error) from error
        if data[: len(_MAGIC)] == _MAGIC[: len(data)] or not any(data):
            for record in self._records(data):
                self._take(record)
        else:
            self._take_old_lines(data)

    def __contains__(self, context_digest: str) -> bool:
        return bytes.fromhex(context_digest) in self._places

    def find(self, context_digest: str) -> Kept | None:
        """Return what was sealed under a context; None if it is not used up.

        Raises
        ------
        StateError
            If the file cannot be read, or was damaged since it was opened.
        """
        places = self._places.get(bytes.fromhex(context_digest))
        if places is None:
            return None
        return Kept(self._payload(places.contribution), self._payload(places.opening))

    def keep(self, context_digest: str, frame: bytes, *, label: str, round_number: int) -> None:
        """Keep a contribution; it may be sent when this returns, as it survives a crash then.

        Raises
        ------
        SumError
            Of kind REUSE, if the context was used before.
        StateError
            If the file cannot be written: it is as before, and nothing may be sent.
        """
        check_digest(f"sum {label!r}: context", context_digest)
        context = bytes.fromhex(context_digest)
        if context in self._places:
            raise sum_error(
                SumFault.REUSE,
                label,
                f"this bank sealed its contribution to round {round_number} before it was started "
                "again, and never seals a second one, as the two would show their difference; ask "
                "the operator for a new run",
            )
        place = self._append(_Kind.CONTRIBUTION, context, frame, sync=True)
        self._places[context] = _Places(contribution=place)

    def keep_opening(self, context_digest: str, frame: bytes) -> None:
        """Keep this bank's opened shard of a context that ``keep`` was called for.

        Not synced: it is lost by a power cut only, and can be made again.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before.
        ValueError
            If the context is not used up, or another opening is kept for it.
        """
        context = bytes.fromhex(context_digest)
        places = self._places.get(context)
        if places is None:
            raise ValueError(f"context {context_digest}: keep its contribution before its opening")
        if places.opening is not None:
            if self._payload(places.opening) != frame:
                raise ValueError(f"context {context_digest}: another opening is kept already")
            return
        places.opening = self._append(_Kind.OPENING, context, frame, sync=False)

    def forget_payloads(self) -> None:
        """Drop what no round will ask for again; the contexts stay used up for ever.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before.
        """
        holds_payloads = any(places != _Places() for places in self._places.values())
        if holds_payloads or self._is_old:
            self._write_digests()

    def _write_digests(self) -> None:
        data = _record(_Kind.USED, _NO_CONTEXT, b"".join(self._places)) if self._places else b""
        write_atomic(self._path, data)
        self._places = {context: _Places() for context in self._places}
        self._whole_bytes = len(data)
        self._is_old = False

    def _append(self, kind: _Kind, context: bytes, frame: bytes, *, sync: bool) -> tuple[int, int]:
        if self._is_old:
            self._write_digests()
        start, data = self._whole_bytes, _record(kind, context, frame)
        append_whole(self._path, data, at=start, sync=sync)
        self._whole_bytes += len(data)
        return start, len(frame)

    def _payload(self, place: tuple[int, int] | None) -> bytes | None:
        """Read a payload; checked again, as what is sent must be what was kept."""
        if place is None:
            return None
        start, length = place
        size = _HEAD_BYTES + length + _CHECKSUM_BYTES
        try:
            handle = os.open(self._path, os.O_RDONLY)
            try:
                data = os.pread(handle, size, start)
            finally:
                os.close(handle)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(data) != size or not _is_whole(data):
            raise self._damaged(start, "was changed while the program ran")
        return data[_HEAD_BYTES:-_CHECKSUM_BYTES]

    def _records(self, data: bytes) -> Iterator[_Record]:
        """Yield the whole records; sets ``_whole_bytes`` behind each of them."""
        view, start = memoryview(data), 0
        while start < len(data):
            if len(data) - start < _HEAD_BYTES or not any(view[start:]):
                # Cut off by a crash. A power cut may leave zeros that stand for nothing.
                return
            record = self._record_at(view, start)
            if record is None:
                return
            yield record
            start = self._whole_bytes = record.end

    def _record_at(self, view: memoryview, start: int) -> _Record | None:
        """Return the record that begins at ``start``; None if a crash cut it off."""
        head = view[start : start + _HEAD_BYTES]
        magic, version, kind, context, length = _FIELDS.unpack_from(head)
        if magic != _MAGIC:
            raise self._damaged(start, "does not begin as a record")
        if version != OUTBOX_VERSION:
            raise StateError(
                f"{self._path}: the record at byte {start} has format version {version}, this "
                f"release reads {OUTBOX_VERSION}; use the release that wrote it"
            )
        if _checksum(head[: _FIELDS.size])[:_FIELDS_CHECKSUM_BYTES] != head[_FIELDS.size :]:
            raise self._damaged(start, "has a wrong checksum")
        if kind not in tuple(_Kind):
            raise self._damaged(start, f"is of unknown kind {kind}")
        end = start + _HEAD_BYTES + length + _CHECKSUM_BYTES
        record = view[start:end]
        if end > len(view) or (end == len(view) and not any(record[-_CHECKSUM_BYTES:])):
            return None
        if not _is_whole(record):
            raise self._damaged(start, "has a wrong checksum")
        return _Record(_Kind(kind), context, record[_HEAD_BYTES:-_CHECKSUM_BYTES], start, end)

    def _take(self, record: _Record) -> None:
        """Take a whole record over; refuses what this program never writes."""
        place = (record.start, len(record.payload))
        if record.kind is _Kind.USED:
            if record.start or len(record.payload) % _DIGEST_BYTES or record.context != _NO_CONTEXT:
                raise self._damaged(record.start, "is out of place")
            digests = bytes(record.payload)
            for begin in range(0, len(digests), _DIGEST_BYTES):
                self._places[digests[begin : begin + _DIGEST_BYTES]] = _Places()
        elif record.kind is _Kind.CONTRIBUTION:
            if record.context in self._places:
                raise self._damaged(record.start, "is a second contribution under one context")
            self._places[record.context] = _Places(contribution=place)
        else:
            places = self._places.get(record.context)
            if places is None or places.opening is not None:
                raise self._damaged(record.start, "is an opening out of place")
            places.opening = place

    def _take_old_lines(self, data: bytes) -> None:
        """Take a file of the old format over; the first write replaces it."""
        whole = len(data) - len(data) % _OLD_LINE_BYTES
        for begin in range(0, len(data), _OLD_LINE_BYTES):
            line = data[begin : begin + _OLD_LINE_BYTES]
            digest, end = line[: _OLD_LINE_BYTES - 1], line[_OLD_LINE_BYTES - 1 :]
            if not set(digest) <= _OLD_ALPHABET or end not in (b"\n", b""):
                raise self._damaged(begin, "is neither a record nor a digest")
            if begin < whole:
                self._places[bytes.fromhex(digest.decode("ascii"))] = _Places()
        self._is_old = True

    def _damaged(self, start: int, what: str) -> StateError:
        return StateError(
            f"{self._path}: damaged: what stands at byte {start} {what}; this bank no longer knows "
            "what it sealed and cannot go on with this run: restore the file if it is the very "
            "newest copy, or take part in a new run"
        )

    def _unreadable(self, error: OSError) -> StateError:
        return StateError(
            f"{self._path}: cannot be read ({error.strerror or error}); nothing was sent: check "
            "owner and mode"
        )


def _record(kind: _Kind, context: bytes, payload: bytes) -> bytes:
    fields = _FIELDS.pack(_MAGIC, OUTBOX_VERSION, kind, context, len(payload))
    content = b"".join((fields, _checksum(fields)[:_FIELDS_CHECKSUM_BYTES], payload))
    return content + _checksum(content)


def _is_whole(record: bytes | memoryview) -> bool:
    return _checksum(record[:-_CHECKSUM_BYTES]) == record[-_CHECKSUM_BYTES:]


def _checksum(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).digest()
