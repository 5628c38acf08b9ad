"""The kinds of fault that keep a secure sum from opening, and the one way to report them.

What a bank reports reaches the aggregator, which may have caused the fault to learn from the
answer. So all banks check the same opened values in the same order and end with the same kind. It
follows from the count field of the *sum* and from public facts alone, never from one bank's part:
see "What a failed sum tells" in ``docs/cryptography.md``.
"""

from enum import StrEnum

from fraudfed.errors import SumError


class SumFault(StrEnum):
    """What broke; the words stand in the error's text."""

    MASKS = "the masks do not cancel"
    """A contribution is missing, there twice, of another round or older, or made under another
    context, roster, transcript or agreement key; or ciphertexts of one changed places. A bank that
    it happened to is told no more than the others."""
    COUNT = "the count of contributions is wrong"
    """The masks cancel, and the sum counts another number of banks than the roster has."""
    TAG = "the authentication tag is wrong"
    """The sum was altered, or it lies outside its public bounds."""
    BOX = "the sealed opening does not authenticate"
    """Altered, of another round or shard, or sealed under another key package."""
    SIGNATURE = "the opening is not signed by its bank"
    """Forged in its name, or signed for other commitments than this bank was told."""
    SEED = "the revealed seed is not the one committed to"
    """A bank exchanged its self mask after it had sealed."""
    COMMITMENTS = "the commitments are not those of the round"
    """Not one of each bank, or this bank's own is not in its place: nothing is revealed."""
    OPENINGS = "the openings are not one of each bank"
    LAYOUT = "the context is of another layout"
    ROSTER = "the context is of another roster"
    OPENER = "the opening is malformed"
    """Authentic, but not what this version of the program writes."""
    REUSE = "the context was used before"
    """A second contribution under one context is refused: it would carry the same masks."""


def sum_error(fault: SumFault, label: str, detail: str) -> SumError:
    """Return the error for ``fault`` in the sum called ``label``."""
    return SumError(f"sum {label!r}: {fault.value}: {detail}")
