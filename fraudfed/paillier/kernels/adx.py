"""The kernel of processors without AVX-512 IFMA: one power after the other, in C (``_adx.c``).

For odd roots of up to 3130 bits, that is for keys of 2048 and 3072 bits with or without the
factors, and 4096 bits with them; others are computed by GMP. Same integers as ``GmpKernel``,
always.
"""

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

import gmpy2
from gmpy2 import mpz

from fraudfed.errors import ConfigurationError
from fraudfed.machine.native import load_native
from fraudfed.paillier.kernels.gmp import GmpFixedBase, GmpKernel
from fraudfed.paillier.kernels.residues import Residue, to_digits
from fraudfed.paillier.kernels.slices import over_threads

_NATIVE = load_native("fraudfed.paillier.kernels._adx")

_WORD_BITS = 64
#: Sizes that ``_adx.c`` is compiled for: P of a 2048- and of a 3072-bit key, and their N.
_SIZES = (17, 25, 33, 49)
#: ``64 root <= 2^(64 n)``: see the bounds in ``_adx_pairs.h``.
_SPARE_BITS = 6
#: Bits of one table window: a byte, so that the windows of an exponent are its bytes.
WINDOW_BITS = 8


@lru_cache(maxsize=1)
def why_unavailable() -> str:
    """Return why this kernel cannot run here, in words for an operator; empty if it can."""
    if _NATIVE.module is None:
        return _NATIVE.reason
    if not _NATIVE.module.supported():
        return "this CPU has no BMI2 and ADX"
    return ""


def words_for(root: int) -> int | None:
    """Return the size that a root is computed with, None if it is too large or even."""
    if root % 2 == 0 or root < 3:
        return None
    needed = root.bit_length() + _SPARE_BITS
    return next((size for size in _SIZES if size * _WORD_BITS >= needed), None)


def _native() -> ModuleType:
    if _NATIVE.module is None:
        raise ConfigurationError(f"Paillier kernel 'adx' is {_NATIVE.reason}; use 'gmp'")
    return _NATIVE.module


class Square:
    """A modulus ``root^2`` as ``_adx.c`` wants it. As secret as the root; never printed."""

    __slots__ = ("half_bytes", "root", "size", "words")

    def __init__(self, root: mpz, size: int) -> None:
        self.root, self.size = root, size
        self.half_bytes = size * _WORD_BITS // 8
        radix = mpz(1) << (_WORD_BITS * size)
        high, low = divmod(radix * radix % (root * root), root)
        word = mpz(1) << _WORD_BITS
        parts = (root, (1 - radix) % root, low, high)
        self.words = b"".join(part.to_bytes(self.half_bytes, "little") for part in parts) + (
            -gmpy2.invert(root, word) % word
        ).to_bytes(_WORD_BITS // 8, "little")

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


class AdxFixedBase:
    """Radix-256 fixed-base exponentiation (Brickell, Gordon, McCurley, Wilson, EUROCRYPT '92).

    As ``GmpFixedBase``, whose table it has in Montgomery form. Which entries are read depends on
    the exponents: for noise, whose exponents are random and used once.
    """

    __slots__ = ("_rows", "_square", "_table")

    def __init__(self, base: mpz, square: Square, *, exponent_bits: int) -> None:
        self._square = square
        self._rows = -(-exponent_bits // WINDOW_BITS)
        self._table: bytes = _native().fixed_base_table(
            square.size,
            square.words,
            square.pack(to_digits([base], square.root)),
            WINDOW_BITS,
            self._rows,
        )

    def __repr__(self) -> str:
        # A table modulo P^2 is as secret as P.
        return f"<AdxFixedBase of {self._rows} windows>"

    def __reduce__(self) -> str:
        raise TypeError("a fixed-base table may hold a secret modulus and cannot be pickled")

    def powers(self, exponents: Sequence[int], *, threads: int = 1) -> list[Residue]:
        """Return ``base ** e mod root^2`` for each exponent."""
        return over_threads(self._powers, exponents, threads=threads)

    def _powers(self, exponents: Sequence[int]) -> list[Residue]:
        # An exponent above the table's does not fit into its bytes: to_bytes raises OverflowError,
        # and no bit is left out.
        packed = b"".join(exponent.to_bytes(self._rows, "little") for exponent in exponents)
        square = self._square
        return square.unpack(
            _native().fixed_base_powers(
                square.size, square.words, self._table, WINDOW_BITS, self._rows, packed, self._rows
            )
        )


class AdxKernel:
    """MULX, ADCX and ADOX, constant-time in the bits of a common exponent; GMP for other sizes."""

    __slots__ = ("_fallback",)

    def __init__(self) -> None:
        self._fallback = GmpKernel()

    @property
    def name(self) -> str:
        """Name under which a run's record says what was used."""
        return "adx"

    def fixed_base(
        self, base: mpz, root: mpz, *, exponent_bits: int
    ) -> AdxFixedBase | GmpFixedBase:
        """Prepare many powers of one base modulo ``root ** 2``."""
        size = words_for(int(root))
        if size is None:
            return self._fallback.fixed_base(base, root, exponent_bits=exponent_bits)
        return AdxFixedBase(base, Square(root, size), exponent_bits=exponent_bits)

    def common_exponent(
        self, bases: Sequence[Residue], exponent: mpz, root: mpz, *, threads: int = 1
    ) -> list[Residue]:
        """Return ``b ** exponent mod root^2`` for each ``b`` of ``bases``.

        Time and memory access depend on the length of the exponent only.
        """
        size = words_for(int(root))
        if size is None or exponent < 0:
            return self._fallback.common_exponent(bases, exponent, root, threads=threads)
        native, square = _native(), Square(root, size)
        packed = exponent.to_bytes(max(1, (exponent.bit_length() + 7) // 8), "little")

        def powers(part: Sequence[Residue]) -> list[Residue]:
            return square.unpack(
                native.common_exponent(square.size, square.words, packed, square.pack(part))
            )

        return over_threads(powers, bases, threads=threads)
