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
from fraudfed.dtypes import BoolArray, Int64Array, UInt64Array
from fraudfed.errors import BoundError
from fraudfed.secure_sum.header import HEADER_BITS

__all__ = ["SlotLayout"]

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
    _masks: UInt64Array = field(repr=False)
    """2^w - 1 of each slot."""
    _words: Int64Array = field(repr=False)
    """Index of the 64-bit word in which each slot starts, counted over all plaintexts."""
    _shifts: UInt64Array = field(repr=False)
    """Bit within that word."""
    _crossing: Int64Array = field(repr=False)
    """Slots that run on into the next word."""
    _starts: Int64Array = field(repr=False)
    """The first slot of every word in which a slot starts."""
    _plaintext_sizes: tuple[int, ...] = field(repr=False)
    """Bits in use of each plaintext."""
    _offsets: tuple[int, ...] = field(repr=False)
    """Of each plaintext: the constant that makes all its digits positive."""

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
        spans = spans[elements]
        widths = _bit_length(spans)
        capacity = plaintext_bits - 1 - HEADER_BITS
        if len(widths) and int(widths.max()) > capacity:
            raise BoundError(
                f"a slot needs {int(widths.max())} bits, expected at most {capacity} of a "
                "plaintext; use a larger key"
            )
        firsts = _fill(widths, capacity)
        sizes = np.diff(np.append(firsts, len(widths)))
        n_plaintexts = len(firsts)
        ends = np.cumsum(widths)
        before = ends - widths  # bits of all slots before this one
        base = before[firsts] if n_plaintexts else before
        offsets = before - np.repeat(base, sizes) + HEADER_BITS
        words_per_plaintext = -(-plaintext_bits // _WORD_BITS)
        plaintext_of = np.repeat(np.arange(n_plaintexts, dtype=np.int64), sizes)
        words = plaintext_of * words_per_plaintext + offsets // _WORD_BITS
        shifts = (offsets % _WORD_BITS).astype(np.uint64)
        raises = (-lows[elements]).view(np.uint64)
        crossing = np.flatnonzero(offsets % _WORD_BITS + widths > _WORD_BITS).astype(np.int64)
        starts = np.flatnonzero(np.diff(words, prepend=-1)).astype(np.int64)
        lasts = firsts + sizes - 1
        used = (offsets + widths)[lasts] if n_plaintexts else widths
        layout = cls(
            shape=shape,
            lows=lows,
            highs=highs,
            plaintext_bits=plaintext_bits,
            firsts=firsts,
            digest=_digest(shape, lows, highs, plaintext_bits),
            _elements=elements,
            _raises=raises,
            _masks=~np.uint64(0) >> (np.uint64(_WORD_BITS) - widths.astype(np.uint64)),
            _words=words,
            _shifts=shifts,
            _crossing=crossing,
            _starts=starts,
            _plaintext_sizes=tuple(used.tolist()),
            _offsets=(),
        )
        # All-zero digits with the constant added are the constant itself.
        object.__setattr__(layout, "_offsets", tuple(layout._to_bits(raises)))
        return layout

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
        # Two's complement: adding -low as uint64 gives d - low, which is not negative.
        bits = self._to_bits(digits.view(np.uint64) + self._raises)
        return [plaintext - offset for plaintext, offset in zip(bits, self._offsets, strict=True)]

    def split(self, plaintexts: Sequence[int]) -> tuple[Int64Array, BoolArray]:
        """Read the digits out of plaintexts; the inverse of ``join``, whatever the header holds.

        Parameters
        ----------
        plaintexts : sequence of int, of length ``n_plaintexts``

        Returns
        -------
        digits : ndarray of shape (n_slots,), dtype=int64
            0 in plaintexts that cannot be of this layout.
        fits : ndarray of shape (n_plaintexts,), dtype=bool
            Whether each plaintext lies in the range of this layout.
        """
        words_per_plaintext = -(-self.plaintext_bits // _WORD_BITS)
        width = words_per_plaintext * (_WORD_BITS // 8)
        shifted = [
            plaintext + offset for plaintext, offset in zip(plaintexts, self._offsets, strict=True)
        ]
        fits = np.array(
            [
                bits >= 0 and bits.bit_length() <= size
                for bits, size in zip(shifted, self._plaintext_sizes, strict=True)
            ],
            dtype=np.bool_,
        )
        data = b"".join(
            (bits if fit else offset).to_bytes(width, "little")
            for bits, fit, offset in zip(shifted, fits.tolist(), self._offsets, strict=True)
        )
        words = np.frombuffer(data, dtype="<u8").astype(np.uint64)
        bits = words[self._words] >> self._shifts
        crossing = self._crossing
        bits[crossing] |= words[self._words[crossing] + 1] << (
            np.uint64(_WORD_BITS) - self._shifts[crossing]
        )
        digits = (bits & self._masks) - self._raises
        return digits.view(np.int64), fits

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

    def _to_bits(self, digits: UInt64Array) -> list[int]:
        """Return the numbers whose slots hold ``digits`` in ``[0, 2^w)``."""
        words_per_plaintext = -(-self.plaintext_bits // _WORD_BITS)
        words = np.zeros(self.n_plaintexts * words_per_plaintext, dtype="<u8")
        if len(digits):
            # Bits of different slots do not overlap, so "or" adds them. Words ascend with slots.
            words[self._words[self._starts]] = np.bitwise_or.reduceat(
                digits << self._shifts, self._starts
            )
            # At most one slot runs over the end of a word: indices are distinct. Here shift > 0.
            high = digits[self._crossing] >> (np.uint64(_WORD_BITS) - self._shifts[self._crossing])
            words[self._words[self._crossing] + 1] |= high
        data = words.tobytes()
        width = words_per_plaintext * (_WORD_BITS // 8)
        return [
            int.from_bytes(data[start : start + width], "little")
            for start in range(0, len(data), width)
        ]


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


def _bit_length(values: UInt64Array) -> Int64Array:
    """Bits of positive integers, exactly; float64 logarithms err near powers of two."""
    exponent = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    # Rounding to float64 can only carry up to the next power of two: one bit too many, then.
    too_long = (values >> (exponent - 1).astype(np.uint64)) == 0
    result: Int64Array = exponent - too_long
    return result


def _fill(widths: Int64Array, capacity: int) -> Int64Array:
    """Return the first slot of each plaintext when slots are filled in order."""
    ends = np.cumsum(widths)
    # The method itself: np.searchsorted takes twice as long for one number.
    search = ends.searchsorted
    firsts: list[int] = []
    first, filled = 0, 0
    while first < len(widths):
        firsts.append(first)
        first = int(search(filled + capacity, "right"))
        filled = int(ends[first - 1])
    return np.asarray(firsts, dtype=np.int64)


def _digest(
    shape: tuple[int, ...], lows: Int64Array, highs: Int64Array, plaintext_bits: int
) -> str:
    digest = hashlib.sha256(_LAYOUT_DOMAIN)
    for number in (HEADER_BITS, plaintext_bits, len(shape), *shape):
        digest.update(number.to_bytes(8, "big"))
    for limits in (lows, highs):
        digest.update(limits.astype("<i8", copy=False).data)
    return digest.hexdigest()
