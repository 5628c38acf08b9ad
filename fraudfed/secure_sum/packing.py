"""Many signed integers in one plaintext: balanced digits of individual width.

A slot of width w holds a digit d with ``|d| <= B < 2^(w-1)``; a plaintext is
``sum of d_i * 2^offset_i`` above the header (``header.py``), and plaintexts add part by part. Law:
for vectors x_1 .. x_k with ``sum over k of |x_k[i]| <= bounds[i]``,
``values(split(sum of join(digits(x_k)))) = sum of x_k``.

Why nothing overflows: a digit of the sum plus ``2^(w-1)`` lies in ``1 .. 2^w - 1``, so adding the
constant ``sum of 2^(w_i - 1 + offset_i)`` turns the balanced digits into ordinary bits without a
carry; and a plaintext of T bits stays below ``2^(T-1)`` in absolute value, which is below N / 4
(see ``PublicKey.plaintext_bits``). If banks break a bound together, a digit carries into its
neighbour and the authentication tag, which is over the digits, disagrees.

The layout follows from public facts alone (shape, bounds, key size), so every bank has the same.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fraudfed.communicator import check_bound
from fraudfed.dtypes import BoolArray, Int64Array, UInt8Array
from fraudfed.errors import BoundError
from fraudfed.secure_sum import slots
from fraudfed.secure_sum.header import HEADER_BITS

__all__ = ["SlotLayout"]

_WORD_BITS = 64
_LAYOUT_DOMAIN = b"fraudfed slot layout v2\0"


@dataclass(frozen=True, eq=False)
class SlotLayout:
    """Where each element of a vector lies in the plaintexts. Make one with ``for_bounds``.

    Attributes
    ----------
    shape : tuple of int
        Shape of the vectors that are summed.
    bounds : ndarray of shape (n_values,), dtype=int64
        Bound of the absolute values summed over all banks, per element in C order.
    plaintext_bits : int
        Bits of one plaintext that may be filled.
    firsts : ndarray of shape (n_plaintexts,), dtype=int64
        The first slot of each plaintext.
    digest : str
        SHA-256 of shape, bounds and sizes; part of the round's context.
    """

    shape: tuple[int, ...]
    bounds: Int64Array = field(repr=False)
    plaintext_bits: int
    firsts: Int64Array = field(repr=False)
    digest: str
    _elements: Int64Array = field(repr=False)
    """Indices of the elements that have a slot: those with a bound above 0."""
    _widths: UInt8Array = field(repr=False)
    """Bits of each slot."""
    _n_words: int = field(repr=False)
    """Words of 64 bits that hold any plaintext of this size, also one that is no sum."""

    @classmethod
    def for_bounds(
        cls, bound: int | Int64Array, shape: tuple[int, ...], *, plaintext_bits: int
    ) -> "SlotLayout":
        """Lay out vectors of ``shape``.

        Slots are filled in order and do not straddle plaintexts; an element of bound 0 takes none.

        Parameters
        ----------
        bound : int or ndarray broadcastable to ``shape``, dtype=int64
            Public bound of ``sum over banks of abs(value)``, at least 0.
        shape : tuple of int
        plaintext_bits : int
            ``PublicKey.plaintext_bits``.

        Raises
        ------
        BoundError
            If a bound is negative, not an int64, does not fit ``shape``, or a slot does not fit
            into one plaintext.
        """
        bounds = _flat_bounds(bound, shape)
        elements = np.flatnonzero(bounds).astype(np.int64)
        slot_bounds = bounds if len(elements) == len(bounds) else bounds[elements]
        capacity = plaintext_bits - HEADER_BITS
        if len(elements):
            # A slot has the bits of its bound and a sign.
            widest = int(slot_bounds.max()).bit_length() + 1
            if widest > capacity:
                raise BoundError(
                    f"a slot needs {widest} bits, expected at most {capacity} of a plaintext; use "
                    "a larger key"
                )
            widths, firsts = slots.lay_out(slot_bounds, capacity=capacity)
        else:
            widths, firsts = np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.int64)
        return cls(
            shape=shape,
            bounds=bounds,
            plaintext_bits=plaintext_bits,
            firsts=firsts,
            digest=_digest(shape, bounds, plaintext_bits),
            _elements=elements,
            _widths=widths,
            # A residue modulo N has two bits more than what may be filled.
            _n_words=(plaintext_bits + 2) // _WORD_BITS + 1,
        )

    @property
    def n_values(self) -> int:
        """Number of elements, with or without a slot."""
        return len(self.bounds)

    @property
    def n_plaintexts(self) -> int:
        """Number of plaintexts."""
        return len(self.firsts)

    @property
    def n_slots(self) -> int:
        """Number of elements that have a slot."""
        return len(self._elements)

    def digits(self, values: Int64Array, *, label: str = "vector") -> Int64Array:
        """Return the digits of one bank's vector, slot by slot.

        Parameters
        ----------
        values : ndarray of shape ``shape``, dtype=int64
        label : str
            What is summed, for error texts.

        Returns
        -------
        ndarray of shape (n_slots,), dtype=int64

        Raises
        ------
        BoundError
            If a value lies outside its bound, or shape or dtype is another.
        """
        if values.shape != self.shape:
            raise BoundError(
                f"sum {label!r}: values have shape {values.shape}, expected {self.shape}"
            )
        check_bound(values, self.bounds.reshape(self.shape), label=label)
        return values.reshape(-1)[self._elements]

    def join(self, digits: Int64Array) -> list[int]:
        """Return the signed plaintexts with these digits; their lowest ``HEADER_BITS`` are 0."""
        data = slots.join(
            digits, self._widths, self.firsts, n_words=self._n_words, header=HEADER_BITS
        )
        size = self._n_words * _WORD_BITS // 8
        return [
            int.from_bytes(data[start : start + size], "little", signed=True)
            for start in range(0, len(data), size)
        ]

    def split(self, plaintexts: Sequence[int]) -> tuple[Int64Array, BoolArray]:
        """Read the digits out of plaintexts; the inverse of ``join``, whatever the header holds.

        Parameters
        ----------
        plaintexts : sequence of int, of length ``n_plaintexts``
            Residues modulo N, centred.

        Returns
        -------
        digits : ndarray of shape (n_slots,), dtype=int64
            0 in plaintexts that cannot be of this layout.
        fits : ndarray of shape (n_plaintexts,), dtype=bool
            Whether each plaintext lies in the range of this layout.
        """
        size = self._n_words * _WORD_BITS // 8
        data = b"".join([value.to_bytes(size, "little", signed=True) for value in plaintexts])
        return slots.split(
            data, self._widths, self.firsts, n_words=self._n_words, header=HEADER_BITS
        )

    def values(self, digits: Int64Array, *, label: str = "vector") -> Int64Array:
        """Return the summed vector whose digits these are.

        Returns
        -------
        ndarray of shape ``shape``, dtype=int64

        Raises
        ------
        BoundError
            If an element of the sum lies outside its bound.
        """
        values = np.zeros(self.n_values, dtype=np.int64)
        values[self._elements] = digits
        outside = (values > self.bounds) | (values < -self.bounds)
        if outside.any():
            index = int(np.argmax(outside))
            raise BoundError(
                f"sum {label!r}: element {index} of the opened sum lies outside the public bound "
                f"of +-{int(self.bounds[index])}; the bound is derived wrongly or a bank's data "
                "break the contract"
            )
        return values.reshape(self.shape)


def _flat_bounds(bound: int | Int64Array, shape: tuple[int, ...]) -> Int64Array:
    if isinstance(bound, (int, np.integer)):
        if not 0 <= bound <= np.iinfo(np.int64).max:
            raise BoundError(f"bound is {bound}, expected 0 .. 2^63 - 1; sums are int64")
        return np.full(int(np.prod(shape, dtype=np.int64)), bound, dtype=np.int64)
    if bound.dtype != np.int64:
        raise BoundError(f"bounds have dtype {bound.dtype}, expected int64")
    try:
        bounds = np.broadcast_to(bound, shape).reshape(-1).copy()
    except ValueError:
        raise BoundError(
            f"bounds have shape {bound.shape}, expected one that broadcasts to {shape}"
        ) from None
    if len(bounds) and int(bounds.min()) < 0:
        raise BoundError(
            f"bound of element {int(np.argmin(bounds))} is {int(bounds.min())}, expected at least 0"
        )
    return bounds


def _digest(shape: tuple[int, ...], bounds: Int64Array, plaintext_bits: int) -> str:
    digest = hashlib.sha256(_LAYOUT_DOMAIN)
    for number in (HEADER_BITS, plaintext_bits, len(shape), *shape):
        digest.update(number.to_bytes(8, "big"))
    digest.update(bounds.astype(">i8").tobytes())
    return digest.hexdigest()
