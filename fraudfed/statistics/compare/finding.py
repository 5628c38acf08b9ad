"""What a comparison says."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a difference is taken for."""

    SCALE = "scale"
    """Numbers are those of the others times a power of ten."""
    HOURS = "hours"
    """Times are those of the others some hours earlier or later."""
    DAYS = "days"
    """Times are those of the others some days earlier or later."""
    NO_TIME = "no-time-of-day"
    """Nearly all times lie in one hour."""
    WRITING = "writing"
    """Identifiers are written otherwise than by the others."""
    UNKNOWN = "unknown-to-others"
    """Identifiers are not those of the others, and look like them."""
    LABELS = "labels"
    """Labels are exchanged."""
    EMPTY = "empty-column"
    """A column that the others fill has no value."""
    UNUSED = "unused-category"
    """A category that the others use is not used."""
    MISSING = "missing-share"
    """The share of missing values is another one."""


@dataclass(frozen=True)
class Difference:
    """One way in which a bank differs from the others.

    Attributes
    ----------
    kind : Kind
    column : str
    is_mistake : bool
        Whether it looks like a mistake of a mapping rather than another kind of bank.
    what : str
        What is different, with the numbers.
    evidence : str
        How sure that is.
    what_to_do : str
    """

    kind: Kind
    column: str
    is_mistake: bool
    what: str
    evidence: str
    what_to_do: str
