"""Where a packed store keeps its parts: what it needs of a database, and what it hands over."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

#: Version of everything that a store keeps; another one is refused.
STORE_VERSION = "2"


@dataclass
class Batch:
    """What takes effect at once, or not at all.

    Attributes
    ----------
    parts : list of (bytes, int, bytes)
        Key of a history, number of the part, its bytes.
    dropped : list of (bytes, int)
        Parts that are no more.
    journal : list of (int, bytes)
        Changes by their positions.
    journal_from : int
        Changes before this position are in the histories, and need not be kept.
    payments : list of (int, bytes, bytes)
        UTC day, key and content of payments that were observed.
    days_from : int
        First UTC day whose payments are still asked for.
    facts : dict of str to str
        What is known of the store as a whole.
    """

    parts: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    dropped: list[tuple[bytes, int]] = field(default_factory=list)
    journal: list[tuple[int, bytes]] = field(default_factory=list)
    journal_from: int = 0
    payments: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    days_from: int = 0
    facts: dict[str, str] = field(default_factory=dict)


class Shelf(Protocol):
    """A database of parts. Every method raises UnavailableError if it does not answer."""

    @property
    def parts_at_once(self) -> int:
        """Parts of one batch, at most, where many are to be written."""
        ...

    def facts(self) -> dict[str, str]:
        """Return what is known of the store as a whole; empty for a new one."""
        ...

    def claim(self, facts: Mapping[str, str]) -> None:
        """Become the only writer of a store of these facts, and keep them."""
        ...

    def read(self, key: bytes) -> Mapping[int, bytes]:
        """Return the parts of a history, none if there is none."""
        ...

    def find(self, payment: bytes, days: Sequence[int]) -> bytes | None:
        """Return the content of a payment that was observed on one of these UTC days."""
        ...

    def journal(self) -> Iterator[tuple[int, bytes]]:
        """Return the changes that are kept, in order."""
        ...

    def after(self, cursor: bytes, count: int) -> tuple[bytes, list[bytes]]:
        """Return about ``count`` keys of histories after a cursor, and the next cursor.

        An empty cursor is the beginning, and comes back at the end.
        """
        ...

    def write(self, batch: Batch) -> None:
        """Keep all of a batch, or nothing of it."""
        ...

    def clear(self) -> None:
        """Drop everything but what is known of the store as a whole."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
