"""Noise: random N-th residues, each of which hides exactly one plaintext.

Noise that were used twice would show the difference of two plaintexts: ``c / c'`` would be
``1 + (m - m') * N``. So there is no way to get at noise twice: a source makes it fresh on every
call, and ``NoisePool`` hands out what it holds by removing it.
"""

import os
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import gmpy2
from gmpy2 import mpz

from fraudfed.paillier.kernels.kernel import Kernel
from fraudfed.paillier.kernels.residues import Residue
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import from_integers


class NoiseSource(Protocol):
    """Makes noise for one public key from the operating system's randomness."""

    def fresh(self, count: int, *, threads: int = 1) -> Sequence[Any]:
        """Return ``count`` new random N-th residues, in a form of the source's own."""
        ...

    def hide(self, plaintexts: Sequence[int], noise: Sequence[Any], *, threads: int = 1) -> bytes:
        """Return ``(1 + m N) * noise mod N^2`` as the bytes of a ``CiphertextVector``.

        Parameters
        ----------
        plaintexts : sequence of int
            In ``[0, N)``.
        noise : sequence, of the same length
            Of this source's ``fresh``; used up by this.
        """
        ...


class PublicNoise:
    """Noise from the public key alone, computed modulo N^2.

    Fast scheme: ``hs^r`` with r uniform of ``alpha_bits`` bits (Ma, Han, Lei, ACSAC 2021).
    Plain Paillier: ``r^N`` with r uniform in the units modulo N (Paillier, EUROCRYPT '99).
    """

    def __init__(self, public_key: PublicKey, kernel: Kernel) -> None:
        self._public_key = public_key
        self._kernel = kernel
        self._powers = (
            None
            if public_key.hs is None or public_key.alpha_bits is None
            else kernel.fixed_base(
                mpz(public_key.hs),
                public_key.modulus,
                exponent_bits=public_key.alpha_bits,
            )
        )

    def fresh(self, count: int, *, threads: int = 1) -> list[Residue]:
        """Return ``count`` new random N-th residues, as digits to the base N."""
        key = self._public_key
        if self._powers is not None and key.alpha_bits is not None:
            exponents = [secrets.randbits(key.alpha_bits) for _ in range(count)]
            return self._powers.powers(exponents, threads=threads)
        # A unit modulo N is one modulo N^2 whose high digit is 0.
        units = [(random_unit(key.modulus), mpz(0)) for _ in range(count)]
        return self._kernel.common_exponent(units, key.modulus, key.modulus, threads=threads)

    def hide(
        self, plaintexts: Sequence[int], noise: Sequence[Residue], *, threads: int = 1
    ) -> bytes:
        """Return the ciphertexts, one noise value for each plaintext; in one thread."""
        del threads
        return hide_digits(self._public_key, plaintexts, noise)


def hide_digits(
    public_key: PublicKey, plaintexts: Sequence[int], noise: Sequence[Residue]
) -> bytes:
    """Return the bytes of ``(1 + m N) (low + high N) = low + (high + m low) N`` modulo N^2."""
    n = public_key.modulus
    return from_integers(
        [
            low + n * ((high + mpz(plaintext) * low) % n)
            for plaintext, (low, high) in zip(plaintexts, noise, strict=True)
        ],
        public_key.ciphertext_bytes,
    )


class NoisePool:
    """Noise made ahead of the data, while the bank waits for others.

    Each value is removed from the pool when it is taken, under a lock, and a process that was
    forked off starts with an empty pool: parent and child would else use the same noise.
    """

    def __init__(self, source: NoiseSource) -> None:
        self._source = source
        self._ready: deque[Any] = deque()
        self._lock = threading.Lock()
        self._process_id = os.getpid()

    def __len__(self) -> int:
        with self._lock:
            self._forget_after_fork()
            return len(self._ready)

    def __repr__(self) -> str:
        return f"<NoisePool with {len(self)} values>"

    def __reduce__(self) -> str:
        raise TypeError("noise may be used once only and cannot be copied or pickled")

    def precompute(self, count: int, *, threads: int = 1) -> None:
        """Make ``count`` more values."""
        values = self._source.fresh(count, threads=threads)
        with self._lock:
            self._forget_after_fork()
            self._ready.extend(values)

    def take(self, count: int, *, threads: int = 1) -> list[Any]:
        """Remove ``count`` values from the pool and return them; what is missing is made now."""
        with self._lock:
            self._forget_after_fork()
            values = [self._ready.popleft() for _ in range(min(count, len(self._ready)))]
        if len(values) < count:
            values += [*self._source.fresh(count - len(values), threads=threads)]
        return values

    def _forget_after_fork(self) -> None:
        if self._process_id != os.getpid():
            self._ready.clear()
            self._process_id = os.getpid()


def random_unit(modulus: mpz) -> mpz:
    """Return a uniform element of the units modulo ``modulus``."""
    while True:
        candidate = mpz(1 + secrets.randbelow(int(modulus) - 1))
        if gmpy2.gcd(candidate, modulus) == 1:
            return candidate
