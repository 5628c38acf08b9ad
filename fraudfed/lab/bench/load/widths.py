"""How many ciphertexts each round of a histogram has, however many features it is over."""

from collections.abc import Sequence

from fraudfed.paillier.keys import PublicKey
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.pieces import cut, most_plaintexts

#: Of all banks together: what the bounds of a gradient's sum follow from.
_ROWS = 1_000_000
#: Fractional bits of a gradient (``docs/cryptography.md``).
_FRACTION_BITS = 32


def histogram_rounds(key: PublicKey, *, features: int, bins: int) -> tuple[int, ...]:
    """Return the ciphertexts of each round of the histogram of a tree's root, in order.

    Gradients and hessians of every bin, with the bounds of a million rows, cut as banks cut them.
    """
    layout = SlotLayout.for_bounds(
        _ROWS << _FRACTION_BITS, (features, bins, 2), plaintext_bits=key.plaintext_bits
    )
    parts = cut(layout, most=most_plaintexts(key))
    return _lengths(layout, parts)


def _lengths(layout: SlotLayout, parts: Sequence[slice]) -> tuple[int, ...]:
    firsts = layout.firsts
    return tuple(int(((firsts >= one.start) & (firsts < one.stop)).sum()) for one in parts)
