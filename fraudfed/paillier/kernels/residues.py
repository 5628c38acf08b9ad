"""Residues modulo the square of a number, as two digits to that base.

Everything in this cryptosystem is taken modulo a square - P^2, Q^2 or N^2 - and everything that is
done with the residues goes by their digits: ``L(x) = (x - 1) / P`` is the high digit of an x whose
low digit is 1, and multiplying by ``1 + m N`` only touches the high digit.
"""

from collections.abc import Sequence
from typing import TypeAlias

import gmpy2
from gmpy2 import mpz

#: ``(low, high)``: the residue ``low + high * root`` modulo ``root^2``, both in ``[0, root)``.
Residue: TypeAlias = tuple[mpz, mpz]


def to_digits(values: Sequence[mpz], root: mpz) -> list[Residue]:
    """Return the residues modulo ``root ** 2`` of integers."""
    square = root * root
    pairs = [gmpy2.f_divmod(value % square, root) for value in values]
    return [(low, high) for high, low in pairs]


def from_digits(residues: Sequence[Residue], root: mpz) -> list[mpz]:
    """Return the integers in ``[0, root ** 2)``; the inverse of ``to_digits``."""
    return [low + high * root for low, high in residues]
