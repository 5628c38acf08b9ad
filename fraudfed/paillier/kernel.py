"""The two exponentiations that cost all the time, behind one narrow interface.

A kernel only computes; it knows no key and draws no randomness. Every kernel gives the same
integers, so which one runs never shows in a ciphertext, a sum or a model.
"""

from collections.abc import Sequence
from typing import Protocol

from gmpy2 import mpz

from fraudfed.errors import ConfigurationError
from fraudfed.paillier.gmp import GmpKernel

__all__ = ["FixedBase", "Kernel", "kernel_names", "select_kernel"]


class FixedBase(Protocol):
    """Powers of one base, with a table made once."""

    def powers(self, exponents: Sequence[int]) -> list[mpz]:
        """Return ``base ** e mod modulus`` for each ``e`` in ``[0, 2 ** exponent_bits)``."""
        ...


class Kernel(Protocol):
    """Modular exponentiation of many numbers at once."""

    @property
    def name(self) -> str:
        """Name under which a run's record says what was used."""
        ...

    def fixed_base(self, base: mpz, modulus: mpz, *, exponent_bits: int) -> FixedBase:
        """Prepare many powers of one base: the noise of the fast scheme."""
        ...

    def common_exponent(
        self, bases: Sequence[mpz], exponent: mpz, modulus: mpz, *, threads: int = 1
    ) -> list[mpz]:
        """Return ``b ** exponent mod modulus`` for each ``b`` of ``bases``: decryption."""
        ...


def kernel_names() -> tuple[str, ...]:
    """Names of the kernels of this installation, fastest first."""
    return ("gmp",)


def select_kernel(name: str | None = None) -> Kernel:
    """Return the kernel called ``name``, or the fastest one.

    Raises
    ------
    ConfigurationError
        If this installation has no kernel of that name.
    """
    available = kernel_names()
    chosen = available[0] if name is None else name
    if chosen not in available:
        raise ConfigurationError(
            f"Paillier kernel is {chosen!r}, expected one of {', '.join(available)}; "
            "leave it out to take the fastest"
        )
    return GmpKernel()
