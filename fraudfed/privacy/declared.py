"""Everything that is told to others in a run with privacy terms, and why the bound holds with it.

Each sum has a label ``"<kind>"`` or ``"<kind>:<detail>"``. Each kind that any program of ours uses
is declared here; a label that is not is refused in a run with privacy terms, and fails a test in
any run. What is told beside sums stands in a second table, for people.

The law of the bound needs only this: whatever leaves a bank is computed from noised sums and public
facts, or does not depend on its rows.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from fraudfed.errors import ConfigurationError


class Under(StrEnum):
    """What becomes of something told, under privacy terms."""

    NOISED = "noised"
    """It carries noise of every bank, and is charged to the privacy ledger."""
    FREE = "free"
    """It does not depend on rows, or only on what was noised before."""
    REFUSED = "refused"
    """It is not told at all."""
    OUTSIDE = "outside"
    """It is told, and the bound does not cover it."""


@dataclass(frozen=True)
class Declared:
    """What is told, and why.

    Attributes
    ----------
    under : Under
    because : str
        In plain words, for docs and people.
    """

    under: Under
    because: str


def _noised(because: str) -> Declared:
    return Declared(Under.NOISED, because)


def _free(because: str) -> Declared:
    return Declared(Under.FREE, because)


def _refused(because: str) -> Declared:
    return Declared(Under.REFUSED, because)


def _outside(because: str) -> Declared:
    return Declared(Under.OUTSIDE, because)


_ANOTHER_KIND: Final = "a run of this kind has no privacy terms"
#: By kind of label: the part before a colon, and before a blank followed by a number.
SUMS: Final = MappingProxyType(
    {
        "noised-counts": _noised("rows of each class, for the base score"),
        "noised-cuts": _noised("rows of each range of a feature, to find the edges of bins"),
        "noised-bins": _noised("gradients and hessians of each bin"),
        "noised-nodes": _noised("gradients and hessians of each node"),
        "noised-leaves": _noised("gradients and hessians of each leaf"),
        "noised-scores": _noised("rows of each class by range of their score, at the end"),
        "noised-risk": _noised("payments and reports of each day, in tables of shared risk"),
        "rows": _refused("the number of rows is declared, and of each class it is noised"),
        "base-score": _refused("the share of frauds is a parameter or noised"),
        "cuts": _refused("edges of bins are in the contract or noised"),
        "histogram": _refused("bins carry noise"),
        "presence": _refused("how many banks have rows in a leaf is an exact count of them"),
        "metric": _refused("each look at metrics would cost a part of the bound"),
        "validation rows": _refused("there is no early stopping under privacy terms"),
        "judge": _refused("metrics are released once, with noise"),
        "select rows": _refused(_ANOTHER_KIND),
        "select": _refused(_ANOTHER_KIND),
        "statistics": _refused(_ANOTHER_KIND),
        "risk_totals": _refused(_ANOTHER_KIND),
        "risk_sketches": _refused(_ANOTHER_KIND),
        "monitor": _refused(_ANOTHER_KIND),
        "bench": _refused("a measurement of made-up numbers, in no run of a bank"),
    }
)

#: What is told beside sums, by what it is.
TOLD: Final = MappingProxyType(
    {
        "the model": _free("it is computed from noised sums and public facts"),
        "node statistics in the model": _free("they are noised sums, or follow from them"),
        "base score": _free("it is a parameter, or follows from noised counts"),
        "edges of bins": _free("they stand in the contract, or follow from noised counts"),
        "metrics of the model": _free("they follow from one noised release at the end"),
        "number of rows": _free(
            "declared_rows bounds the sums of all banks: a bank that comes in late says 0 more rows"
        ),
        "sizes of messages": _free("slots follow from declared rows, weights and the noise's tail"),
        "ephemeral keys": _free("they come from fresh random bytes; digests of data stay here"),
        "commitments and signatures": _free("they are of noised sums and fresh random bytes"),
        "state handed to a bank that comes in": _free("it follows from noised sums"),
        "declining a set of banks": _free("it follows from sets and from what was charged before"),
        "refusing a run": _free(
            "it follows from the bank's rules and what its ledger was charged, day by day, whether "
            "or not there were rows on a day"
        ),
        "reasons of an abort": _free("a fixed word for a failed sum, which is the same everywhere"),
        "exact sums of any kind": _refused("a label that is not declared is not summed"),
        "subsamples of rows": _refused("a public draw hides nobody, and is not taken"),
        "early stopping": _refused("it would look at validation rows after each tree"),
        "adopt or keep": _outside("it is decided on a bank's own rows, and stays with the bank"),
        "joining a run at all": _outside(
            "a file that breaks its contract is refused at the bank before it joins: that one is "
            "missing can be seen"
        ),
        "time that work takes": _outside(
            "it grows with a bank's rows; what the noise is does not show in it"
        ),
        "exact runs over the same rows": _outside(
            "another training, statistics, risk tables or monitoring without privacy terms"
        ),
    }
)


def kind_of(label: str) -> str:
    """Return the kind of a label: what stands before its first colon."""
    return label.partition(":")[0]


def declared(label: str) -> Declared | None:
    """Return what is declared of a label; None if nothing is."""
    return SUMS.get(kind_of(label))


def require_exact(label: str) -> None:
    """Refuse an exact sum in a run with privacy terms, unless it is declared free.

    Raises
    ------
    ConfigurationError
    """
    found = declared(label)
    if found is None:
        raise ConfigurationError(
            f"sum {label!r}: is not declared, and the run has privacy terms; nothing was sent"
        )
    if found.under is not Under.FREE:
        raise ConfigurationError(
            f"sum {label!r}: would be exact, and under the run's privacy terms it is "
            f"{found.under.value}: {found.because}; nothing was sent"
        )


def require_noised(label: str) -> None:
    """Refuse a sum with noise whose label is not declared as one.

    Raises
    ------
    ConfigurationError
    """
    found = declared(label)
    if found is None or found.under is not Under.NOISED:
        raise ConfigurationError(
            f"sum {label!r}: carries noise, and is not declared as a sum that does; nothing was "
            "sent"
        )
