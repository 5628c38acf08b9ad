"""Many signed integers in one plaintext: digits of individual range and width.

A slot holds a digit d of a public range, ``low <= d <= high`` with ``low <= 0 <= high``, and has as
many bits as ``high - low``; a plaintext is ``sum of d_i * 2^offset_i`` above the header
(``header.py``), and plaintexts add part by part. Law: for vectors x_1 .. x_k whose elements, and
whose sum's elements, lie in their ranges, ``values(split(sum of join(digits(x_k)))) = sum of x_k``.

Why nothing overflows: a digit of the sum minus ``low`` lies in ``0 .. 2^w - 1``, so subtracting the
constant ``sum of low_i * 2^offset_i`` turns the signed digits into ordinary bits without a carry.
Only the *sum* needs to fit: what single digits carry into their neighbours adds up to nothing,
because the plaintext is linear in the digits. As ``|d_i| < 2^w_i``, a plaintext whose slots end
below bit T - 1 stays below ``2^(T-1)`` in absolute value, which is below N / 4 (see
``PublicKey.plaintext_bits``). If banks leave a range together, a digit carries into its neighbour
and the authentication tag, which is over the digits, disagrees.

The layout follows from public facts alone (shape, ranges, key size), so every bank has the same.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fraudfed.communicator import check_bound
from fraudfed.dtypes import BoolArray, Int64Array, UInt8Array, UInt64Array
from fraudfed.errors import BoundError
from fraudfed.secure_sum import slots
from fraudfed.secure_sum.header import HEADER_BITS

_WORD_BITS = 64
_LAYOUT_DOMAIN = b"fraudfed slot layout v3\0"


@dataclass(frozen=True, eq=False)
class SlotLayout:
    """Where each element of a vector lies in the plaintexts. Make one with ``for_bounds``.

    Attributes
    ----------
    shape : tuple of int
        Shape of the vectors that are summed.
    lows, highs : ndarray of shape (n_values,), dtype=int64
        Least and largest value of each element, in C order: of one bank's part and of the sum.
    plaintext_bits : int
        Bits of one plaintext that may be filled.
    firsts : ndarray of shape (n_plaintexts,), dtype=int64
        The first slot of each plaintext.
    digest : str
        SHA-256 of shape, ranges and sizes; part of the round's context.
    """

    shape: tuple[int, ...]
    lows: Int64Array = field(repr=False)
    highs: Int64Array = field(repr=False)
    plaintext_bits: int
    firsts: Int64Array = field(repr=False)
    digest: str
    _elements: Int64Array = field(repr=False)
    """Indices of the elements that have a slot: those that can be other than 0."""
    _raises: UInt64Array = field(repr=False)
    """-low of each slot: what makes its digits non-negative."""
    _widths: UInt8Array = field(repr=False)
    """Bits of each slot."""
    _n_words: int = field(repr=False)
    """Words of 64 bits that hold any plaintext of this size, also one that is no sum."""

    @classmethod
    def for_bounds(
        cls,
        bound: int | Int64Array,
        shape: tuple[int, ...],
        *,
        plaintext_bits: int,
        low: int | Int64Array | None = None,
    ) -> "SlotLayout":
        """Lay out vectors of ``shape``.

        Slots are filled in order and do not straddle plaintexts; an element that can only be 0
        takes none.

        Parameters
        ----------
        bound : int or ndarray broadcastable to ``shape``, dtype=int64
            Largest value of each element, at least 0.
        shape : tuple of int
        plaintext_bits : int
            ``PublicKey.plaintext_bits``.
        low : int or ndarray broadcastable to ``shape``, dtype=int64, or None
            Least value of each element, at most 0; None is ``-bound``.

        Raises
        ------
        BoundError
            If a bound is negative, a low is positive, either is no int64 or does not fit
            ``shape``, or a slot does not fit into one plaintext.
        """
        highs = _flat_bounds(bound, shape)
        lows = -highs if low is None else -_flat_bounds(-low, shape, name="-low")
        # Both are int64, and their difference is below 2^64.
        spans = highs.view(np.uint64) - lows.view(np.uint64)
        elements = np.flatnonzero(spans).astype(np.int64)
        raises = -lows
        if len(elements) < len(spans):
            spans, raises = spans[elements], raises[elements]
        capacity = plaintext_bits - 1 - HEADER_BITS
        if len(elements):
            widest = int(spans.max()).bit_length()
            if widest > capacity:
                raise BoundError(
                    f"a slot needs {widest} bits, expected at most {capacity} of a plaintext; use "
                    "a larger key"
                )
            widths, firsts = slots.lay_out(spans, capacity=capacity)
        else:
            widths, firsts = np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.int64)
        return cls(
            shape=shape,
            lows=lows,
            highs=highs,
            plaintext_bits=plaintext_bits,
            firsts=firsts,
            digest=_digest(shape, lows, highs, plaintext_bits),
            _elements=elements,
            _raises=raises.view(np.uint64),
            _widths=widths,
            # A residue modulo N has two bits more than what may be filled.
            _n_words=(plaintext_bits + 2) // _WORD_BITS + 1,
        )

    @property
    def n_values(self) -> int:
        """Number of elements, with or without a slot."""
        return len(self.highs)

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
            If a value lies outside its range, or shape or dtype is another.
        """
        if values.shape != self.shape:
            raise BoundError(
                f"sum {label!r}: values have shape {values.shape}, expected {self.shape}"
            )
        check_bound(
            values, self.highs.reshape(self.shape), low=self.lows.reshape(self.shape), label=label
        )
        return values.reshape(-1)[self._elements]

    def join(self, digits: Int64Array) -> list[int]:
        """Return the signed plaintexts with these digits; their lowest ``HEADER_BITS`` are 0."""
        data = slots.join(digits, self._places())
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
        return slots.split(data, self._places())

    def _places(self) -> slots.Places:
        return slots.Places(
            widths=self._widths,
            raises=self._raises,
            firsts=self.firsts,
            n_words=self._n_words,
            header=HEADER_BITS,
        )

    def values(self, digits: Int64Array, *, label: str = "vector") -> Int64Array:
        """Return the summed vector whose digits these are.

        Returns
        -------
        ndarray of shape ``shape``, dtype=int64

        Raises
        ------
        BoundError
            If an element of the sum lies outside its range.
        """
        values = np.zeros(self.n_values, dtype=np.int64)
        values[self._elements] = digits
        outside = (values > self.highs) | (values < self.lows)
        if outside.any():
            index = int(np.argmax(outside))
            raise BoundError(
                f"sum {label!r}: element {index} of the opened sum lies outside the public bounds "
                f"{int(self.lows[index])} .. {int(self.highs[index])}; they are derived wrongly or "
                "a bank's data break the contract"
            )
        return values.reshape(self.shape)


def _flat_bounds(
    bound: int | Int64Array, shape: tuple[int, ...], *, name: str = "bound"
) -> Int64Array:
    if isinstance(bound, (int, np.integer)):
        if not 0 <= bound <= np.iinfo(np.int64).max:
            raise BoundError(f"{name} is {bound}, expected 0 .. 2^63 - 1; sums are int64")
        return np.full(int(np.prod(shape, dtype=np.int64)), bound, dtype=np.int64)
    if bound.dtype != np.int64:
        raise BoundError(f"{name} has dtype {bound.dtype}, expected int64")
    try:
        bounds = np.broadcast_to(bound, shape).reshape(-1).copy()
    except ValueError:
        raise BoundError(
            f"{name} has shape {bound.shape}, expected one that broadcasts to {shape}"
        ) from None
    if len(bounds) and int(bounds.min()) < 0:
        raise BoundError(
            f"{name} of element {int(np.argmin(bounds))} is {int(bounds.min())}, expected at least "
            "0"
        )
    return bounds


def _digest(
    shape: tuple[int, ...], lows: Int64Array, highs: Int64Array, plaintext_bits: int
) -> str:
    digest = hashlib.sha256(_LAYOUT_DOMAIN)
    for number in (HEADER_BITS, plaintext_bits, len(shape), *shape):
        digest.update(number.to_bytes(8, "big"))
    for limits in (lows, highs):
        digest.update(limits.astype("<i8", copy=False).data)
    return digest.hexdigest()
