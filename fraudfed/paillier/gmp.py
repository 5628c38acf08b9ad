"""The kernel that is always there: GMP through gmpy2."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import gmpy2
from gmpy2 import mpz

__all__ = ["GmpFixedBase", "GmpKernel"]

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
    base, modulus : mpz
    exponent_bits : int
        Exponents are in ``[0, 2 ** exponent_bits)``.
    """

    __slots__ = ("_modulus", "_table")

    def __init__(self, base: mpz, modulus: mpz, *, exponent_bits: int) -> None:
        self._modulus = modulus
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

    def powers(self, exponents: Sequence[int]) -> list[mpz]:
        """Return ``base ** e mod modulus`` for each exponent."""
        table, modulus, n_windows = self._table, self._modulus, len(self._table)
        result = []
        for exponent in exponents:
            power = mpz(1)
            # OverflowError here means an exponent above exponent_bits: a fault of the caller.
            for row, digit in zip(table, exponent.to_bytes(n_windows, "little"), strict=True):
                power = power * row[digit] % modulus
            result.append(power)
        return result


class GmpKernel:
    """gmpy2: one exponentiation after the other, over threads where GMP runs without the GIL."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Name under which a run's record says what was used."""
        return "gmp"

    def fixed_base(self, base: mpz, modulus: mpz, *, exponent_bits: int) -> GmpFixedBase:
        """Prepare many powers of one base."""
        return GmpFixedBase(base, modulus, exponent_bits=exponent_bits)

    def common_exponent(
        self, bases: Sequence[mpz], exponent: mpz, modulus: mpz, *, threads: int = 1
    ) -> list[mpz]:
        """Return ``b ** exponent mod modulus`` for each ``b`` of ``bases``.

        Not constant-time: callers with a secret exponent blind the bases first (see
        ``docs/cryptography.md``; ``powmod_sec`` takes 2.1 times as long and has no batch form).
        """
        if threads <= 1 or len(bases) < 2 * threads:
            return _powers_of_list(bases, exponent, modulus)
        # powmod_base_list computes a whole list without the GIL; one slice for each thread.
        slices = [bases[start::threads] for start in range(threads)]
        result: list[mpz] = [mpz(0)] * len(bases)
        with ThreadPoolExecutor(threads) as pool:
            parts = pool.map(lambda part: _powers_of_list(part, exponent, modulus), slices)
            for start, part in enumerate(parts):
                result[start::threads] = part
        return result


def _powers_of_list(bases: Sequence[mpz], exponent: mpz, modulus: mpz) -> list[mpz]:
    return list(gmpy2.powmod_base_list(list(bases), exponent, modulus))
