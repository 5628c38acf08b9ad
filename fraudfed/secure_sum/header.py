"""The lowest 120 bits of every plaintext: authentication tag and count of contributions.

::

    bit 0           89               99                  120
    | tag           | carries of tags | count             | slots ...

Law: headers of up to ``MAXIMUM_BANKS`` plaintexts add field by field, and nothing carries into
the slots. Proof: one bank's tag is below ``2^89``, so ``2^10`` of them stay below ``2^99``; its
count is 1, so the sum of counts is at most ``2^10 < 2^20``. Hence the sum of headers is below
``2^99 + 2^10 * 2^99 < 2^120``. Slots lie above and may be negative as a whole: ``plaintext mod
2^120`` is the header all the same, because every slot is a multiple of ``2^120``.

The header lies below the slots so that whatever the values are, a sum shows its count.
"""

from dataclasses import dataclass

from fraudfed.secure_sum.tags import TAG_BITS

_BANK_BITS = 10
#: Banks in one sum, at most: as many tags add up without reaching the count.
MAXIMUM_BANKS = 1 << _BANK_BITS
_TAG_FIELD_BITS = TAG_BITS + _BANK_BITS
#: Much wider than any count, so that noise is not taken for a count: see ``is_plausible``.
_COUNT_FIELD_BITS = 21
#: Bits at the bottom of every plaintext that belong to no slot.
HEADER_BITS = _TAG_FIELD_BITS + _COUNT_FIELD_BITS

_TAG_FIELD_MASK = (1 << _TAG_FIELD_BITS) - 1
_HEADER_MASK = (1 << HEADER_BITS) - 1
#: A sum multiplied by up to this much still shows as a wrong count rather than as noise.
_LARGEST_FACTOR = 16


def join_header(tag: int, *, count: int) -> int:
    """Return the lowest bits of a plaintext with this tag and count."""
    return tag | count << _TAG_FIELD_BITS


@dataclass(frozen=True)
class Header:
    """Tag and count as read from one plaintext.

    Attributes
    ----------
    tag : int
        One bank's tag, or the sum of several, not reduced.
    count : int
        Contributions in the sum; read back as a signed number.
    """

    tag: int
    count: int

    @classmethod
    def of(cls, plaintext: int) -> "Header":
        """Read the header of a signed plaintext, whatever its slots hold."""
        header = plaintext & _HEADER_MASK
        count = header >> _TAG_FIELD_BITS
        if count >> (_COUNT_FIELD_BITS - 1):
            count -= 1 << _COUNT_FIELD_BITS
        return cls(tag=header & _TAG_FIELD_MASK, count=count)

    def is_plausible(self, n_banks: int) -> bool:
        """Tell whether the count can come from a sum whose masks cancel.

        A uniform plaintext passes with probability ``(2 * 16 * n_banks + 1) / 2^21``: 2^-14 for 3
        banks, and only if all others do. It only decides which error is raised.
        """
        return abs(self.count) <= _LARGEST_FACTOR * n_banks
