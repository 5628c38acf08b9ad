"""Noise computed with the factors of the modulus, in a quarter of the time."""

import secrets
from collections.abc import Sequence
from typing import Any

import gmpy2
from gmpy2 import mpz

from fraudfed.errors import KeyMaterialError
from fraudfed.paillier.halves import Half, both_sides
from fraudfed.paillier.kernels.ifma_key import IfmaKey
from fraudfed.paillier.kernels.kernel import FixedBase, Kernel
from fraudfed.paillier.kernels.residues import Residue, to_digits
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.noise import hide_digits, random_unit


class KeyHolderNoise:
    """Noise computed modulo P^2 and Q^2 with the factors known, in a quarter of the time.

    Gives exactly the residues that ``PublicNoise`` would give for the same exponents.
    """

    __slots__ = ("_halves", "_inverses", "_kernel", "_powers", "_public_key", "native")

    def __init__(self, public_key: PublicKey, halves: tuple[Half, Half], kernel: Kernel) -> None:
        self._public_key = public_key
        self._halves = halves
        self._kernel = kernel
        first, second = (half.prime for half in halves)
        #: Of P modulo Q, and of Q modulo P.
        self._inverses = gmpy2.invert(first, second), gmpy2.invert(second, first)
        self._powers: tuple[FixedBase, ...] = ()
        if public_key.hs is not None:
            # Exponents are reduced modulo the order 2p, half as long as alpha.
            self._powers = tuple(
                kernel.fixed_base(
                    mpz(public_key.hs) % half.square,
                    half.prime,
                    exponent_bits=int(half.exponent).bit_length(),
                )
                for half in halves
            )
        #: Does the same in C, where the kernel and the size of the key have it.
        self.native = IfmaKey.of(halves, self._powers)

    def __repr__(self) -> str:
        return f"<KeyHolderNoise of {self._public_key.fingerprint[:16]}...>"

    def __reduce__(self) -> str:
        raise TypeError("a key holder's noise source holds the private key; it cannot be pickled")

    def fresh(self, count: int, *, threads: int = 1) -> Sequence[Residue | bytes]:
        """Return ``count`` new random N-th residues; for ``hide`` only."""
        if self.native is not None:
            return self.native.noise(self.random_exponents(count), threads=threads)
        if self._powers:
            return self.powers(self.random_exponents(count), threads=threads)
        units = [random_unit(self._public_key.modulus) for _ in range(count)]

        def residues(side: int, share: int) -> list[Residue]:
            half = self._halves[side]
            return self._kernel.common_exponent(
                to_digits(units, half.prime),
                # The units modulo P^2 have order P (P - 1).
                self._public_key.modulus % (half.square - half.prime),
                half.prime,
                threads=share,
            )

        return self._join(both_sides(residues, threads=threads))

    def hide(self, plaintexts: Sequence[int], noise: Sequence[Any], *, threads: int = 1) -> bytes:
        """Return the ciphertexts, one noise value for each plaintext in ``[0, N)``."""
        if self.native is None:
            return hide_digits(self._public_key, plaintexts, noise)
        width = self._public_key.ciphertext_bytes
        return self.native.hide(plaintexts, noise, width=width, threads=threads)

    def random_exponents(self, count: int) -> list[int]:
        """Return ``count`` exponents r, uniform of |alpha| bits."""
        bits = self._public_key.alpha_bits
        if bits is None:
            raise KeyMaterialError("a plain Paillier key has no exponents; make a fraudfed key")
        return [secrets.randbits(bits) for _ in range(count)]

    def half_powers(
        self, side: int, exponents: Sequence[int], *, threads: int = 1
    ) -> list[Residue]:
        """Return ``hs^r`` modulo P^2 (``side`` 0) or Q^2 (``side`` 1), as digits."""
        order = int(self._halves[side].exponent)
        return self._powers[side].powers(
            [exponent % order for exponent in exponents], threads=threads
        )

    def powers(self, exponents: Sequence[int], *, threads: int = 1) -> list[Residue]:
        """Return ``hs^r mod N^2`` for each r, as digits to the base N."""
        return self._join(
            both_sides(
                lambda side, share: self.half_powers(side, exponents, threads=share),
                threads=threads,
            )
        )

    def _join(self, sides: Sequence[Sequence[Residue]]) -> list[Residue]:
        """Chinese remainder theorem, digit by digit (Garner's form).

        Of ``x = a + b P`` modulo P^2 and ``x = c + d Q`` modulo Q^2 the low digit to the base N is
        ``low = a + s P = c + t Q``. For the high digit y, ``low + y N = a + b P`` modulo P^2 says
        ``y Q = b - s`` modulo P, and likewise ``y P = d - t`` modulo Q.
        """
        p, q = self._halves[0].prime, self._halves[1].prime
        p_inverse, q_inverse = self._inverses
        joined = []
        for (a, b), (c, d) in zip(*sides, strict=True):
            s = (c - a) * p_inverse % q
            low = a + s * p
            at_p = (b - s) * q_inverse % p
            at_q = (d - (low - c) // q) * p_inverse % q
            joined.append((low, at_p + p * ((at_q - at_p) * p_inverse % q)))
        return joined
