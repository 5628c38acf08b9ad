"""Many signed integers in one plaintext: digits of individual range and width.

A slot is for an element of a public range, ``low <= x <= high`` with ``low <= 0 <= high``, and has
as many bits as ``high - low``; a plaintext is ``sum of x_i * 2^offset_i`` above the header
(``header.py``), and plaintexts add part by part, modulo N. Law: for int64 vectors x_1 .. x_k whose
sum's elements lie in their ranges, ``split(sum of join(x_k) modulo N) = sum of x_k``.

One bank's elements may be *any* int64, in range or not. What does not fit its slot carries into its
neighbours, and what does not fit the plaintext wraps around modulo N; both are linear, so they add
up to nothing where the sum fits. A bank that checked or clamped its own values would tell others
what they are: only the sum is checked, and it is the same at every bank.

Why the sum is read exactly: an element of the sum minus ``low`` lies in ``0 .. 2^w - 1``, so
subtracting the constant ``sum of low_i * 2^offset_i`` turns the signed digits into ordinary bits
without a carry. As ``|x_i| < 2^w_i``, a sum whose slots end below bit T - 1 stays below ``2^(T-1)``
in absolute value, which is below N / 4 (see ``PublicKey.plaintext_bits``). If the sum leaves a
range, what is read differs from it by less than 2^74 somewhere, and the authentication tag, which
is over the true values of all elements, disagrees.

An element that can only be 0 has no slot. It belongs to the plaintext of the slot before it (or the
first) all the same: its tag covers the true value.

The layout follows from public facts alone (shape, ranges, key size), so every bank has the same.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fraudfed.dtypes import BoolArray, Int64Array, UInt8Array, UInt64Array
from fraudfed.errors import BoundError
from fraudfed.secure_sum import slots
from fraudfed.secure_sum.header import HEADER_BITS

_WORD_BITS = 64
_LAYOUT_DOMAIN = b"fraudfed slot layout v4\0"


@dataclass(frozen=True, eq=False)
class SlotLayout:
    """Where each element of a vector lies in the plaintexts. Make one with ``for_bounds``.

    Attributes
    ----------
    shape : tuple of int
        Shape of the vectors that are summed.
    lows, highs : ndarray of shape (n_values,), dtype=int64
        Least and largest value of each element of the sum, in C order.
    plaintext_bits : int
        Bits of one plaintext that may be filled.
    firsts : ndarray of shape (n_plaintexts,), dtype=int64
        The first element of each plaintext.
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
    _first_slots: Int64Array = field(repr=False)
    """Number of the first slot of each plaintext."""
    _raises: UInt64Array = field(repr=False)
    """-low of each slot: what makes its digits non-negative."""
    _widths: UInt8Array = field(repr=False)
    """Bits of each slot."""
    _n_words: int = field(repr=False)
    """Words of 64 bits that hold what any int64 add up to, and any residue modulo N."""

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
        takes none. There is a plaintext wherever there is an element.

        Parameters
        ----------
        bound : int or ndarray broadcastable to ``shape``, dtype=int64
            Largest value of each element of the sum, at least 0.
        shape : tuple of int
        plaintext_bits : int
            ``PublicKey.plaintext_bits``.
        low : int or ndarray broadcastable to ``shape``, dtype=int64, or None
            Least value of each element of the sum, at most 0; None is ``-bound``.

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
            widths, first_slots = slots.lay_out(spans, capacity=capacity)
            firsts = elements[first_slots]
            # Elements before the first slot.
            firsts[0] = 0
        else:
            widths = np.empty(0, dtype=np.uint8)
            first_slots = firsts = np.zeros(min(1, len(highs)), dtype=np.int64)
        return cls(
            shape=shape,
            lows=lows,
            highs=highs,
            plaintext_bits=plaintext_bits,
            firsts=firsts,
            digest=_digest(shape, lows, highs, plaintext_bits),
            _elements=elements,
            _first_slots=first_slots,
            _raises=raises.view(np.uint64),
            _widths=widths,
            # A residue modulo N has two bits more than what may be filled; any int64 in the highest
            # slot has 64 and a carry.
            _n_words=(plaintext_bits + 2) // _WORD_BITS + 2,
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

    def flat(self, values: Int64Array, *, label: str = "vector") -> Int64Array:
        """Return one bank's vector, element by element, whatever its values are.

        Parameters
        ----------
        values : ndarray of shape ``shape``, dtype=int64
        label : str
            What is summed, for error texts.

        Returns
        -------
        ndarray of shape (n_values,), dtype=int64

        Raises
        ------
        BoundError
            If shape or dtype is another: both are public.
        """
        if values.shape != self.shape:
            raise BoundError(
                f"sum {label!r}: values have shape {values.shape}, expected {self.shape}"
            )
        if values.dtype != np.int64:
            raise BoundError(f"sum {label!r}: values have dtype {values.dtype}, expected int64")
        return np.ascontiguousarray(values).reshape(-1)

    def join(self, flat: Int64Array) -> list[int]:
        """Return the signed plaintexts of these elements; their lowest ``HEADER_BITS`` are 0.

        Parameters
        ----------
        flat : ndarray of shape (n_values,), dtype=int64
            Any int64. The plaintexts may exceed N: they are meant modulo N.
        """
        digits = flat if len(self._elements) == len(flat) else flat[self._elements]
        data, size = slots.join(digits, self._places()), self._plaintext_bytes
        return [
            int.from_bytes(data[start : start + size], "little", signed=True)
            for start in range(0, len(data), size)
        ]

    def to_bytes(self, plaintexts: Sequence[int]) -> bytes:
        """Return plaintexts of ``join``, or residues modulo N, in bytes of fixed width."""
        size = self._plaintext_bytes
        return b"".join([value.to_bytes(size, "little", signed=True) for value in plaintexts])

    def split(self, plaintexts: Sequence[int]) -> tuple[Int64Array, BoolArray]:
        """Read the elements out of summed plaintexts, whatever the header holds.

        Parameters
        ----------
        plaintexts : sequence of int, of length ``n_plaintexts``
            Residues modulo N, centred.

        Returns
        -------
        flat : ndarray of shape (n_values,), dtype=int64
            0 without a slot, and in plaintexts that cannot be of this layout.
        fits : ndarray of shape (n_plaintexts,), dtype=bool
            Whether each plaintext can be of this layout, and each of its elements lies in its
            range.
        """
        digits, fits = slots.split(self.to_bytes(plaintexts), self._places())
        flat = np.zeros(self.n_values, dtype=np.int64)
        flat[self._elements] = digits
        inside = (flat <= self.highs) & (flat >= self.lows)
        if len(fits):
            fits = fits & np.logical_and.reduceat(inside, self.firsts)
        return flat, fits

    @property
    def _plaintext_bytes(self) -> int:
        return self._n_words * _WORD_BITS // 8

    def _places(self) -> slots.Places:
        return slots.Places(
            widths=self._widths,
            raises=self._raises,
            firsts=self._first_slots,
            n_words=self._n_words,
            header=HEADER_BITS,
        )


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
