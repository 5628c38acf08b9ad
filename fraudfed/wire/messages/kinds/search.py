"""The contents of a search run: candidates, and how long each of them is grown."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from fraudfed.wire.messages.base import Message


class SelectBy(StrEnum):
    """Over which rows candidates are compared."""

    MEAN_OF_BANKS = "mean_of_banks"
    """The mean of each bank's own metric, weighted by its cases, at most 200 of them."""
    POOLED = "pooled"
    """The metric over the rows of all banks as one table."""


class SearchCandidate(Message):
    """One set of parameters."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Under XGBoost's names; they replace those that all candidates of the run share."""
    min_child_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """``min_child_weight`` is this share of the frauds trained on, at least 1, so that a candidate
    means the same at one bank and at five. None: ``min_child_weight`` is any other parameter."""


class SearchRung(Message):
    """One round of successive halving."""

    trees: Annotated[int, Field(ge=1, le=100_000)]
    """To how many trees each candidate that is alive is grown."""
    alive: Annotated[int, Field(ge=1, le=64)]
    """How many candidates are."""


class SearchSpec(Message):
    """Successive halving over candidates that grow in lockstep; see docs/search.md."""

    candidates: Annotated[tuple[SearchCandidate, ...], Field(min_length=2, max_length=64)]
    rungs: Annotated[tuple[SearchRung, ...], Field(min_length=1, max_length=16)]
    """Trees ascending, alive descending; all candidates are alive in the first."""
    select_by: SelectBy = SelectBy.MEAN_OF_BANKS
    patience: Annotated[int, Field(ge=1, le=100_000)] | None = 20
    """Trees without a better metric after which the last candidate stops; None: it never does."""
    keep_each_share: bool = True
    """The best candidate of each ``min_child_share`` survives the first rung."""

    @model_validator(mode="after")
    def _rungs_narrow(self) -> Self:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError("names of candidates must be distinct")
        trees = [rung.trees for rung in self.rungs]
        alive = [rung.alive for rung in self.rungs]
        if trees != sorted(set(trees)):
            raise ValueError(f"trees of the rungs are {trees}, expected them ascending")
        if alive != sorted(set(alive), reverse=True):
            raise ValueError(f"alive candidates of the rungs are {alive}, expected them descending")
        if alive[0] != len(self.candidates):
            raise ValueError(
                f"the first rung has {alive[0]} candidates alive, expected all of "
                f"{len(self.candidates)}"
            )
        return self
