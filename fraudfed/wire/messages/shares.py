"""A finished run shared with a bank that took no part in it."""

from typing import Annotated

from pydantic import Field

from fraudfed.wire.messages.base import BankName, Message, Sha256, SignatureHex
from fraudfed.wire.messages.members import MemberKeys
from fraudfed.wire.messages.runs import RunKind


class SharedResult(Message):
    """What a bank says of the result of one run that it holds."""

    run_id: str
    kind: RunKind
    description_sha256: Sha256
    """Of the run as the bank pinned it: what a person approves."""
    plain_sha256: Sha256
    """Of the plain result, which the banks of the run have signed."""
    registry_sha256: Sha256
    """Of the result as it is registered: what data contracts name tables by."""
    signers: Annotated[tuple[BankName, ...], Field(min_length=1, max_length=1000)]
    """The banks that took part to the end and signed the result, sorted."""


class RunShare(Message):
    """One bank consents that another one adopts a run, and says what it holds of it.

    The signature is Ed25519 by the bank over ``fraudfed.consortium.public.shares.share_bytes``.
    """

    bank: BankName
    newcomer: MemberKeys
    """Name and keys of the bank that may adopt the run, by the pins of the sharing bank."""
    model: SharedResult
    tables: Annotated[tuple[SharedResult, ...], Field(max_length=1000)] = ()
    """Risk tables that the model needs, those with later days last."""
    statistics: SharedResult | None = None
    """Statistics of the same features, to hold the newcomer's data against."""
    at: Annotated[int, Field(ge=0)]
    signature: SignatureHex

    @property
    def results(self) -> tuple[SharedResult, ...]:
        """Everything that is shared, the model first."""
        last = () if self.statistics is None else (self.statistics,)
        return (self.model, *self.tables, *last)
