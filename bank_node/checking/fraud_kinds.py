"""Which kinds of fraud a file has, by the one list; what is unknown there counts as other."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fraudfed.payments.fraud_kinds import FRAUD_KINDS, OTHER, fraud_kind_of

#: Unknown names that are told one by one.
_MOST_NAMES = 10


@dataclass(frozen=True)
class FraudKindCounts:
    """Known frauds by kind. Never leaves the bank.

    Attributes
    ----------
    counts : tuple of (str, int)
        Kinds that occur, in the order of the list; unknown ones are counted as ``other``.
    without : int
        Frauds whose kind the file does not say.
    unknown : tuple of (str, int)
        The commonest names that are not in the list, and how often each occurs.
    n_unknown : int
        Frauds of a name that is not in the list.
    """

    counts: tuple[tuple[str, int], ...]
    without: int
    unknown: tuple[tuple[str, int], ...]
    n_unknown: int

    @property
    def warning(self) -> str | None:
        """What is worth a word: names that are not in the list."""
        if not self.n_unknown:
            return None
        names = ", ".join(f"{name!r} ({count})" for name, count in self.unknown)
        return (
            f"{self.n_unknown} frauds have a fraud_kind that is not in the list and counts as "
            f"other: {names}; map it to one of the list (docs/contracts.md)"
        )


def count_fraud_kinds(kinds: Iterable[str | None]) -> FraudKindCounts:
    """Count the kinds of a bank's known frauds.

    Parameters
    ----------
    kinds : iterable of str or None
        ``fraud_kind`` of each fraud, as the file or its mapping says it.
    """
    said = Counter(kinds)
    without = said.pop(None, 0) + said.pop("", 0)
    found: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for text, count in said.items():
        kind = fraud_kind_of(str(text))
        found[kind or OTHER] += count
        if kind is None:
            unknown[str(text)] += count
    ordered = tuple((kind.name, found[kind.name]) for kind in FRAUD_KINDS if found[kind.name])
    # Ties by name, so that a report does not depend on the order of the rows.
    commonest = sorted(unknown.items(), key=lambda each: (-each[1], each[0]))[:_MOST_NAMES]
    return FraudKindCounts(ordered, without, tuple(commonest), sum(unknown.values()))
