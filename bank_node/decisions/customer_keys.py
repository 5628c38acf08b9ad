"""A key for each customer of a segment of the log: what is destroyed when a customer is erased.

The log itself only grows. Each decision is encrypted under its customer's key, and each key lies in
a slot of its own, wrapped by the log's key. To erase a customer is to overwrite that slot where it
lies: what remains of its decisions cannot be opened any more.

A slot has 80 bytes::

    state    1       0 never written, 1 a key, 2 erased
    padding  3
    tag      16      HMAC-SHA256 of the customer under the log's key, cut
    nonce    12
    key      48      AES-256-GCM of 32 bytes, for this place in this file alone
"""

import os
import secrets
import struct
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fraudfed.durable_file import append_whole
from fraudfed.errors import KeyMaterialError, StateError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
_SLOT = struct.Struct("<B3x16s12s48s")
_LIVE, _ERASED = 1, 2
_GONE: Final = bytes([_ERASED]) + bytes(_SLOT.size - 1)
_DOMAIN = b"fraudfed decisions: key of a customer\0"


class CustomerKeys:
    """The keys of one segment. Never printed or pickled.

    Another process may erase slots at any time; only one may add some.

    Parameters
    ----------
    path : Path
        Made at the first new key when it is missing.
    wrapping : AESGCM
        Under the log's key.
    repair : bool
        Drop keys at the end that a crash of the machine cut off: this process adds keys.

    Raises
    ------
    StateError
        If the file cannot be read.
    """

    def __init__(self, path: Path, wrapping: AESGCM, *, repair: bool) -> None:
        self._path, self._wrapping = path, wrapping
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise _unusable(path, error) from error
        slots = [_SLOT.unpack_from(data, at) for at in range(0, len(data) - _SLOT.size + 1, 80)]
        while slots and (slots[-1][0] == 0 or (repair and not self._opens(len(slots) - 1, slots))):
            slots.pop()
        self._slots: list[tuple[int, bytes, bytes, bytes]] = slots
        self._of = {slot[1]: at for at, slot in enumerate(slots) if slot[0] == _LIVE}
        self._keys: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return f"<CustomerKeys of {self._path}>"

    def __reduce__(self) -> str:
        raise TypeError("keys are secret and cannot be copied or pickled")

    def __len__(self) -> int:
        """Return the number of slots, erased ones included."""
        return len(self._slots)

    def slots_of(self, tag: bytes) -> list[int]:
        """Return the slots of a customer that are not erased."""
        return [at for at, slot in enumerate(self._slots) if slot[0] == _LIVE and slot[1] == tag]

    def key_for(self, tag: bytes) -> tuple[int, bytes]:
        """Return slot and key of a customer; makes one if there is none, or it was erased.

        Raises
        ------
        StateError
            If the file cannot be written.
        """
        slot = self._of.get(tag)
        if slot is not None and self._is_live(slot):
            return slot, self._open(slot)
        slot, key = len(self._slots), secrets.token_bytes(KEY_BYTES)
        nonce = secrets.token_bytes(NONCE_BYTES)
        wrapped = self._wrapping.encrypt(nonce, key, self._associated(slot, tag))
        data = _SLOT.pack(_LIVE, tag, nonce, wrapped)
        append_whole(self._path, data, at=slot * _SLOT.size, sync=False)
        self._slots.append((_LIVE, tag, nonce, wrapped))
        self._of[tag], self._keys[slot] = slot, key
        return slot, key

    def key(self, slot: int) -> bytes | None:
        """Return a key; None if it is erased, by this process or another.

        Raises
        ------
        KeyMaterialError
            If it does not open.
        """
        if self._slots[slot][0] != _LIVE or not self._is_live(slot):
            return None
        return self._open(slot)

    def erase(self, tag: bytes) -> int:
        """Destroy the keys of a customer, and return how many there were.

        Raises
        ------
        StateError
            If the file cannot be written.
        """
        slots = self.slots_of(tag)
        if not slots:
            return 0
        try:
            handle = os.open(self._path, os.O_WRONLY)
            try:
                for slot in slots:
                    os.pwrite(handle, _GONE, slot * _SLOT.size)
                os.fdatasync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise _unusable(self._path, error) from error
        for slot in slots:
            self._slots[slot] = _SLOT.unpack(_GONE)
            self._keys.pop(slot, None)
        self._of.pop(tag, None)
        return len(slots)

    def _is_live(self, slot: int) -> bool:
        """Tell whether no other process has erased a slot."""
        try:
            handle = os.open(self._path, os.O_RDONLY)
            try:
                return os.pread(handle, 1, slot * _SLOT.size) == bytes([_LIVE])
            finally:
                os.close(handle)
        except OSError as error:
            raise _unusable(self._path, error) from error

    def _open(self, slot: int) -> bytes:
        key = self._keys.get(slot)
        if key is None:
            _, tag, nonce, wrapped = self._slots[slot]
            try:
                key = self._wrapping.decrypt(nonce, wrapped, self._associated(slot, tag))
            except InvalidTag:
                raise KeyMaterialError(
                    f"{self._path}: key {slot} does not open; the file is damaged, or of another "
                    "log: restore the log from a backup"
                ) from None
            self._keys[slot] = key
        return key

    def _opens(self, slot: int, slots: list[tuple[int, bytes, bytes, bytes]]) -> bool:
        state, tag, nonce, wrapped = slots[slot]
        if state != _LIVE:
            return state == _ERASED
        try:
            self._wrapping.decrypt(nonce, wrapped, self._associated(slot, tag))
        except InvalidTag:
            return False
        return True

    def _associated(self, slot: int, tag: bytes) -> bytes:
        return _DOMAIN + self._path.name.encode() + struct.pack("<I", slot) + tag


def _unusable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"{path}: cannot be used ({error.strerror or error}); check owner, mode and free space"
    )
