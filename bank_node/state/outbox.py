"""What this bank has sealed for each context of a run, before it is sent: never a second one.

The pairwise masks of a contribution follow from its context alone. Two contributions under one
context would carry the same masks, and their difference would show the difference of the
statistics to anybody who holds the Paillier key. So a contribution is written down, durably, before
it is sent, and a program that was started again sends those bytes again.

Law: for one context at most one contribution is ever kept, and what is sent for it is always those
bytes, whatever is killed and whenever.

The file is a row of ``fraudfed.container`` records and grows at its end only. A record holds its
kind (1 byte), its context (32), and what was sealed.
"""

import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from fraudfed.container import Container, Framed
from fraudfed.durable_file import append_whole, make_durable, remove_leftovers, write_atomic
from fraudfed.errors import StateError
from fraudfed.secure_sum.context import check_digest
from fraudfed.secure_sum.faults import SumFault, sum_error

_RECORD = Container(
    magic=b"FFOB",
    version=1,
    what="a record of an outbox",
    advice="this bank no longer knows what it sealed and cannot continue with this run: restore "
    "the file if it is the very newest copy, or take part in a new run",
)
_DIGEST_BYTES = 32
_NO_CONTEXT = bytes(_DIGEST_BYTES)


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
    """Where the records of a context begin and end in the file."""

    contribution: tuple[int, int] | None = None
    opening: tuple[int, int] | None = None


class Outbox:
    """The contributions and openings of one run. The caller holds the state directory's lock.

    Parameters
    ----------
    path : Path
        Made at the first ``keep`` when it is missing.

    Raises
    ------
    StateError
        If the file cannot be read or synced, is damaged, or was written by another release. A
        last record that a crash cut off is no damage: what it was for was never sent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[bytes, _Places] = {}
        self._whole_bytes = 0
        remove_leftovers(path)
        # The program before may have been killed within its sync. What is found is sent again, so
        # it must be as safe as if it had been kept just now.
        make_durable(path)
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise self._unreadable(error) from error
        for record in _RECORD.unpack_row(data, source=str(path)):
            self._take(record)
            self._whole_bytes = record.end

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
        """Drop what no round will ask for again; the contexts stay used up.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before.
        """
        if all(places == _Places() for places in self._places.values()):
            return
        data = _record(_Kind.USED, _NO_CONTEXT, b"".join(self._places))
        write_atomic(self._path, data)
        self._places = {context: _Places() for context in self._places}
        self._whole_bytes = len(data)

    def _append(self, kind: _Kind, context: bytes, frame: bytes, *, sync: bool) -> tuple[int, int]:
        start, data = self._whole_bytes, _record(kind, context, frame)
        append_whole(self._path, data, at=start, sync=sync)
        self._whole_bytes += len(data)
        return start, self._whole_bytes

    def _payload(self, place: tuple[int, int] | None) -> bytes | None:
        """Read a payload; checked again, as what is sent must be what was kept."""
        if place is None:
            return None
        start, end = place
        try:
            handle = os.open(self._path, os.O_RDONLY)
            try:
                data = os.pread(handle, end - start, start)
            finally:
                os.close(handle)
        except OSError as error:
            raise self._unreadable(error) from error
        return _RECORD.unpack(data, source=f"{self._path}: byte {start}")[1 + _DIGEST_BYTES :]

    def _take(self, record: Framed) -> None:
        """Take a whole record over; refuses what this program never writes."""
        place = (record.start, record.end)
        kind, context = record.content[:1], bytes(record.content[1 : 1 + _DIGEST_BYTES])
        places = self._places.get(context)
        if kind == bytes([_Kind.USED]):
            digests = bytes(record.content[1 + _DIGEST_BYTES :])
            if record.start or len(digests) % _DIGEST_BYTES or context != _NO_CONTEXT:
                raise self._damaged(record, "it is out of place")
            for begin in range(0, len(digests), _DIGEST_BYTES):
                self._places[digests[begin : begin + _DIGEST_BYTES]] = _Places()
        elif kind == bytes([_Kind.CONTRIBUTION]) and len(context) == _DIGEST_BYTES:
            if places is not None:
                raise self._damaged(record, "it is a second contribution under one context")
            self._places[context] = _Places(contribution=place)
        elif kind == bytes([_Kind.OPENING]):
            if places is None or places.opening is not None:
                raise self._damaged(record, "it is an opening out of place")
            places.opening = place
        else:
            raise self._damaged(record, "it is of an unknown kind")

    def _damaged(self, record: Framed, what: str) -> StateError:
        return _RECORD.damaged(what, source=f"{self._path}: byte {record.start}")

    def _unreadable(self, error: OSError) -> StateError:
        return StateError(
            f"{self._path}: cannot be read ({error.strerror or error}); nothing was sent: check "
            "owner and mode"
        )


def _record(kind: _Kind, context: bytes, payload: bytes) -> bytes:
    return _RECORD.pack(bytes([kind]), context, payload)
