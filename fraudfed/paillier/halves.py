"""The two halves of a private key: modulo P^2 and modulo Q^2."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import gmpy2
from gmpy2 import mpz

from fraudfed.paillier.kernels.slices import over_threads

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Half:
    """Everything needed modulo the square of one prime.

    Attributes
    ----------
    prime, square : mpz
        P and P^2.
    order : mpz or None
        2p, the order of hs modulo P^2; None for a plain Paillier key.
    exponent : mpz
        Decryption's exponent: 2p, or P - 1 for a plain key.
    cofactor : mpz
        ``(P - 1) / exponent``: what is missing to the full exponent.
    scale : mpz
        ``L_P((1 + N)^exponent mod P^2)^-1 mod P``.
    """

    prime: mpz
    square: mpz
    order: mpz | None
    exponent: mpz
    cofactor: mpz
    scale: mpz

    @classmethod
    def of(cls, prime: mpz, subgroup: mpz | None, modulus: mpz) -> "Half":
        """Compute what follows from a prime P, its p (None for a plain key) and N."""
        square = prime * prime
        order = None if subgroup is None else 2 * subgroup
        exponent = prime - 1 if order is None else order
        # (1 + N)^e = 1 + e N modulo P^2, hence L_P of it is e (N / P) modulo P.
        scale = gmpy2.invert(exponent * (modulus // prime), prime)
        return cls(prime, square, order, exponent, (prime - 1) // exponent, scale)


def both_sides(work: Callable[[int, int], T], *, threads: int) -> list[T]:
    """Return ``work(side, threads for it)`` modulo P^2 and modulo Q^2, at the same time."""
    # One thread for each side wastes fewer lanes of a kernel than two threads for one side.
    share = max(1, threads // 2)
    return over_threads(
        lambda sides: [work(side, share) for side in sides], (0, 1), threads=min(threads, 2)
    )
