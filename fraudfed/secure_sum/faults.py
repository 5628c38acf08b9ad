"""The kinds of fault that keep a secure sum from opening, and the one way to report them.

What a bank reports reaches the aggregator, which may have caused the fault to learn from the
answer. So the kind follows from the count field of the plaintexts and from public facts alone,
never from a digit: see "What a failed sum tells" in ``docs/cryptography.md``.
"""

from enum import StrEnum

from fraudfed.errors import SumError


class SumFault(StrEnum):
    """What broke; the words stand in the error's text."""

    MASKS = "the masks do not cancel"
    """A contribution is missing, there twice, of another round, or made under another context,
    roster, transcript or agreement key; or ciphertexts of one contribution changed places."""
    MISSING = "this bank's contribution is missing"
    """Masks do not cancel, but do without this bank's part: it alone was left out."""
    REPEATED = "this bank's contribution is in it twice"
    """Masks do not cancel, but do with this bank's part once more."""
    COUNT = "the count of contributions is wrong"
    """The masks cancel, and the sum counts another number of banks than the roster has."""
    TAG = "the authentication tag is wrong"
    """The sum was altered, or the banks break a bound together."""
    BOX = "the sealed opening does not authenticate"
    """Altered, of another round or shard, or sealed under another key package."""
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
