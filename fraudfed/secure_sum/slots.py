"""Digits into the slots of plaintexts and back, and the sums behind their tags: compiled or NumPy.

A plaintext is ``n_words`` words of 64 bits, little-endian, two's complement; its slots lie one
after the other from bit ``header`` on. A slot of width w holds a digit d as ``d * 2^offset``. One
bank's digits may be any int64 and carry into other slots; of the sum, ``d + raise`` must lie in
``0 .. 2^w - 1`` to be read back. Both ways give the same bytes; ``packing`` says why that is right.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Int64Array, UInt8Array, UInt32Array, UInt64Array
from fraudfed.machine.native import load_native

_WORD_BITS = 64
_WORD_BYTES = 8
#: Coefficients are cut into limbs of 30, 30 and 29 bits: a product of two limbs has 60 at most, and
#: three of those add up without leaving int64.
LIMB_BITS = 30
_LIMB_MASK = (1 << LIMB_BITS) - 1
LIMBS = 3
_HALF_BITS = 32
_HALF_MASK = (1 << _HALF_BITS) - 1
COEFFICIENT_MASKS = np.array([_LIMB_MASK, _LIMB_MASK, _LIMB_MASK >> 1], dtype=np.uint32)
#: Above it a float64 may round up to the next power of two.
_EXACT_IN_FLOAT = 1 << 53

_NATIVE = load_native("fraudfed.secure_sum._packing").module


@dataclass(frozen=True, eq=False)
class Places:
    """Where the digits lie.

    Attributes
    ----------
    widths : ndarray of shape (n_slots,), dtype=uint8
    raises : ndarray of shape (n_slots,), dtype=uint64
        What makes the digits of each slot non-negative.
    firsts : ndarray of shape (n_plaintexts,), dtype=int64
        The first slot of each plaintext.
    n_words, header : int
    """

    widths: UInt8Array
    raises: UInt64Array
    firsts: Int64Array
    n_words: int
    header: int


def lay_out(spans: UInt64Array, *, capacity: int) -> tuple[UInt8Array, Int64Array]:
    """Return the width of each slot, and the first slot of each plaintext.

    Parameters
    ----------
    spans : ndarray of shape (n_slots,), dtype=uint64
        Largest minus least digit of each slot, above 0.
    capacity : int
        Bits for slots in one plaintext, enough for the widest.

    Returns
    -------
    widths : ndarray of shape (n_slots,), dtype=uint8
        Bits of the span.
    firsts : ndarray of shape (n_plaintexts,), dtype=int64
        Slots are filled in order and do not straddle plaintexts.
    """
    if _NATIVE is not None:
        packed, starts = _NATIVE.lay_out(np.ascontiguousarray(spans), capacity)
        return np.frombuffer(packed, dtype=np.uint8), np.frombuffer(starts, dtype=np.int64)
    widths = _bit_length(spans).astype(np.uint8)
    ends = np.cumsum(widths, dtype=np.int64)
    firsts: list[int] = []
    first, filled = 0, 0
    while first < len(widths):
        firsts.append(first)
        first = int(np.searchsorted(ends, filled + capacity, side="right"))
        filled = int(ends[first - 1])
    return widths, np.asarray(firsts, dtype=np.int64)


def join(digits: Int64Array, places: Places) -> bytes:
    """Return the plaintexts with these digits; the lowest ``header`` bits are 0.

    Parameters
    ----------
    digits : ndarray of shape (n_slots,), dtype=int64
        Any int64, whether they fit their slots or not: no time and no branch depends on them.
    places : Places

    Returns
    -------
    bytes of length ``n_plaintexts * n_words * 8``
    """
    if _NATIVE is not None:
        joined: bytes = _NATIVE.join(np.ascontiguousarray(digits), *_native_places(places))
        return joined
    return _Layout(places).add_up(digits)


def split(plaintexts: bytes, places: Places) -> tuple[Int64Array, BoolArray]:
    """Read the digits out of plaintexts; the inverse of ``join``, whatever the header holds.

    Returns
    -------
    digits : ndarray of shape (n_slots,), dtype=int64
        0 in plaintexts that cannot be of this layout.
    fits : ndarray of shape (n_plaintexts,), dtype=bool
        Whether each plaintext lies in the range of this layout.
    """
    if _NATIVE is not None:
        digits, flags = _NATIVE.split(plaintexts, *_native_places(places))
        return np.frombuffer(digits, dtype=np.int64), np.frombuffer(flags, dtype=np.bool_)
    layout = _Layout(places)
    size = places.n_words * _WORD_BYTES
    constants = layout.to_bits(places.raises)
    shifted = [
        int.from_bytes(plaintexts[start : start + size], "little", signed=True) + constant
        for start, constant in zip(range(0, len(plaintexts), size), constants, strict=True)
    ]
    fits = np.array(
        [
            bits >= 0 and bits.bit_length() <= used
            for bits, used in zip(shifted, layout.used.tolist(), strict=True)
        ],
        dtype=np.bool_,
    )
    data = b"".join(
        (bits if fit else constant).to_bytes(size, "little")
        for bits, fit, constant in zip(shifted, fits.tolist(), constants, strict=True)
    )
    return layout.from_bits(np.frombuffer(data, dtype="<u8").astype(np.uint64)), fits


def _native_places(places: Places) -> tuple[UInt8Array, UInt64Array, Int64Array, int, int]:
    raises = np.ascontiguousarray(places.raises)
    return places.widths, raises, places.firsts, places.n_words, places.header


def tag_sums(values: Int64Array, coefficients: UInt32Array, firsts: Int64Array) -> list[int]:
    """Return for each plaintext the sum of coefficient times value over its elements, exactly.

    Parameters
    ----------
    values : ndarray of shape (n_values,), dtype=int64
    coefficients : ndarray of shape (n_values, 3), dtype=uint32
        Limbs of which 30, 30 and 29 bits count, the lowest first.
    firsts : ndarray of shape (n_plaintexts,), dtype=int64
        The first element of each plaintext, ascending from 0.
    """
    if not len(firsts):
        return []
    if _NATIVE is not None:
        data = _NATIVE.tag_sums(
            np.ascontiguousarray(values), np.ascontiguousarray(coefficients), firsts
        )
        read = int.from_bytes
        return [
            read(data[start : start + 16], "little", signed=True)
            + (read(data[start + 16 : start + 32], "little", signed=True) << LIMB_BITS)
            + (read(data[start + 32 : start + 48], "little", signed=True) << 2 * LIMB_BITS)
            for start in range(0, len(data), 48)
        ]
    factors = (coefficients & COEFFICIENT_MASKS).T.astype(np.int64)
    # x = x0 + x1 2^30 + x2 2^60, the highest limb signed: |x2| <= 8.
    limbs = (values & _LIMB_MASK, (values >> LIMB_BITS) & _LIMB_MASK, values >> 2 * LIMB_BITS)
    totals = [0] * len(firsts)
    for column in range(2 * LIMBS - 1):
        products = sum(
            factors[place] * limbs[column - place]
            for place in range(max(0, column - LIMBS + 1), min(column, LIMBS - 1) + 1)
        )
        # Each half of a column adds up over up to 2^30 elements without leaving int64.
        halves = (products & _HALF_MASK, products >> _HALF_BITS)
        for half, shift in zip(halves, (0, _HALF_BITS), strict=True):
            sums = np.add.reduceat(half, firsts).tolist()
            shift += column * LIMB_BITS
            totals = [total + (part << shift) for total, part in zip(totals, sums, strict=True)]
    return totals


class _Layout:
    """Words and shifts of every slot, for NumPy."""

    def __init__(self, places: Places) -> None:
        firsts = places.firsts
        if len(firsts) and not len(places.widths):
            # The one plaintext of a layout without slots ends where its header does.
            firsts = firsts[:0]
        self._n_plaintexts, self._n_words = len(places.firsts), places.n_words
        wide = places.widths.astype(np.int64)
        sizes = np.diff(np.append(firsts, len(wide)))
        before = np.cumsum(wide) - wide  # bits of all slots before this one
        base = before[firsts] if len(firsts) else before
        offsets = before - np.repeat(base, sizes) + places.header
        self._plaintext_of = np.repeat(np.arange(len(firsts), dtype=np.int64), sizes)
        self._offsets = offsets
        self._words = self._plaintext_of * places.n_words + offsets // _WORD_BITS
        self._shifts = (offsets % _WORD_BITS).astype(np.uint64)
        self._raises = places.raises
        self._masks = ~np.uint64(0) >> (_WORD_BITS - wide).astype(np.uint64)
        self._crossing = np.flatnonzero(offsets % _WORD_BITS + wide > _WORD_BITS)
        #: The first slot of every word in which a slot starts.
        self._starts = np.flatnonzero(np.diff(self._words, prepend=-1))
        #: Bits in use of each plaintext.
        self.used = (
            (offsets + wide)[firsts + sizes - 1]
            if len(firsts)
            else np.full(self._n_plaintexts, places.header, dtype=np.int64)
        )

    def add_up(self, digits: Int64Array) -> bytes:
        """Return the plaintexts whose slots hold any digits; carries go where they must."""
        n_halves = 2 * self._n_words
        sums = np.zeros((self._n_plaintexts, n_halves), dtype=np.int64)
        places = self._plaintext_of * n_halves + self._offsets // _HALF_BITS
        shifts = self._offsets % _HALF_BITS
        low, high = (digits & _HALF_MASK) << shifts, (digits >> _HALF_BITS) << shifts
        flat = sums.reshape(-1)
        for half, part in enumerate(
            (low & _HALF_MASK, (low >> _HALF_BITS) + (high & _HALF_MASK), high >> _HALF_BITS)
        ):
            np.add.at(flat, places + half, part)
        data = np.frombuffer(carried(sums), dtype="<u4").reshape(-1, n_halves + 1)
        return data[:, :n_halves].tobytes()

    def to_bits(self, digits: UInt64Array) -> list[int]:
        """Return the numbers whose slots hold ``digits`` in ``[0, 2^w)``."""
        words = np.zeros(self._n_plaintexts * self._n_words, dtype="<u8")
        if len(digits):
            # Bits of different slots do not overlap, so "or" adds them. Words ascend with slots.
            words[self._words[self._starts]] = np.bitwise_or.reduceat(
                digits << self._shifts, self._starts
            )
            # At most one slot runs over the end of a word: indices are distinct. Here shift > 0.
            crossing = self._crossing
            high = digits[crossing] >> (np.uint64(_WORD_BITS) - self._shifts[crossing])
            words[self._words[crossing] + 1] |= high
        data = words.tobytes()
        width = self._n_words * _WORD_BYTES
        return [
            int.from_bytes(data[start : start + width], "little")
            for start in range(0, len(data), width)
        ]

    def from_bits(self, words: UInt64Array) -> Int64Array:
        """Return the digits of slots whose bits are digit plus raise."""
        bits = words[self._words] >> self._shifts
        crossing = self._crossing
        bits[crossing] |= words[self._words[crossing] + 1] << (
            np.uint64(_WORD_BITS) - self._shifts[crossing]
        )
        digits: Int64Array = ((bits & self._masks) - self._raises).view(np.int64)
        return digits


def carried(sums: Int64Array) -> bytes:
    """Return numbers whose "words" base 2^32 are any int64 far from its ends, as bytes.

    Parameters
    ----------
    sums : ndarray of shape (n, n_words), dtype=int64
        Number i is ``sum of sums[i, k] * 2^(32 k)``; magnitudes below 2^62.

    Returns
    -------
    bytes of length ``4 * n * (n_words + 1)``
        Little-endian, two's complement.
    """
    n_numbers, n_words = sums.shape
    if _NATIVE is not None:
        packed: bytes = _NATIVE.carry(np.ascontiguousarray(sums), n_words)
        return packed
    out = np.empty((n_numbers, n_words + 1), dtype="<u4")
    rest = np.zeros(n_numbers, dtype=np.int64)
    for word in range(n_words):
        rest = rest + sums[:, word]
        out[:, word] = rest & _HALF_MASK
        rest >>= _HALF_BITS
    out[:, n_words] = rest & _HALF_MASK
    return out.tobytes()


def add_stream(sums: Int64Array, stream: bytearray | memoryview, sign: int) -> None:
    """Add or subtract a stream word by word.

    Parameters
    ----------
    sums : ndarray of shape (n,), dtype=int64
        Changed in place.
    stream : buffer of ``4 n`` bytes
        Words of 32 bits, little-endian.
    sign : int
        1 or -1.
    """
    if _NATIVE is not None:
        _NATIVE.add_stream(sums, stream, sign)
        return
    words = np.frombuffer(stream, dtype="<u4")
    if sign > 0:
        sums += words
    else:
        sums -= words


def _bit_length(values: UInt64Array) -> Int64Array:
    """Bits of integers, exactly; float64 logarithms err near powers of two."""
    exponent = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    if len(values) and int(values.max()) >= _EXACT_IN_FLOAT:
        # Rounding to float64 can only carry up to the next power of two: one bit too many, then.
        shifts = np.maximum(exponent - 1, 0).astype(np.uint64)
        exponent -= (exponent > 0) & ((values >> shifts) == 0)
    return exponent
