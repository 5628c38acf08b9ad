"""The key under which a consortium hashes identifiers into its risk tables.

One for each key package: every member derives the same, the aggregator none. It hides identifiers
from anybody who holds the tables without the key. It hides nothing from a member: that can hash any
identifier it knows (docs/threat-model.md).
"""

from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_INFO = b"fraudfed risk hash key v1\0"


class _SecretHolder(Protocol):
    """``fraudfed.consortium.key_package.KeyPackage``."""

    def expose_secret(self) -> bytes:
        """Return the consortium secret."""
        ...


def derive_risk_key(holder: _SecretHolder) -> bytes:
    """Return 32 bytes, the same for everyone with the consortium secret (HKDF, RFC 5869)."""
    derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_INFO)
    return derivation.derive(holder.expose_secret())
