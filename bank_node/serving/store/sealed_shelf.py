"""A shelf whose database, or server, sees nothing of a payment but sealed bytes.

Invariant: ``read`` gives what ``write`` was given, under the same key and number; a part in another
part's place, or changed, is refused. Histories and the journal are sealed with AES-SIV (RFC 5297),
which needs no nonce: a store writes more often than random nonces of 96 bits allow for one key
(NIST SP 800-38D, section 8.3), and a copy that is set back repeats counters. It shows that a part
is as it was before, and how long it is. Keys of histories and payments, and the digests of
payments, are keyed hashes already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bank_node.serving.store.shelf import Batch, Shelf
from fraudfed.errors import StateError

#: AES-256-SIV: a key of 32 bytes for the tag and one for the text.
_SEAL_BYTES = 64
_HASH_BYTES = 32
_CHECK_BYTES = 16
_JOURNAL = b"journal"


class StoreKeys:
    """What a store's secret gives for one store. Never printed or pickled.

    Parameters
    ----------
    secret : bytes
        Of the bank, for all its stores.
    store_id : str
        Drawn when the store was made, so that no two stores have a key in common.
    """

    __slots__ = ("check", "hash_key", "seal_key")

    def __init__(self, secret: bytes, store_id: str) -> None:
        self.hash_key = _derived(secret, store_id, b"hash", _HASH_BYTES)
        self.seal_key = _derived(secret, store_id, b"seal", _SEAL_BYTES)
        #: Stands in the store, to tell whose it is; says nothing of the keys.
        self.check = _derived(secret, store_id, b"check", _CHECK_BYTES).hex()

    def __repr__(self) -> str:
        return "<StoreKeys>"

    def __reduce__(self) -> str:
        raise TypeError("keys of a store are secret and cannot be copied or pickled")


class SealedShelf:
    """A ``Shelf`` over another one.

    Parameters
    ----------
    inner : Shelf
    keys : StoreKeys
    """

    def __init__(self, inner: Shelf, keys: StoreKeys) -> None:
        self.inner = inner
        self._cipher = AESSIV(keys.seal_key)

    @property
    def parts_at_once(self) -> int:
        """Parts of one batch, at most."""
        return self.inner.parts_at_once

    def facts(self) -> dict[str, str]:
        """Return what is known of the store as a whole, which is not sealed."""
        return self.inner.facts()

    def claim(self, facts: Mapping[str, str]) -> None:
        """Become the only writer."""
        self.inner.claim(facts)

    def read(self, key: bytes) -> Mapping[int, bytes]:
        """Return the parts of a history.

        Raises
        ------
        StateError
            If one was not sealed for its place with this store's key.
        """
        found = self.inner.read(key)
        return {part: self._unseal(data, _place(key, part)) for part, data in found.items()}

    def find(self, payment: bytes, days: Sequence[int]) -> bytes | None:
        """Return the keyed digest of a payment's content."""
        return self.inner.find(payment, days)

    def journal(self) -> Iterator[tuple[int, bytes]]:
        """Return the changes that are kept, in order; raises StateError as ``read``."""
        for position, data in self.inner.journal():
            yield position, self._unseal(data, _place(_JOURNAL, position))

    def after(self, cursor: bytes, count: int) -> tuple[bytes, list[bytes]]:
        """Return some keys after a cursor, and the next cursor."""
        return self.inner.after(cursor, count)

    def write(self, batch: Batch) -> None:
        """Keep all of a batch, or nothing of it."""
        seal = self._cipher.encrypt
        parts = [(key, part, seal(data, [_place(key, part)])) for key, part, data in batch.parts]
        journal = [
            (position, seal(data, [_place(_JOURNAL, position)])) for position, data in batch.journal
        ]
        self.inner.write(replace(batch, parts=parts, journal=journal))

    def clear(self) -> None:
        """Make the store an empty one."""
        self.inner.clear()

    def close(self) -> None:
        """Let go of files and connections."""
        self.inner.close()

    def _unseal(self, data: bytes, place: bytes) -> bytes:
        try:
            return self._cipher.decrypt(data, [place])
        except (InvalidTag, ValueError):
            raise StateError(
                "feature store: something in it was changed or damaged, expected what this store "
                "wrote there; restore it from a copy, or fill a new one with --warm"
            ) from None


def _place(key: bytes, number: int) -> bytes:
    return key + number.to_bytes(8, "little", signed=True)


def _derived(secret: bytes, store_id: str, use: bytes, size: int) -> bytes:
    info = b"fraudfed feature store v1\0" + use + b"\0" + store_id.encode()
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=None, info=info).derive(secret)
