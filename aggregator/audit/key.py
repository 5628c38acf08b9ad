"""The aggregator's own signing key, with which it signs its audit log (Ed25519).

It is no key of a bank and opens nothing: a holder of it could write another history of this
aggregator, and no more.
"""

import os
import stat
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fraudfed.errors import KeyMaterialError

#: A PEM file of an Ed25519 key has about 120 bytes.
_MAXIMUM_FILE_BYTES = 4096


class AuditKey:
    """Signs audit entries. Never printed, pickled or copied."""

    __slots__ = ("_key", "public_hex")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_hex: str = key.public_key().public_bytes_raw().hex()

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``to_pem`` gave.

        Raises
        ------
        KeyMaterialError
            If the file is missing, readable by others than its owner, or holds another key.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_MAXIMUM_FILE_BYTES)
        except OSError as error:
            raise KeyMaterialError(
                f"audit key {path} cannot be read: {error.strerror}; restore it from a back-up"
            ) from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyMaterialError(
                f"audit key {path} has mode {stat.S_IMODE(mode):04o}, so others than its owner "
                f"can reach it; expected 0600: run `chmod 600 {path}`"
            )
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyMaterialError(
                f"audit key {path} is no Ed25519 key; restore the file that `aggregator init` made"
            )
        return cls(key)

    def to_pem(self) -> bytes:
        """Return the private key for its file; search for this name to find every use of it."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, data: bytes, /) -> bytes:
        """Return the 64-byte signature over ``data``."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"<AuditKey {self.public_hex}>"

    def __reduce__(self) -> str:
        raise TypeError("an audit key cannot be pickled or copied")
