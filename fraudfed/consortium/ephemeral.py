"""A bank's X25519 key of one generation of a run, and the secret that two banks share in it.

Forward secrecy: what two banks mask with in a generation follows from both their ephemeral and
their long-lived keys. Who has the long-lived keys alone, and all traffic, learns nothing of it once
the ephemeral keys are gone; who has the ephemeral keys alone neither.
"""

import hashlib
import secrets

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fraudfed.consortium.public.documents import canonical
from fraudfed.errors import KeyMaterialError

#: A private key (RFC 7748, section 5), a secret of two keys, and what follows from it.
SECRET_BYTES = 32


class EphemeralKey:
    """A private key of one generation. Never printed, pickled, copied, compared or logged."""

    __slots__ = ("_private", "_public")

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private
        self._public = private.public_key().public_bytes_raw().hex()

    @classmethod
    def generate(cls, binding: bytes) -> "EphemeralKey":
        """Make a new key from the operating system's randomness.

        Parameters
        ----------
        binding : bytes
            What the key is for. A machine that was set back may give the same random bytes a second
            time; for anything else than before they make another key all the same.
        """
        private = _derive(secrets.token_bytes(SECRET_BYTES), "ephemeral private key", binding)
        return cls(X25519PrivateKey.from_private_bytes(private))

    @classmethod
    def of_secret(cls, secret: bytes) -> "EphemeralKey":
        """Return the key that ``expose_secret`` gave; raises ValueError for another length."""
        return cls(X25519PrivateKey.from_private_bytes(secret))

    @property
    def public(self) -> str:
        """What the other banks get, 32 bytes in lower-case hexadecimal."""
        return self._public

    def expose_secret(self) -> bytes:
        """Return the 32 bytes of the private key, to be kept on disk and nowhere else."""
        return self._private.private_bytes_raw()

    def exchange(self, key: str) -> bytes:
        """Return the 32-byte X25519 secret shared with the holder of a public key.

        Raises
        ------
        KeyMaterialError
            If it is no public key, or one of small order.
        """
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(key)))
        except ValueError:
            raise KeyMaterialError(
                f"ephemeral key is {key[:80]!r}, expected an X25519 public key, 32 bytes in "
                "hexadecimal and not of small order; do not work with the bank that announced it"
            ) from None

    def __repr__(self) -> str:
        return f"<EphemeralKey {self._public[:16]}>"

    def __reduce__(self) -> str:
        raise TypeError("an ephemeral key cannot be pickled or copied")

    def __getstate__(self) -> object:
        raise TypeError("an ephemeral key cannot be pickled or copied")


def pair_secret(
    ephemeral: bytes, static: bytes, *, names: tuple[str, str], run_id: str, generation: int
) -> bytes:
    """Return what two banks derive their masks of a generation from.

    HKDF-SHA256 (RFC 5869) of both X25519 secrets, one behind the other, with run, generation and
    both names in ``info``. Law: the same at both banks, and pseudorandom to anybody who lacks one
    of the two secrets.

    Parameters
    ----------
    ephemeral, static : bytes of length 32
        Of the two banks' ephemeral keys, and of their long-lived agreement keys.
    names : pair of str
        Of the two banks, in any order.
    """
    if len(ephemeral) != SECRET_BYTES or len(static) != SECRET_BYTES:
        # As two secrets of other lengths could be read as one another.
        raise KeyMaterialError(
            f"secrets of two banks have {len(ephemeral)} and {len(static)} bytes, expected "
            f"{SECRET_BYTES} each"
        )
    first, second = sorted(names)
    return _derive(ephemeral + static, "pair secret", run_id, generation, first, second)


def local_digest(*parts: str) -> str:
    """Return SHA-256 of what a bank's contributions depend on, lower-case hexadecimal."""
    return hashlib.sha256(canonical("local digest", *parts)).hexdigest()


def _derive(secret: bytes, domain: str, *parts: bytes | str | int) -> bytes:
    info = canonical(domain, *parts)
    return HKDF(algorithm=hashes.SHA256(), length=SECRET_BYTES, salt=None, info=info).derive(secret)
