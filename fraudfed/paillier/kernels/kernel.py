"""The two exponentiations that cost all the time, behind one narrow interface.

A kernel only computes; it knows no key and draws no randomness. Every kernel gives the same
integers, so which one runs never shows in a ciphertext, a sum or a model. All powers are taken
modulo the square of a number, its *root* - P, Q or N -, and go in and out as two digits to the
base of the root (``fraudfed.paillier.kernels.residues``).
"""

from collections.abc import Sequence
from functools import cache
from typing import Protocol

from gmpy2 import mpz

from fraudfed.errors import ConfigurationError
from fraudfed.paillier.kernels.adx import ADX
from fraudfed.paillier.kernels.compiled import CompiledKernel
from fraudfed.paillier.kernels.gmp import GmpKernel
from fraudfed.paillier.kernels.ifma import IFMA
from fraudfed.paillier.kernels.residues import Residue


class FixedBase(Protocol):
    """Powers of one base, with a table made once."""

    def powers(self, exponents: Sequence[int], *, threads: int = 1) -> list[Residue]:
        """Return ``base ** e mod root^2`` for each ``e`` in ``[0, 2 ** exponent_bits)``.

        Raises
        ------
        OverflowError
            If an exponent is longer: a fault of the caller.
        """
        ...


class Kernel(Protocol):
    """Modular exponentiation of many numbers at once."""

    @property
    def name(self) -> str:
        """Name under which a run's record says what was used."""
        ...

    def fixed_base(self, base: mpz, root: mpz, *, exponent_bits: int) -> FixedBase:
        """Prepare many powers of one base modulo ``root ** 2``: the noise of the fast scheme."""
        ...

    def common_exponent(
        self, bases: Sequence[Residue], exponent: mpz, root: mpz, *, threads: int = 1
    ) -> list[Residue]:
        """Return ``b ** exponent mod root^2`` for each ``b`` of ``bases``: decryption."""
        ...


@cache
def _kernels() -> dict[str, Kernel]:
    """Kernels of this installation and CPU, fastest first."""
    found: dict[str, Kernel] = {}
    for arithmetic in (IFMA, ADX):
        if not arithmetic.why_unavailable():
            found[arithmetic.name] = CompiledKernel(arithmetic)
    return found | {"gmp": GmpKernel()}


def kernel_names() -> tuple[str, ...]:
    """Names of the kernels that can run here, fastest first."""
    return tuple(_kernels())


def kernel_note() -> str:
    """Say which kernel runs here and why, in one line for an operator."""
    without = "sizes that it does not cover fall back to gmp"
    reason = IFMA.why_unavailable()
    if not reason:
        return f"ifma (AVX-512 IFMA; {without})"
    slower = ADX.why_unavailable()
    if not slower:
        return f"adx (BMI2 and ADX; {without}; ifma does not run here: {reason})"
    others = f"ifma does not run here: {reason}"
    if slower != reason:
        others += f"; nor adx: {slower}"
    return f"gmp ({others})"


def select_kernel(name: str | None = None) -> Kernel:
    """Return the kernel called ``name``, or the fastest one.

    Raises
    ------
    ConfigurationError
        If this installation has no kernel of that name.
    """
    available = _kernels()
    if name is None:
        return next(iter(available.values()))
    if name not in available:
        reasons = {one.name: one.why_unavailable() for one in (IFMA, ADX)}
        why = f" ({name}: {reasons[name]})" if reasons.get(name) else ""
        raise ConfigurationError(
            f"Paillier kernel is {name!r}, expected one of {', '.join(available)}{why}; "
            "leave it out to take the fastest"
        )
    return available[name]
