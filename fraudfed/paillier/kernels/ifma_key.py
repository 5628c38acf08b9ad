"""A key holder's whole work on ciphertexts in C: noise, encryption, decryption (``_ifma_key.h``).

The same bytes as the Python in ``private_key`` and ``noise`` gives, without the GIL from end to
end. For keys of up to 3072 bits; there is none for others.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from fraudfed.paillier.halves import Half
from fraudfed.paillier.kernels.compiled import WINDOW_BITS, CompiledFixedBase, words_of
from fraudfed.paillier.kernels.ifma import IFMA
from fraudfed.paillier.kernels.slices import over_threads

_SIZES = (20, 30)
#: ``2^16 P <= 2^(52 n)``: see the bounds in ``_ifma_key.h``.
_SPARE_BITS = 16


@dataclass(frozen=True, repr=False)
class IfmaKey:
    """Never printed or pickled: it is as secret as P and Q. Made by ``of``."""

    _limbs: int
    _words: bytes
    _sides: tuple[Half, Half]
    _tables: tuple[CompiledFixedBase, CompiledFixedBase]
    _exponents: tuple[bytes, bytes]
    _half_bytes: int

    def __repr__(self) -> str:
        return f"<IfmaKey of {self._limbs} limbs>"

    def __reduce__(self) -> str:
        raise TypeError("a key's constants are as secret as the key and cannot be pickled")

    @classmethod
    def of(cls, sides: tuple[Half, Half], tables: Sequence[object]) -> "IfmaKey | None":
        """Prepare a key; None if compiled code has no part in it.

        Parameters
        ----------
        sides : pair of Half
        tables : sequence
            Powers of hs modulo P^2 and Q^2: a pair of tables of ``IFMA``, or there is no key.
        """
        own = tuple(
            table
            for table in tables
            if isinstance(table, CompiledFixedBase) and table.square.arithmetic is IFMA
        )
        if len(own) != 2:
            return None
        first, second = (side.prime for side in sides)
        bits = first.bit_length()
        limbs = next((n for n in _SIZES if n * IFMA.limb_bits >= bits + _SPARE_BITS), None)
        if limbs is None or second.bit_length() != bits:
            return None
        if any(table.square.limbs != limbs for table in own):
            return None
        radix = mpz(1) << (IFMA.limb_bits * limbs)
        modulus = first * second
        long = mpz(1) << (2 * IFMA.limb_bits * limbs)
        numbers = [
            *IFMA.limbs_of(modulus, 2 * limbs),
            *IFMA.limbs_of(long * long % modulus, 2 * limbs),
            IFMA.minus_inverse(modulus),
        ]
        for value, prime in (
            (gmpy2.invert(first, second), second),
            (gmpy2.invert(second, first), first),
            *((side.scale, side.prime) for side in sides),
        ):
            numbers += IFMA.limbs_of(value * radix % prime, limbs)
        for prime in (first, second):
            for chunk in range(4):
                high, low = divmod(gmpy2.powmod(radix, chunk + 2, prime * prime), prime)
                numbers += IFMA.limbs_of(low, limbs) + IFMA.limbs_of(high, limbs)
        words = b"".join((*(table.square.words for table in own), words_of(numbers)))
        return cls(
            limbs,
            words,
            sides,
            own,
            (_bytes_of(sides[0].exponent), _bytes_of(sides[1].exponent)),
            (2 * IFMA.limb_bits * limbs + 7) // 8,
        )

    def noise(self, exponents: Sequence[int], *, threads: int = 1) -> list[bytes]:
        """Return ``hs^r mod N^2`` for each r, as two digits to the base N, for ``hide`` only."""
        return over_threads(self._noise, exponents, threads=threads, unit=IFMA.lanes)

    def _noise(self, exponents: Sequence[int]) -> list[bytes]:
        rows = self._tables[0].rows
        packed = [
            b"".join(
                (exponent % int(side.exponent)).to_bytes(rows, "little") for exponent in exponents
            )
            for side in self._sides
        ]
        data = IFMA.module().noise(
            self._limbs,
            self._words,
            *(table.table for table in self._tables),
            WINDOW_BITS,
            rows,
            *packed,
            rows,
        )
        size = 2 * self._half_bytes
        return [data[start : start + size] for start in range(0, len(data), size)]

    def hide(
        self, plaintexts: Sequence[int], noise: Sequence[bytes], *, width: int, threads: int = 1
    ) -> bytes:
        """Return ``(1 + m N) * noise mod N^2`` as big-endian numbers of ``width`` bytes.

        Parameters
        ----------
        plaintexts : sequence of int
            In ``[0, N)``.
        noise : sequence of bytes
            One of ``noise``'s for each, used up by this.
        """

        def work(items: Sequence[tuple[int, bytes]]) -> list[bytes]:
            packed = b"".join([m.to_bytes(self._half_bytes, "little") for m, _ in items])
            values = b"".join([value for _, value in items])
            hidden: bytes = IFMA.module().hide(self._limbs, self._words, values, packed, width)
            return [hidden]

        items = list(zip(plaintexts, noise, strict=True))
        parts: list[bytes] = over_threads(work, items, threads=threads, unit=IFMA.lanes)
        return b"".join(parts)

    def open(
        self, ciphertexts: bytes, *, width: int, together: int, threads: int = 1
    ) -> list[int] | None:
        """Return the plaintexts in ``[0, N)``, or None if any is not under fast noise or no unit.

        Parameters
        ----------
        ciphertexts : bytes
            Big-endian numbers of ``width`` bytes, below N^2.
        together : int
            Ciphertexts that share a blind, a multiple of eight.
        """

        def work(indices: Sequence[int]) -> list[list[int] | None]:
            n_blinds = -(-len(indices) // together)
            blinds = [
                # Uniform below the order: 64 bits more than it has, reduced.
                table.packed_powers(
                    [
                        secrets.randbits(int(side.exponent).bit_length() + 64) % int(side.exponent)
                        for _ in range(n_blinds)
                    ]
                )
                for side, table in zip(self._sides, self._tables, strict=True)
            ]
            part = memoryview(ciphertexts)[indices[0] * width : (indices[-1] + 1) * width]
            data, opened = IFMA.module().open(
                self._limbs, self._words, *self._exponents, *blinds, together, part, width
            )
            if 0 in opened:
                return [None]
            size = self._half_bytes
            return [
                [
                    int.from_bytes(data[start : start + size], "little")
                    for start in range(0, len(data), size)
                ]
            ]

        count = len(ciphertexts) // width
        if count == 0:
            return []
        parts = over_threads(work, range(count), threads=threads, unit=IFMA.lanes)
        if None in parts:
            return None
        return [plaintext for part in parts if part is not None for plaintext in part]


def _bytes_of(exponent: mpz) -> bytes:
    return int(exponent).to_bytes((exponent.bit_length() + 7) // 8, "little")
