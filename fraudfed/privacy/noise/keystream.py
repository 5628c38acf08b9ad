"""The stream of bytes that noise is drawn from: ChaCha20 (RFC 8439) under a key of its own.

A key opens one stream and is used for one call of ``sample``, so the nonce need not vary.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from fraudfed.errors import BoundError, KeyMaterialError

#: What ChaCha20 takes: 256 bits, drawn from the operating system for each call.
KEY_BYTES = 32
#: The block counter of RFC 8439 has 32 bits; a block has 64 bytes.
_MAXIMUM_BYTES = 64 << 32


class Keystream:
    """The bytes of a key's stream, in order, each handed out once.

    Parameters
    ----------
    key : bytes
        32 bytes, used for nothing else.

    Raises
    ------
    KeyMaterialError
        If the key has another length.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise KeyMaterialError(
                f"a key of noise has {len(key)} bytes, expected {KEY_BYTES} fresh ones from the "
                "operating system"
            )
        self._encryptor = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
        self._left = _MAXIMUM_BYTES

    def take(self, n_bytes: int) -> bytes:
        """Return the next ``n_bytes``.

        Raises
        ------
        BoundError
            If the block counter would wrap.
        """
        if n_bytes > self._left:
            raise BoundError(
                f"one key gives {_MAXIMUM_BYTES} bytes for noise and more are needed; draw noise "
                "for fewer values at once"
            )
        self._left -= n_bytes
        return self._encryptor.update(bytes(n_bytes))
