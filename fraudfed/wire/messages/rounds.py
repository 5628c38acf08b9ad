"""Rounds of a run: headers of their frames, receipts and summaries."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from fraudfed.wire.messages.base import BankName, Message, Sha256

#: Banks in one sum, at most: ``fraudfed.secure_sum.header.MAXIMUM_BANKS``.
MOST_COMMITMENTS = 1024


class FrameKind(StrEnum):
    """The content of a frame behind its header."""

    CONTRIBUTION = "contribution"
    PRODUCT = "product"
    OPENING = "opening"


class FrameHeader(Message):
    """Header of one binary frame (see ``fraudfed.wire.frames``)."""

    kind: FrameKind
    run_id: str
    round_number: Annotated[int, Field(ge=0)]
    label: Annotated[str, Field(min_length=1, max_length=200)]
    context: Sha256
    """Digest of the round's context; equal at every bank or the round fails."""
    step: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Contributions only: steps that the sender has finished before this round."""
    bank: BankName | None = None
    """Sender; None in a product, which is the aggregator's."""
    shard: Annotated[int, Field(ge=0)] | None = None
    """Openings only: which shard of the ciphertexts was opened, the bank's index in the cohort."""
    count: Annotated[int, Field(ge=0)]
    """Number of items in the payload: ciphertexts, or opened plaintexts."""
    item_bytes: Annotated[int, Field(ge=0)]
    """Fixed width of one ciphertext in bytes; 0 when the payload is one sealed (AEAD) box."""
    commitment: Sha256 | None = None
    """Contributions only: the sender's commitment to the seed of its self mask."""
    commitments: Annotated[tuple[Sha256, ...], Field(max_length=MOST_COMMITMENTS)] | None = None
    """Products only: the commitments of all contributions, in the order of the cohort."""

    @model_validator(mode="after")
    def _kind_matches(self) -> Self:
        if (self.commitment is not None) != (self.kind is FrameKind.CONTRIBUTION):
            raise ValueError("a contribution has a commitment, no other frame has one")
        if (self.commitments is not None) != (self.kind is FrameKind.PRODUCT):
            raise ValueError("a product has the commitments of all banks, no other frame has them")
        return self


class RoundReceipt(Message):
    """A contribution or opening was stored; it is durable now."""

    run_id: str
    round_number: int
    received: Annotated[int, Field(ge=0)]
    expected: Annotated[int, Field(ge=0)]


class RoundSummary(Message):
    """The record of one round; it stays after its ciphertexts are deleted."""

    number: Annotated[int, Field(ge=0)]
    label: str
    context: Sha256
    ciphertexts: Annotated[int, Field(ge=0)]
    """Ciphertexts in each contribution."""
    bytes_received: Annotated[int, Field(ge=0)]
    """Bytes of the round's accepted bodies, all banks together."""
    opened_at: int
    completed_at: int | None = None
    """When the last contribution was stored."""
    closed_at: int | None = None
    """When the last opening was stored."""
    abandoned_at: int | None = None
    """When another generation was formed before the round was closed."""
    generation: Annotated[int, Field(ge=0)] = 0
    step: Annotated[int, Field(ge=0)] = 0


class RoundList(Message):
    """Rounds of a run in order, from the requested one on."""

    run_id: str
    rounds: tuple[RoundSummary, ...]
