"""The contents of a monitor run, beside the data contract of the model that it watches."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fraudfed.wire.messages.base import Message, Sha256

_WEEK = 7 * 86_400


class MonitorSpec(Message):
    """Which weeks of which model's payments a monitor run counts; see docs/monitoring.md."""

    model_run: Annotated[str, Field(min_length=1, max_length=200)]
    """The finished run whose model every bank scores its payments with."""
    model_sha256: Sha256
    """Of that model as the registry has it (``RunStatus.model_sha256``)."""
    until: Annotated[int, Field(ge=0, lt=2**40)]
    """The second after the week under watch, UTC epoch seconds."""
    reference_until: Annotated[int, Field(ge=0, lt=2**40)] | None = None
    """The reference ends a whole number of weeks before ``until``, within the week before this.
    None: where the week under watch begins."""
    reference_weeks: Annotated[int, Field(ge=6, le=60)] = 12
    """Weeks that the one under watch is compared with."""
    alert_score: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Payments of this score or more count as alerts, at every bank alike."""
    min_count: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """A bank enters a smaller count as 0, and any other rounded to a multiple of this."""

    @model_validator(mode="after")
    def _reference_is_before(self) -> Self:
        if self.reference_until is not None and self.reference_until > self.until - _WEEK:
            raise ValueError("reference_until must be at least a week before until")
        behind = 1 if self.reference_until is None else self.until - self.reference_until
        if behind > 52 * _WEEK:
            raise ValueError("reference_until must be at most 52 weeks before until")
        return self
