"""A wide vector in pieces, each a secure sum of its own whose ciphertexts stay below a bound.

Thousands of features make a histogram of millions of values. In one sum, a bank would seal and send
hundreds of megabytes at once, and the aggregator would hold them for every bank that sends. In
pieces, what either side holds is that of a piece, however wide the data are, and no body exceeds
what a proxy lets through.

Law: the sums of the pieces, joined, are the sum of the whole. Where a piece ends follows from
public facts alone (ranges and key size), so every bank cuts at the same places; a bank that did
not would make a round of another context, which the aggregator refuses.
"""

from typing import Final

from fraudfed.paillier.keys import PublicKey
from fraudfed.secure_sum.header import HEADER_BITS
from fraudfed.secure_sum.packing import SlotLayout

#: Ciphertexts of one contribution at most. Part of the protocol: all banks of a run must cut alike.
#: A second of encryption on one core, beside which a round's own cost is small; and a hundredth of
#: what an aggregator may hold.
PIECE_BYTES: Final = 8 << 20
#: The widest slot there is: an int64.
_WIDEST_SLOT_BITS: Final = 64


def most_plaintexts(key: PublicKey, *, piece_bytes: int = PIECE_BYTES) -> int:
    """Return how many plaintexts one piece has at most under a key."""
    return max(1, piece_bytes // key.ciphertext_bytes)


def is_surely_one(n_values: int, key: PublicKey, *, most: int) -> bool:
    """Whether so many values fit into one piece whatever their ranges are; costs nothing."""
    slots_of_a_plaintext = max(1, (key.plaintext_bits - 1 - HEADER_BITS) // _WIDEST_SLOT_BITS)
    return n_values <= most * slots_of_a_plaintext


def cut(layout: SlotLayout, *, most: int) -> tuple[slice, ...]:
    """Cut the elements of a layout, in C order, into pieces of ``most`` plaintexts at most.

    Slots are filled in order, so that the layout of a piece is the whole's, from its first
    plaintext to its last.

    Parameters
    ----------
    layout : SlotLayout
        Of the whole vector.
    most : int
        At least 1.

    Returns
    -------
    tuple of slice
        One behind the other; together all elements.
    """
    starts = [0, *(int(first) for first in layout.firsts[most::most])]
    stops = [*starts[1:], layout.n_values]
    return tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))
