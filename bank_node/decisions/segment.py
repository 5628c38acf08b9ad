"""A segment of the log: records one behind the other, and where each of them is.

A record is a ``fraudfed.container`` of

    slot     4       whose key opens it (``customer_keys``)
    time     8       UTC epoch seconds
    tag      16      HMAC-SHA256 of the transaction under the log's key, cut
    nonce    12
    content          AES-256-GCM of the decision, for this segment and the fields above alone

Numbers are little-endian. A closed segment has an index beside it, made of its records. What
challengers made of the payments lies beside it, too (``challenger_margins``).
"""

import math
import os
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bank_node.decisions.challenger_margins import ChallengerMargins
from bank_node.decisions.customer_keys import NONCE_BYTES, CustomerKeys
from bank_node.decisions.decision import Decision, decode, encode
from fraudfed.container import Container
from fraudfed.durable_file import append_whole, make_durable, write_stream
from fraudfed.errors import StateError

_RECORD: Final = Container(
    magic=b"FFDECIDE",
    version=1,
    what="a record of a decision",
    advice="restore the file from a backup",
)
_HEAD = struct.Struct("<Iq16s")
_ENTRY: Final = np.dtype([("key", "<u8"), ("time", "<i8"), ("start", "<u8"), ("size", "<u4")])
_DOMAIN = b"fraudfed decisions: a decision\0"

_Entries = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a decision was written.

    Attributes
    ----------
    start : int
        Byte of its record.
    head : bytes
        Of its record.
    """

    start: int
    head: bytes


class Segment:
    """One file of the log with its keys.

    Parameters
    ----------
    path : Path
        ``<number>.log``.
    wrapping : AESGCM
        Under the log's key.
    writes : bool
        This process adds records: what a crash cut off at the end is dropped.
    closed : bool
        Nothing is added any more, so that the index beside it holds.

    Raises
    ------
    StateError
        If a file cannot be read, or is damaged. A last record that a crash cut off is no damage.
    """

    def __init__(self, path: Path, wrapping: AESGCM, *, writes: bool, closed: bool) -> None:
        self.path = path
        self._wrapping, self._repairs = wrapping, writes and not closed
        self._known_keys: CustomerKeys | None = None
        self._entries: list[tuple[int, int, int, int]] = []
        # Of a segment that grows: where in the entries each transaction is.
        self._places: dict[int, list[int]] = {}
        self._times: tuple[int, int] | None = None
        self._index: _Entries | None = _load_index(path) if closed else None
        self._margins = ChallengerMargins(path.with_suffix(".margins"))
        self.end = 0
        if self._index is None:
            n_keys = len(self._keys)
            for content, start, end in self._read():
                slot, time, tag = _HEAD.unpack_from(content)
                if slot >= n_keys:
                    # Its key did not reach the disk, so it was never said to be durable.
                    break
                self._enter(_key(tag), time, start, end - start)
        if self._repairs:
            self._repair_margins()
        if closed and self._index is None and writes:
            self.close()

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self._entries) if self._index is None else len(self._index)

    @property
    def times(self) -> tuple[int, int] | None:
        """First and last time of a decision; None without any."""
        if self._times is None or self._index is None:
            found = self._table["time"]
            self._times = (int(found.min()), int(found.max())) if found.size else None
        return self._times

    @property
    def first_time(self) -> int | None:
        """Time of the first decision; None without any."""
        if self._index is None:
            return self._entries[0][1] if self._entries else None
        times = self.times
        return None if times is None else times[0]

    def append(self, decision: Decision, *, customer: bytes, transaction: bytes) -> Place:
        """Add a decision, and return where; it survives the end of this process, see ``sync``.

        Raises
        ------
        StateError
            If a file cannot be written: the segment is as before.
        """
        plain = encode(decision)
        slot, key = self._keys.key_for(customer)
        head = _HEAD.pack(slot, decision.decided_at, transaction)
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, plain, self._associated(head))
        data = _RECORD.pack(head, nonce, sealed)
        append_whole(self.path, data, at=self.end, sync=False)
        place = Place(self.end, head)
        self._enter(_key(transaction), decision.decided_at, self.end, len(data))
        return place

    def append_margin(self, place: Place, margin: float) -> None:
        """Add what a challenger made of a payment, unless its customer was erased since.

        Raises
        ------
        StateError
            If the file cannot be written: the segment is as before.
        """
        key = self._keys.key(_HEAD.unpack(place.head)[0])
        if key is not None:
            self._margins.append(place.start, margin, key=key, head=place.head)

    def sync(self) -> None:
        """Return when all that was added survives a crash of the machine."""
        # A record without its key is none: the keys go first.
        make_durable(self.path.with_suffix(".keys"))
        make_durable(self.path)
        self._margins.sync()

    def close(self) -> None:
        """Write the index: nothing is added any more."""
        self.sync()
        table = np.sort(self._table, order=["key", "start"])
        write_stream(_index_path(self.path), lambda file: np.save(file, table, allow_pickle=False))
        self._index, self._entries, self._places = _load_index(self.path), [], {}
        self._known_keys, self._repairs, self._times = None, False, None

    def find(self, transaction: bytes) -> Decision | None:
        """Return the last decision about a transaction; None if there is none, or it is erased."""
        key = _key(transaction)
        if self._index is None:
            found = [self._entries[at] for at in self._places.get(key, ())]
        else:
            keys = self._index["key"]
            low, high = (int(np.searchsorted(keys, key, side)) for side in ("left", "right"))
            found = self._index[low:high].tolist()
        for _, _, start, size in reversed(found):
            content = self._read_at(start, size)
            decision = self._open(content, start, transaction=transaction)
            if decision is not None:
                if decision.challenger_sha256 is None:
                    return decision
                rows = self._margins.read()
                of = np.flatnonzero(rows["start"] == start)
                return self._joined(decision, content, rows[of[-1]] if of.size else None)
        return None

    def decisions(self, customer: bytes | None = None) -> Iterator[Decision | None]:
        """Yield the decisions in their order; None for one that is erased.

        Parameters
        ----------
        customer : bytes or None
            Tag of the one customer whose decisions are asked for.
        """
        slots = None if customer is None else set(self._keys.slots_of(customer))
        if slots is not None and not slots:
            return
        n_keys = len(self._keys)
        margins: dict[int, np.void] | None = None
        for content, start, _ in self._read():
            slot = _HEAD.unpack_from(content)[0]
            if slot >= n_keys:
                return
            if slots is not None and slot not in slots:
                continue
            decision = self._open(bytes(content), start)
            if decision is not None and decision.challenger_sha256 is not None:
                if margins is None:
                    margins = {int(row["start"]): row for row in self._margins.read()}
                decision = self._joined(decision, bytes(content), margins.get(start))
            yield decision

    def erase(self, customer: bytes) -> int:
        """Destroy the keys of a customer; returns how many decisions they were of."""
        slots = set(self._keys.slots_of(customer))
        if not slots:
            return 0
        count = sum(_HEAD.unpack_from(content)[0] in slots for content, *_ in self._read())
        self._keys.erase(customer)
        return count

    def remove(self) -> None:
        """Remove the segment, its keys first; raises StateError if that is not possible."""
        try:
            keys = self.path.with_suffix(".keys")
            for path in (keys, self.path, self._margins.path, _index_path(self.path)):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _enter(self, key: int, time: int, start: int, size: int) -> None:
        self._places.setdefault(key, []).append(len(self._entries))
        self._entries.append((key, time, start, size))
        self.end = start + size

    @property
    def _table(self) -> _Entries:
        if self._index is not None:
            return self._index
        return np.array(self._entries, dtype=_ENTRY)

    @property
    def _keys(self) -> CustomerKeys:
        if self._known_keys is None:
            path = self.path.with_suffix(".keys")
            self._known_keys = CustomerKeys(path, self._wrapping, repair=self._repairs)
        return self._known_keys

    def _read(self) -> Iterator[tuple[memoryview, int, int]]:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise _unreadable(self.path, error) from error
        for found in _RECORD.unpack_row(data, source=str(self.path)):
            if len(found.content) < _HEAD.size + NONCE_BYTES:
                raise _RECORD.damaged("it is too short", source=f"{self.path}: byte {found.start}")
            yield found.content, found.start, found.end

    def _read_at(self, start: int, size: int) -> bytes:
        try:
            handle = os.open(self.path, os.O_RDONLY)
            try:
                data = os.pread(handle, size, start)
            finally:
                os.close(handle)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return _RECORD.unpack(data, source=f"{self.path}: byte {start}")

    def _open(
        self, content: bytes, start: int, *, transaction: bytes | None = None
    ) -> Decision | None:
        slot, _, tag = _HEAD.unpack_from(content)
        if transaction is not None and tag != transaction:
            return None
        key = self._keys.key(slot)
        if key is None:
            return None
        head, rest = content[: _HEAD.size], content[_HEAD.size :]
        where = f"{self.path}: byte {start}"
        try:
            plain = AESGCM(key).decrypt(
                rest[:NONCE_BYTES], rest[NONCE_BYTES:], self._associated(head)
            )
        except InvalidTag:
            raise _RECORD.damaged("it does not open with its key", source=where) from None
        return decode(plain, source=where)

    def _repair_margins(self) -> None:
        sizes = {start: size for _, _, start, size in self._entries}

        def opens(row: np.void) -> bool:
            start = int(row["start"])
            head = self._read_at(start, sizes[start])[: _HEAD.size]
            key = self._keys.key(_HEAD.unpack(head)[0])
            try:
                return key is None or math.isfinite(self._margins.open(row, key=key, head=head))
            except StateError:
                return False

        self._margins.repair(sizes, opens)

    def _joined(self, decision: Decision, content: bytes, row: np.void | None) -> Decision:
        head = content[: _HEAD.size]
        key = None if row is None else self._keys.key(_HEAD.unpack(head)[0])
        if row is None or key is None:
            return decision
        margin = self._margins.open(row, key=key, head=head)
        return replace(decision, challenger_margin=margin)

    def _associated(self, head: bytes) -> bytes:
        return _DOMAIN + self.path.name.encode() + b"\0" + head


def _index_path(path: Path) -> Path:
    return path.with_suffix(".index")


def _load_index(path: Path) -> _Entries | None:
    """Return the index of a segment; None if there is none that can be read: it is made anew."""
    try:
        table: Any = np.load(_index_path(path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return table if table.dtype == _ENTRY and table.ndim == 1 else None


def _key(tag: bytes) -> int:
    return int.from_bytes(tag[:8], "little")


def _unreadable(path: Path, error: OSError) -> StateError:
    return StateError(f"{path}: cannot be read ({error.strerror or error}); check owner and mode")
