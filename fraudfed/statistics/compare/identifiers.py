"""Identifiers that other banks write otherwise.

Two signs: what identifiers look like, and whether other banks know them. A difference of looks
alone may be another mix of entities; one of both is a mistake, as a consortium shares merchants and
terminals however different its banks are.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.statistics.compare.finding import Difference, Kind
from fraudfed.statistics.shapes import SHAPES

#: Shares of identifiers in one cell that count as nearly all and nearly none.
_NEARLY_ALL, _NEARLY_NONE = 0.9, 0.1
_FEWEST: Final = 30
#: Of the others' share that is known to others: below this a bank's is another one.
_MUCH_LESS: Final = 0.1
#: Nothing can be said where hardly anything is shared.
_LEAST_SHARED: Final = 0.1
_LEAST_SIGMAS: Final = 5.0
#: Identifiers with a leading zero that must be expected before their absence says something.
_FEWEST_EXPECTED: Final = 20

_ADVICE: Final = (
    "write the identifiers as the other banks do (case, blanks, zeros, length: the mapping says "
    "how), or none of this bank's takes part in shared risk"
)


@dataclass(frozen=True)
class KnownShare:
    """Which share of identifiers banks have in common with others.

    A small bank knows few identifiers of a large one, and a large one many that no small one has
    enough customers at. Where identifiers are written alike, one of the two shares is high.

    Attributes
    ----------
    theirs, here : float
        Of this bank's, what others know; and of the others', what this bank has. NaN where nothing
        can be said.
    others : float
        Of each other bank's, what another bank knows.
    n_own, n_others : int
        Of which the shares are.
    """

    theirs: float
    here: float
    others: float
    n_own: int
    n_others: int

    @property
    def own(self) -> float:
        """The larger share of this bank; NaN where nothing can be said."""
        return max(self.theirs, self.here)

    @property
    def is_comparable(self) -> bool:
        """Whether there is enough to compare."""
        shares = (self.theirs, self.here, self.others)
        enough = min(self.n_own, self.n_others) >= _FEWEST
        return enough and not any(map(math.isnan, shares)) and self.others >= _LEAST_SHARED

    @property
    def is_much_less(self) -> bool:
        """Whether others know significantly fewer of this bank's: two binomial samples."""
        if not self.is_comparable or self.own > _MUCH_LESS * self.others:
            return False
        mean = (self.own * self.n_own + self.others * self.n_others) / (self.n_own + self.n_others)
        error = math.sqrt(mean * (1 - mean) * (1 / self.n_own + 1 / self.n_others))
        return (self.others - self.own) > _LEAST_SIGMAS * error


def compare_identifiers(
    column: str,
    own: dict[str, Int64Array],
    others: dict[str, Int64Array],
    known: KnownShare,
) -> Iterator[Difference]:
    """Yield how identifiers of one kind differ.

    Parameters
    ----------
    column : str
        ``merchant_id`` or the like.
    own, others : dict of facet to ndarray of shape (n_cells,), dtype=int64
        Distinct identifiers by ``SHAPES``; of the others each counts at each bank.
    known : KnownShare
    """
    n_own = int(own["case"].sum())
    if min(n_own, int(others["case"].sum())) < _FEWEST:
        return
    mine, theirs = ({f: _shares(found[f]) for f in SHAPES} for found in (own, others))
    looks = [text for text in _looks(mine, theirs, n_own) if text]
    if not looks and not known.is_much_less:
        return
    # Where others recognise the identifiers all the same, they only look different.
    is_mistake = known.is_much_less or (bool(looks) and not known.is_comparable)
    evidence = f"{n_own:,} distinct identifiers"
    if known.is_comparable:
        evidence += (
            f"; other banks know {known.theirs:.0%} of those here with enough customers, this bank "
            f"{known.here:.0%} of theirs, and they {known.others:.0%} of each other's"
        )
    if looks:
        what = f"identifiers are written otherwise than at the other banks: {'; '.join(looks)}"
        yield Difference(Kind.WRITING, column, is_mistake, what, evidence, _ADVICE)
    else:
        yield Difference(
            Kind.UNKNOWN,
            column,
            is_mistake,
            "hardly any identifier is one that another bank has, though they look alike",
            evidence,
            "check that the column holds the identifiers that the consortium agreed on, not keys "
            "of this bank's own systems",
        )


def _shares(counts: Int64Array) -> Float64Array:
    shares: Float64Array = counts / max(int(counts.sum()), 1)
    return shares


def _looks(
    mine: dict[str, Float64Array], theirs: dict[str, Float64Array], n_own: int
) -> Iterator[str]:
    for facet in ("case", "digits", "blanks", "alphabet"):
        yield _changed(facet, mine[facet], theirs[facet])
    expected = n_own * float(theirs["zeros"][1])
    if expected >= _FEWEST_EXPECTED and mine["zeros"][1] == 0.0:
        yield f"none has a leading zero, {theirs['zeros'][1]:.0%} have one there"
    # Total variation: the share that would have to change.
    apart = float(np.abs(mine["length"] - theirs["length"]).sum()) / 2
    if apart >= _NEARLY_ALL:
        here, there = (int(shares["length"].argmax()) for shares in (mine, theirs))
        yield f"most have {here} characters, {there} there"


def _changed(facet: str, mine: Float64Array, theirs: Float64Array) -> str:
    """Name the cell that nearly all have here and hardly any there."""
    cells = SHAPES[facet]
    cell = int(mine.argmax())
    if mine[cell] < _NEARLY_ALL or theirs[cell] > _NEARLY_NONE:
        return ""
    there = int(theirs.argmax())
    names = {"digits": "digits: ", "blanks": "blanks: "}
    lead = names.get(facet, "")
    return (
        f"{lead}{cells[cell]} ({mine[cell]:.0%} here, {theirs[cell]:.0%} there, where "
        f"{theirs[there]:.0%} have {cells[there]})"
    )
