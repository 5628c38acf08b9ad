"""The contents of a statistics run, beside the data contract that names its columns."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fraudfed.wire.messages.base import Message
from fraudfed.wire.messages.kinds.risk import RiskEntity, SketchWidth


class StatisticsSpec(Message):
    """How finely a statistics run counts; see docs/statistics.md."""

    entities: tuple[RiskEntity, ...] = tuple(RiskEntity)
    """``transactions`` only: whose identifiers are compared across banks; distinct."""
    width: SketchWidth = 65536
    """Cells that identifiers of one kind are hashed to."""
    min_count: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """A bank enters a smaller count as 0, and any other rounded to a multiple of this."""
    min_customers: Annotated[int, Field(ge=1, le=1_000_000)] = 3
    """A bank enters an identifier only if this many of its customers paid there."""

    @model_validator(mode="after")
    def _entities_are_distinct(self) -> Self:
        if len(set(self.entities)) != len(self.entities):
            raise ValueError("entities must be distinct")
        return self
