"""Which payments of its file a bank trains on and scores."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fraudfed.wire.messages.base import Message

#: Channels at which a card is present, and at which only its details are.
CARD_CHANNELS = {"present": ("pos", "atm"), "not_present": ("ecommerce",)}


class Population(Message):
    """Payments for which everything that is given holds; what is not given holds for all.

    The other payments of the file are history: windows, counts and means see them.
    """

    channels: (
        Annotated[
            tuple[Literal["pos", "ecommerce", "transfer", "atm"], ...],
            Field(min_length=1, max_length=4),
        ]
        | None
    ) = None
    """How it was paid."""
    card: Literal["present", "not_present"] | None = None
    """``present``: at a terminal or a cash machine. ``not_present``: remote purchases. Both leave
    transfers out."""
    direction: Literal["outbound", "inbound"] | None = None
    """``outbound``: the customer pays. ``inbound``: the customer is paid."""

    @model_validator(mode="after")
    def _somebody_can_belong_to_it(self) -> Self:
        if self.channels is None and self.card is None and self.direction is None:
            raise ValueError(
                "the population says nothing; give channels, card or direction, or leave it out"
            )
        if self.channels is not None and len(set(self.channels)) != len(self.channels):
            raise ValueError("channels must be distinct")
        if self.allowed_channels == ():
            raise ValueError(
                f"no payment of channel {' or '.join(self.channels or ())} has a card "
                f"{(self.card or '').replace('_', ' ')}; give channels that have"
            )
        if self.card is not None and self.direction == "inbound":
            raise ValueError("no inbound payment is made by card; give card or direction inbound")
        return self

    @property
    def allowed_channels(self) -> tuple[str, ...] | None:
        """Channels of its payments; None for all, also those of a file that says none."""
        by_card = None if self.card is None else CARD_CHANNELS[self.card]
        if self.channels is None or by_card is None:
            return self.channels if by_card is None else by_card
        return tuple(channel for channel in self.channels if channel in by_card)
