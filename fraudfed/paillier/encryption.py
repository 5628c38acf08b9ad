"""Encryption of a list of plaintexts to one vector of ciphertexts.

``c = (1 + m * N) * noise mod N^2`` for a signed plaintext ``|m| <= (N - 1) / 2``: scheme 1 of
Paillier (EUROCRYPT '99, section 4) with ``g = 1 + N``.
"""

from collections.abc import Sequence

from fraudfed.errors import BoundError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.noise import NoisePool, NoiseSource
from fraudfed.paillier.vector import CiphertextVector


class Encryptor:
    """Encrypts under one public key with noise of one source.

    Nearly all the time goes into the noise, which does not depend on the data: ``precompute`` makes
    it ahead, and each value of it is used for one ciphertext only.

    Parameters
    ----------
    public_key : PublicKey
    source : NoiseSource
    threads : int
        Threads that make noise which was not made ahead.
    """

    def __init__(self, public_key: PublicKey, source: NoiseSource, *, threads: int = 1) -> None:
        self._public_key = public_key
        self._source = source
        self._pool = NoisePool(source)
        self._threads = threads

    @property
    def public_key(self) -> PublicKey:
        """The key encrypted under."""
        return self._public_key

    @property
    def ready(self) -> int:
        """Number of ciphertexts for which noise is at hand."""
        return len(self._pool)

    def precompute(self, count: int) -> None:
        """Make the noise of ``count`` later ciphertexts now."""
        self._pool.precompute(count)

    def encrypt(self, plaintexts: Sequence[int]) -> CiphertextVector:
        """Encrypt signed integers.

        Raises
        ------
        BoundError
            If a plaintext does not lie in ``-(N - 1) / 2 .. (N - 1) / 2``.
        """
        n = self._public_key.n
        half = n // 2
        for index, plaintext in enumerate(plaintexts):
            if not -half <= plaintext <= half:
                # Its value is the bank's statistic: the message names the place only.
                raise BoundError(
                    f"plaintext {index} of {len(plaintexts)} lies outside +-(N - 1) / 2 of a "
                    f"{self._public_key.key_bits}-bit key; pack it into more plaintexts"
                )
        noise = self._pool.take(len(plaintexts), threads=self._threads)
        residues = [plaintext % n for plaintext in plaintexts]
        return CiphertextVector(
            self._public_key, self._source.hide(residues, noise, threads=self._threads)
        )
