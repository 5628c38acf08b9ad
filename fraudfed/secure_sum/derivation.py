"""Every key and every stream of a secure sum, each for one purpose and one context.

A stream is never used for two things: its key is derived (HKDF, RFC 5869) from a secret, a purpose
and what makes the use unique, so two streams that differ in any of these are independent.
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fraudfed.errors import BoundError

#: Of a derived key: what ChaCha20 and HMAC-SHA256 take.
KEY_BYTES = 32
#: The block counter of RFC 8439 has 32 bits; a block has 64 bytes.
_MAXIMUM_STREAM_BYTES = 64 << 32


def derive_key(secret: bytes, purpose: str, *parts: bytes) -> bytes:
    """Return the 32-byte key for ``purpose`` and ``parts`` (HKDF-SHA256, no salt).

    ``info`` is the purpose and each part preceded by its length in 4 bytes, so no two lists of
    parts give the same.
    """
    info = b"".join(
        len(part).to_bytes(4, "big") + part
        for part in (b"fraudfed secure sum v3", purpose.encode(), *parts)
    )
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def keystream(key: bytes, n_bytes: int) -> bytes:
    """Return the first ``n_bytes`` of ChaCha20 under ``key``, nonce and counter 0 (RFC 8439).

    Raises
    ------
    BoundError
        As ``open_keystream``.
    """
    return open_keystream(key, n_bytes).update(bytes(n_bytes))


def open_keystream(key: bytes, n_bytes: int) -> CipherContext:
    """Return what gives the first ``n_bytes`` piece by piece, by encrypting zeros.

    A key serves one stream, so the nonce need not vary. ChaCha20 and not AES-CTR: as fast here
    (0.9 ns a byte either way), constant-time on every machine, and no loss from a block cipher
    being a permutation.

    Raises
    ------
    BoundError
        If the block counter would wrap.
    """
    if n_bytes > _MAXIMUM_STREAM_BYTES:
        raise BoundError(
            f"a stream of {n_bytes} bytes is needed, expected at most {_MAXIMUM_STREAM_BYTES}; "
            "sum fewer values at once"
        )
    return Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
