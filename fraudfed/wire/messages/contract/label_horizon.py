"""After how many days a payment that nobody reported counts as clean, by channel."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from fraudfed.wire.messages.base import Message

SECONDS_PER_DAY = 86_400

Channel: TypeAlias = Literal["pos", "ecommerce", "transfer", "atm"]
#: As ``RiskSpec.delay_days``: nearly three years, more than twice the longest time to dispute.
Days: TypeAlias = Annotated[int, Field(ge=0, le=1000)]


class LabelHorizon(Message):
    """How old a payment is when its label is mature.

    A payment is trained on, or judged by, once this many days lie between it and the cut-off: then
    nearly every fraud has been reported, and what was not reported counts as clean.
    """

    days: Days = 30
    """Of channels that ``by_channel`` does not name, and of payments without a channel."""
    by_channel: Annotated[
        dict[Channel, Days],
        # Two descriptions that mean the same are the same bytes.
        AfterValidator(lambda days: dict(sorted(days.items()))),
    ] = Field(default_factory=dict)
    """Of channels whose frauds are reported sooner or later than others."""

    @property
    def least_days(self) -> int:
        """The shortest horizon of all."""
        return min((self.days, *self.by_channel.values()))

    def seconds_of(self, channel: str | None) -> int:
        """Return the horizon of payments of a channel, or of those without one, in seconds."""
        days = {str(name): days for name, days in self.by_channel.items()}
        return days.get(channel or "", self.days) * SECONDS_PER_DAY

    @property
    def text(self) -> str:
        """The horizon in words, as in ``30 days (transfer 395)``."""
        by_channel = ", ".join(f"{name} {days}" for name, days in self.by_channel.items())
        return f"{self.days} days" + (f" ({by_channel})" if by_channel else "")
