"""What the compiled kernels share: numbers as their C wants them, tables of a base, and powers.

``_adx.c`` and ``_ifma.c`` have the same functions for limbs of 64 and of 52 bits. So a kernel is a
compiled module, how it cuts numbers, and what follows from that. Same integers as ``GmpKernel``,
always, which computes what has no size in C.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType

import gmpy2
from gmpy2 import mpz

from fraudfed.errors import ConfigurationError
from fraudfed.machine.native import NativeModule
from fraudfed.paillier.kernels.gmp import GmpFixedBase, GmpKernel
from fraudfed.paillier.kernels.residues import Residue, to_digits
from fraudfed.paillier.kernels.slices import over_threads

#: ``64 root <= R``: see the bounds in ``_ifma_pairs.h`` and ``_adx_pairs.h``.
_SPARE_BITS = 6
#: Bits of one table window: a byte, so that the windows of an exponent are its bytes. Measured with
#: AVX-512 IFMA per 257-bit power modulo a 3072-bit P^2 on one core of an Intel Xeon (Sapphire
#: Rapids): 8 bits 8.5 us with 4.3 MB (built in 5 ms), 9 bits 7.6 us with 7.6 MB, 10 bits 7.2 us
#: with 13.6 MB, 11 bits 7.6 us with 25 MB.
WINDOW_BITS = 8


def words_of(numbers: Iterable[int]) -> bytes:
    """Write numbers of up to 64 bits as the compiled modules read them."""
    return b"".join(number.to_bytes(8, "little") for number in numbers)


@dataclass(frozen=True)
class Arithmetic:
    """A compiled module, and how it cuts numbers.

    Attributes
    ----------
    name : str
        Name of the kernel.
    native : NativeModule
    instructions : str
        What the processor must have, in words for an operator.
    limb_bits : int
        Bits of one limb; each goes to C in a word of 64 bits.
    sizes : tuple of int
        Numbers of limbs that the module is compiled for, ascending.
    lanes : int
        Numbers that one pass computes side by side.
    """

    name: str
    native: NativeModule
    instructions: str
    limb_bits: int
    sizes: tuple[int, ...]
    lanes: int

    def why_unavailable(self) -> str:
        """Return why this kernel cannot run here, in words for an operator; empty if it can."""
        if self.native.module is None:
            return self.native.reason
        if not self.native.module.supported():
            return f"this CPU has no {self.instructions}"
        return ""

    def module(self) -> ModuleType:
        """Return the compiled module; raises ConfigurationError where there is none."""
        if self.native.module is None:
            raise ConfigurationError(
                f"Paillier kernel {self.name!r} is {self.native.reason}; use 'gmp'"
            )
        return self.native.module

    def limbs_for(self, root: int) -> int | None:
        """Return the size that a root is computed with, None if it is too large or even."""
        if root % 2 == 0 or root < 3:
            return None
        needed = root.bit_length() + _SPARE_BITS
        return next((size for size in self.sizes if size * self.limb_bits >= needed), None)

    def limbs_of(self, value: mpz, count: int) -> list[int]:
        """Cut a number into ``count`` limbs, the lowest first."""
        mask = (1 << self.limb_bits) - 1
        return [int(value >> (self.limb_bits * index) & mask) for index in range(count)]

    def minus_inverse(self, modulus: mpz) -> int:
        """Return ``-1 / modulus`` modulo ``2 ** limb_bits``, for Montgomery's reduction."""
        radix = 1 << self.limb_bits
        return int(-gmpy2.invert(modulus, radix) % radix)


class Square:
    """A modulus ``root^2`` as C wants it. As secret as the root; never printed."""

    __slots__ = ("arithmetic", "half_bytes", "limbs", "root", "words")

    def __init__(self, arithmetic: Arithmetic, root: mpz, limbs: int) -> None:
        self.arithmetic, self.root, self.limbs = arithmetic, root, limbs
        bits = arithmetic.limb_bits * limbs
        self.half_bytes = (bits + 7) // 8
        radix = mpz(1) << bits
        high, low = divmod(radix * radix % (root * root), root)
        parts = (root, (1 - radix) % root, low, high)
        self.words = words_of(
            [
                *(limb for part in parts for limb in arithmetic.limbs_of(part, limbs)),
                arithmetic.minus_inverse(root),
            ]
        )

    def pack(self, residues: Sequence[Residue]) -> bytes:
        """Write residues digit by digit, little-endian."""
        width = self.half_bytes
        return b"".join(
            [digit.to_bytes(width, "little") for residue in residues for digit in residue]
        )

    def unpack(self, data: bytes) -> list[Residue]:
        """Read residues; each digit may be up to twice the root."""
        width, root = self.half_bytes, self.root
        residues = []
        for start in range(0, len(data), 2 * width):
            middle = start + width
            low = mpz.from_bytes(data[start:middle], "little")
            high = mpz.from_bytes(data[middle : middle + width], "little")
            carry, low = gmpy2.f_divmod(low, root)
            residues.append((low, (high + carry) % root))
        return residues


class CompiledFixedBase:
    """Radix-256 fixed-base exponentiation (Brickell, Gordon, McCurley, Wilson, EUROCRYPT '92).

    As ``GmpFixedBase``, whose table it has in Montgomery form. Which entries are read depends on
    the exponents: for noise, whose exponents are random and used once.
    """

    __slots__ = ("rows", "square", "table")

    def __init__(self, base: mpz, square: Square, *, exponent_bits: int) -> None:
        self.square = square
        self.rows = -(-exponent_bits // WINDOW_BITS)
        self.table: bytes = square.arithmetic.module().fixed_base_table(
            square.limbs,
            square.words,
            square.pack(to_digits([base], square.root)),
            WINDOW_BITS,
            self.rows,
        )

    def __repr__(self) -> str:
        # A table modulo P^2 is as secret as P.
        return f"<CompiledFixedBase of {self.rows} windows>"

    def __reduce__(self) -> str:
        raise TypeError("a fixed-base table may hold a secret modulus and cannot be pickled")

    def powers(self, exponents: Sequence[int], *, threads: int = 1) -> list[Residue]:
        """Return ``base ** e mod root^2`` for each exponent."""
        lanes = self.square.arithmetic.lanes
        return over_threads(self._powers, exponents, threads=threads, unit=lanes)

    def _powers(self, exponents: Sequence[int]) -> list[Residue]:
        return self.square.unpack(self.packed_powers(exponents))

    def packed_powers(self, exponents: Sequence[int]) -> bytes:
        """Return the powers as C writes them: digits up to twice the root."""
        # Windows are bytes, so an exponent above the table's does not fit into its bytes: to_bytes
        # raises OverflowError, and no bit is left out.
        packed = b"".join(exponent.to_bytes(self.rows, "little") for exponent in exponents)
        square = self.square
        powers: bytes = square.arithmetic.module().fixed_base_powers(
            square.limbs, square.words, self.table, WINDOW_BITS, self.rows, packed, self.rows
        )
        return powers


class CompiledKernel:
    """Powers in C, constant-time in the bits of a common exponent; GMP for other sizes."""

    __slots__ = ("_arithmetic", "_fallback")

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic = arithmetic
        self._fallback = GmpKernel()

    @property
    def name(self) -> str:
        """Name under which a run's record says what was used."""
        return self._arithmetic.name

    def fixed_base(
        self, base: mpz, root: mpz, *, exponent_bits: int
    ) -> CompiledFixedBase | GmpFixedBase:
        """Prepare many powers of one base modulo ``root ** 2``."""
        limbs = self._arithmetic.limbs_for(int(root))
        if limbs is None:
            return self._fallback.fixed_base(base, root, exponent_bits=exponent_bits)
        square = Square(self._arithmetic, root, limbs)
        return CompiledFixedBase(base, square, exponent_bits=exponent_bits)

    def common_exponent(
        self, bases: Sequence[Residue], exponent: mpz, root: mpz, *, threads: int = 1
    ) -> list[Residue]:
        """Return ``b ** exponent mod root^2`` for each ``b`` of ``bases``.

        Time and memory access depend on the length of the exponent only.
        """
        arithmetic = self._arithmetic
        limbs = arithmetic.limbs_for(int(root))
        if limbs is None or exponent < 0:
            return self._fallback.common_exponent(bases, exponent, root, threads=threads)
        native, square = arithmetic.module(), Square(arithmetic, root, limbs)
        packed = exponent.to_bytes(max(1, (exponent.bit_length() + 7) // 8), "little")

        def powers(part: Sequence[Residue]) -> list[Residue]:
            return square.unpack(
                native.common_exponent(square.limbs, square.words, packed, square.pack(part))
            )

        return over_threads(powers, bases, threads=threads, unit=arithmetic.lanes)
