"""The kernel that is always there: GMP through gmpy2."""

from collections.abc import Sequence

import gmpy2
from gmpy2 import mpz

from fraudfed.paillier.kernels.residues import Residue, from_digits, to_digits
from fraudfed.paillier.kernels.slices import over_threads

#: Bits of one table window. Measured per 257-bit power modulo a 3072-bit P^2 on one core of an
#: AMD EPYC (Zen 4): 6 bits 0.16 ms with 1.1 MB, 8 bits 0.10 ms with 3.5 MB (table built in 25 ms),
#: 10 bits 0.09 ms with 11 MB, 12 bits 0.08 ms with 37 MB. From 8 on memory grows fourfold for a
#: tenth of the time; and 8 bits are a byte, so that the windows of an exponent are its bytes.
WINDOW_BITS = 8


class GmpFixedBase:
    """Radix-256 fixed-base exponentiation (Brickell, Gordon, McCurley, Wilson, EUROCRYPT '92).

    ``table[i][d] = base^(d * 256^i) mod modulus``; a power is the product of one entry per byte
    of the exponent. No squarings are left.

    Parameters
    ----------
    base, root : mpz
        The modulus is ``root ** 2``.
    exponent_bits : int
        Exponents are in ``[0, 2 ** exponent_bits)``.
    """

    __slots__ = ("_modulus", "_root", "_table")

    def __init__(self, base: mpz, root: mpz, *, exponent_bits: int) -> None:
        self._root, self._modulus = root, root * root
        modulus = self._modulus
        self._table: list[list[mpz]] = []
        step = base % modulus
        for _ in range(-(-exponent_bits // WINDOW_BITS)):
            row = [mpz(1)]
            for _ in range((1 << WINDOW_BITS) - 1):
                row.append(row[-1] * step % modulus)
            self._table.append(row)
            step = row[-1] * step % modulus

    def __repr__(self) -> str:
        # A table modulo P^2 is as secret as P.
        return f"<GmpFixedBase of {len(self._table)} windows>"

    def __reduce__(self) -> str:
        raise TypeError("a fixed-base table may hold a secret modulus and cannot be pickled")

    def powers(self, exponents: Sequence[int], *, threads: int = 1) -> list[Residue]:  # noqa: ARG002
        """Return ``base ** e mod root^2`` for each exponent, in one thread: this holds the GIL."""
        table, modulus, n_windows = self._table, self._modulus, len(self._table)
        result = []
        for exponent in exponents:
            power = mpz(1)
            # OverflowError here means an exponent above exponent_bits: a fault of the caller.
            for row, digit in zip(table, exponent.to_bytes(n_windows, "little"), strict=True):
                power = power * row[digit] % modulus
            result.append(power)
        return to_digits(result, self._root)


class GmpKernel:
    """gmpy2: one exponentiation after the other, over threads where GMP runs without the GIL."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Name under which a run's record says what was used."""
        return "gmp"

    def fixed_base(self, base: mpz, root: mpz, *, exponent_bits: int) -> GmpFixedBase:
        """Prepare many powers of one base modulo ``root ** 2``."""
        return GmpFixedBase(base, root, exponent_bits=exponent_bits)

    def common_exponent(
        self, bases: Sequence[Residue], exponent: mpz, root: mpz, *, threads: int = 1
    ) -> list[Residue]:
        """Return ``b ** exponent mod root^2`` for each ``b`` of ``bases``.

        Not constant-time: callers with a secret exponent blind the bases first (see
        ``docs/cryptography.md``; ``powmod_sec`` takes 2.1 times as long and has no batch form).
        """
        modulus = root * root

        def powers(part: Sequence[mpz]) -> list[mpz]:
            # Computes the whole list without the GIL.
            return list(gmpy2.powmod_base_list(list(part), exponent, modulus))

        return to_digits(over_threads(powers, from_digits(bases, root), threads=threads), root)
