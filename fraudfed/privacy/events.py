"""What is written down of one noised release: everything that its rho follows from."""

import re
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from fraudfed.privacy.accounting import on_grid
from fraudfed.privacy.distance import part_of, rho_of_release
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyUnit


def _fraction(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(/[1-9][0-9]*)?", value):
        return Fraction(value)
    return value


#: A number without rounding: "3/8" as text.
Exact = Annotated[
    Fraction,
    BeforeValidator(_fraction),
    PlainSerializer(str, return_type=str),
    Field(ge=0),
]


class DayBlocks(BaseModel):
    """Days, in UTC, whose rows a release is about: a period without gaps.

    A period is charged whole, whether or not there are rows on each of its days.

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

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


class Blocks(BaseModel):
    """What a release is about: the days of its rows, or whole files of rows without times.

    Attributes
    ----------
    days : DayBlocks or None
    tables : tuple of str
        Keys of the ledger of sets, 32 hexadecimal digits, sorted; two files with a key in common
        may hold the same rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: DayBlocks | None = None
    tables: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")], ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> "Blocks":
        if (self.days is None) == (not self.tables):
            raise ValueError("blocks are either days or tables")
        if list(self.tables) != sorted(set(self.tables)):
            raise ValueError("the tables are not sorted, or one is there twice")
        return self

    @classmethod
    def of_days(cls, first: date, last: date) -> "Blocks":
        """Return the days from first to last, both included."""
        return cls(days=DayBlocks(first=first, last=last))

    @classmethod
    def of_table(cls, keys: Iterable[str]) -> "Blocks":
        """Return the block of a file without times, by its keys in the ledger of sets."""
        return cls(tables=tuple(sorted(set(keys))))


class PrivacyEvent(BaseModel):
    """One noised release, as the ledger keeps it.

    Attributes
    ----------
    version : int
    run_id : str
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
        sigma^2 over the values, units^2, of what is left without t parts.
    rho : Fraction
        With the distance term, on the grid of ``accounting``.
    blocks : Blocks
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    run_id: Annotated[str, Field(min_length=1, max_length=100)]
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
    blocks: Blocks

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
        if list(self.banks) != sorted(set(self.banks)):
            raise ValueError("the banks are not sorted, or one is there twice")
        return self

    @classmethod
    def of(
        cls,
        release: NoisedRelease,
        *,
        run_id: str,
        label: str,
        unit: PrivacyUnit,
        banks: Iterable[str],
        generation: int,
        tolerated_colluders: int,
        n_values: int,
        blocks: Blocks,
    ) -> "PrivacyEvent":
        """Return the event of a release in a set of banks.

        Raises
        ------
        ParameterError
            If a bank's own noise is below 2^8 units, or no bank is honest.
        """
        members = tuple(sorted(banks))
        honest = len(members) - tolerated_colluders
        variances = np.asarray(release.variance, dtype=np.int64)
        least, largest = int(variances.min()), int(variances.max())
        rho = rho_of_release(
            release.moved,
            n_values=n_values,
            part_variance=part_of(least, honest=honest),
            honest=honest,
        )
        return cls(
            run_id=run_id,
            label=label,
            unit=unit,
            banks=members,
            generation=generation,
            tolerated_colluders=tolerated_colluders,
            n_values=n_values,
            moved=release.moved,
            least_variance=least,
            largest_variance=largest,
            rho=rho,
            blocks=blocks,
        )
