"""What is written down of one noised release: everything that its rho follows from."""

from datetime import date
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from fraudfed.privacy.accounting import on_grid
from fraudfed.privacy.terms import PrivacyUnit


def _fraction(value: object) -> object:
    if isinstance(value, str):
        numerator, _, denominator = value.partition("/")
        return Fraction(int(numerator), int(denominator or "1"))
    return value


#: A number without rounding: "3/8" as text.
Exact = Annotated[
    Fraction,
    BeforeValidator(_fraction),
    PlainSerializer(str, return_type=str),
    Field(ge=0),
]


class DayBlocks(BaseModel):
    """The days, in UTC, whose rows a release is about: a period without gaps, known to everybody.

    A period is charged whole, whether or not there are rows on each of its days: which days have
    rows is for the bank alone.

    Attributes
    ----------
    first, last : date
        Both are part of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: date
    last: date

    @model_validator(mode="after")
    def _ordered(self) -> "DayBlocks":
        if self.last < self.first:
            raise ValueError("last is before first")
        return self

    def names(self) -> tuple[str, ...]:
        """Return the name of each block."""
        days = range(self.first.toordinal(), self.last.toordinal() + 1)
        return tuple(date.fromordinal(day).isoformat() for day in days)


class PrivacyEvent(BaseModel):
    """One noised release, as the ledger keeps it.

    Attributes
    ----------
    version : int
    label : str
        Of the sum.
    unit : PrivacyUnit
    adjacency : str
        Neighbouring data sets differ by one unit that is there or not; never by one replaced.
    banks : tuple of str
        The set, sorted.
    generation : int
    tolerated_colluders : int
        t: the parts of all but so many banks make up the variance.
    n_values : int
        Values that carry noise.
    moved : Fraction
        Largest sum of (change / sigma)^2 by one unit: (L2 / sigma)^2.
    least_variance, largest_variance : int
        sigma^2 over the values, units^2, after t parts are subtracted.
    rho : Fraction
        With the distance term, on the grid of ``accounting``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    label: Annotated[str, Field(min_length=1, max_length=200)]
    unit: PrivacyUnit
    adjacency: Literal["add-or-remove"] = "add-or-remove"
    banks: Annotated[tuple[str, ...], Field(min_length=1)]
    generation: Annotated[int, Field(ge=0)]
    tolerated_colluders: Annotated[int, Field(ge=0)]
    n_values: Annotated[int, Field(ge=1)]
    moved: Exact
    least_variance: Annotated[int, Field(ge=1)]
    largest_variance: Annotated[int, Field(ge=1)]
    rho: Exact

    @model_validator(mode="after")
    def _consistent(self) -> "PrivacyEvent":
        if self.rho != on_grid(self.rho):
            raise ValueError("rho is not on the grid of 2^-80")
        if self.rho < self.moved / 2:
            raise ValueError("rho is below moved / 2")
        if self.least_variance > self.largest_variance:
            raise ValueError("least_variance is above largest_variance")
        if self.tolerated_colluders >= len(self.banks):
            raise ValueError("no bank of the set is honest")
        return self
