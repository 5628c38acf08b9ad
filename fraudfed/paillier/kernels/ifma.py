"""The fast kernel: eight powers side by side with AVX-512 IFMA, in C (``_ifma.c``).

For odd roots of up to 3114 bits, that is for keys of 2048 and 3072 bits with or without the
factors, and 4096 bits with them; others are computed by GMP. Same integers as ``GmpKernel``,
always.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import ModuleType

import gmpy2
from gmpy2 import mpz

from fraudfed.errors import ConfigurationError
from fraudfed.machine.native import load_native
from fraudfed.paillier.kernels.gmp import GmpFixedBase, GmpKernel
from fraudfed.paillier.kernels.residues import Residue, to_digits
from fraudfed.paillier.kernels.slices import over_threads

_NATIVE = load_native("fraudfed.paillier.kernels._ifma")

#: The instructions multiply 52 bits by 52 bits.
LIMB_BITS = 52
_LIMB_MASK = (1 << LIMB_BITS) - 1
#: Sizes that ``_ifma.c`` is compiled for: P of a 2048- and of a 3072-bit key, and their N.
_SIZES = (20, 30, 40, 60)
#: ``64 root <= 2^(52 n)``: see the bounds in ``_ifma_pairs.h``.
_SPARE_BITS = 6
#: Numbers that one pass computes side by side.
LANES = 8
#: Bits of one table window. Measured per 257-bit power modulo a 3072-bit P^2 on one core of an
#: Intel Xeon (Sapphire Rapids): 8 bits 8.5 us with 4.3 MB (built in 5 ms), 9 bits 7.6 us with
#: 7.6 MB, 10 bits 7.2 us with 13.6 MB, 11 bits 7.6 us with 25 MB.
WINDOW_BITS = 8


@lru_cache(maxsize=1)
def why_unavailable() -> str:
    """Return why this kernel cannot run here, in words for an operator; empty if it can."""
    if _NATIVE.module is None:
        return _NATIVE.reason
    if not _NATIVE.module.supported():
        return "this CPU has no AVX-512 IFMA"
    return ""


def native_module() -> ModuleType:
    """Return the compiled module; raises ConfigurationError where there is none."""
    if _NATIVE.module is None:
        raise ConfigurationError(f"Paillier kernel 'ifma' is {_NATIVE.reason}; use 'gmp'")
    return _NATIVE.module


def limbs_for(root: int) -> int | None:
    """Return the size that a root is computed with, None if it is too large or even."""
    if root % 2 == 0 or root < 3:
        return None
    needed = root.bit_length() + _SPARE_BITS
    return next((size for size in _SIZES if size * LIMB_BITS >= needed), None)


def limbs_of(value: mpz, count: int) -> list[int]:
    """Cut a number into ``count`` limbs, the lowest first."""
    return [int(value >> (LIMB_BITS * index) & _LIMB_MASK) for index in range(count)]


def minus_inverse(modulus: mpz) -> int:
    """Return ``-1 / modulus`` modulo ``2 ** LIMB_BITS``, for Montgomery's reduction."""
    return int(-gmpy2.invert(modulus, 1 << LIMB_BITS) & _LIMB_MASK)


def words_of(numbers: Iterable[int]) -> bytes:
    """Write numbers of up to 64 bits as ``_ifma.c`` reads them."""
    return b"".join(number.to_bytes(8, "little") for number in numbers)


class Square:
    """A modulus ``root^2`` as ``_ifma.c`` wants it. As secret as the root; never printed."""

    __slots__ = ("half_bytes", "limbs", "root", "words")

    def __init__(self, root: mpz, limbs: int) -> None:
        self.root, self.limbs = root, limbs
        self.half_bytes = (LIMB_BITS * limbs + 7) // 8
        radix = mpz(1) << (LIMB_BITS * limbs)
        high, low = divmod(radix * radix % (root * root), root)
        parts = (root, (1 - radix) % root, low, high)
        self.words = words_of(
            [*(limb for part in parts for limb in limbs_of(part, limbs)), minus_inverse(root)]
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


class IfmaFixedBase:
    """Radix-256 fixed-base exponentiation (Brickell, Gordon, McCurley, Wilson, EUROCRYPT '92).

    As ``GmpFixedBase``, whose table it has in Montgomery form. Which entries are read depends on
    the exponents: for noise, whose exponents are random and used once.
    """

    __slots__ = ("rows", "square", "table")

    def __init__(self, base: mpz, square: Square, *, exponent_bits: int) -> None:
        self.square = square
        self.rows = -(-exponent_bits // WINDOW_BITS)
        self.table: bytes = native_module().fixed_base_table(
            square.limbs,
            square.words,
            square.pack(to_digits([base], square.root)),
            WINDOW_BITS,
            self.rows,
        )

    def __repr__(self) -> str:
        # A table modulo P^2 is as secret as P.
        return f"<IfmaFixedBase of {self.rows} windows>"

    def __reduce__(self) -> str:
        raise TypeError("a fixed-base table may hold a secret modulus and cannot be pickled")

    def powers(self, exponents: Sequence[int], *, threads: int = 1) -> list[Residue]:
        """Return ``base ** e mod root^2`` for each exponent."""
        return over_threads(self._powers, exponents, threads=threads, unit=LANES)

    def _powers(self, exponents: Sequence[int]) -> list[Residue]:
        return self.square.unpack(self.packed_powers(exponents))

    def packed_powers(self, exponents: Sequence[int]) -> bytes:
        """Return the powers as ``_ifma.c`` writes them: digits up to twice the root."""
        # Windows are bytes, so an exponent above the table's does not fit into its bytes: to_bytes
        # raises OverflowError, and no bit is left out.
        packed = b"".join(exponent.to_bytes(self.rows, "little") for exponent in exponents)
        square = self.square
        powers: bytes = native_module().fixed_base_powers(
            square.limbs, square.words, self.table, WINDOW_BITS, self.rows, packed, self.rows
        )
        return powers


class IfmaKernel:
    """AVX-512 IFMA, constant-time in the bits of a common exponent; GMP for other sizes."""

    __slots__ = ("_fallback",)

    def __init__(self) -> None:
        self._fallback = GmpKernel()

    @property
    def name(self) -> str:
        """Name under which a run's record says what was used."""
        return "ifma"

    def fixed_base(
        self, base: mpz, root: mpz, *, exponent_bits: int
    ) -> IfmaFixedBase | GmpFixedBase:
        """Prepare many powers of one base modulo ``root ** 2``."""
        limbs = limbs_for(int(root))
        if limbs is None:
            return self._fallback.fixed_base(base, root, exponent_bits=exponent_bits)
        return IfmaFixedBase(base, Square(root, limbs), exponent_bits=exponent_bits)

    def common_exponent(
        self, bases: Sequence[Residue], exponent: mpz, root: mpz, *, threads: int = 1
    ) -> list[Residue]:
        """Return ``b ** exponent mod root^2`` for each ``b`` of ``bases``.

        Time and memory access depend on the length of the exponent only.
        """
        limbs = limbs_for(int(root))
        if limbs is None or exponent < 0:
            return self._fallback.common_exponent(bases, exponent, root, threads=threads)
        native, square = native_module(), Square(root, limbs)
        packed = exponent.to_bytes(max(1, (exponent.bit_length() + 7) // 8), "little")

        def powers(part: Sequence[Residue]) -> list[Residue]:
            return square.unpack(
                native.common_exponent(square.limbs, square.words, packed, square.pack(part))
            )

        return over_threads(powers, bases, threads=threads, unit=LANES)
