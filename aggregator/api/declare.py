"""What an endpoint declares: who may call it, what it reads and what it answers.

``handle`` enforces exactly that, and the OpenAPI document is generated from the same declaration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pydantic import Field

from aggregator.caller import Role
from aggregator.config import MAX_WAIT_SECONDS
from fraudfed.http.server import declare
from fraudfed.wire.messages import Message


class Access(Enum):
    """Who may call an endpoint."""

    ANYONE = "anyone, without a signature or token"
    CANDIDATE = "a bank with an invitation, signed with the key that it announces"
    BANK = "a bank"
    OPERATOR = "the operator"
    PARTICIPANT = "a bank or the operator"
    READER = "a bank, the operator or a viewer"
    MONITOR = "the operator or a viewer, or for anyone if the setting `metrics` is `open`"

    @property
    def roles(self) -> frozenset[Role]:
        """Whose requests are taken; empty if the sender need not be known."""
        return _ROLES[self]


_ROLES = {
    Access.ANYONE: frozenset[Role](),
    Access.CANDIDATE: frozenset[Role](),
    Access.BANK: frozenset({Role.BANK}),
    Access.OPERATOR: frozenset({Role.OPERATOR}),
    Access.PARTICIPANT: frozenset({Role.BANK, Role.OPERATOR}),
    Access.READER: frozenset({Role.BANK, Role.OPERATOR, Role.VIEWER}),
    Access.MONITOR: frozenset({Role.OPERATOR, Role.VIEWER}),
}


@dataclass(frozen=True)
class Exchange:
    """An accepted change, and what its sender may wait for in the same request.

    The wrapper waits and not the view, when the body that was sent is out of memory: many may wait
    at once. A change that was accepted is not answered by a refusal: if there is nothing to wait
    for any more, the answer is the receipt, and the next question is told why.
    """

    receipt: Message
    """The answer, with status 202, if there is no other one."""
    wait: Callable[[], bytes | None] | None
    """Waits for the answer; None if the sender does not."""


class WaitQuery(declare.Query):
    """Query of a long poll."""

    wait: float = Field(
        default=0, ge=0, le=MAX_WAIT_SECONDS, description="Longest time to wait in seconds."
    )


@dataclass(frozen=True, kw_only=True)
class Endpoint(declare.Endpoint):
    """Declaration of one method at one address.

    A view gets by keyword, beside what is said there: ``caller`` (``Caller``) unless anyone may
    call, and ``signed`` (``SignedNonce``) for a candidate. It may also return an ``Exchange``.
    """

    access: Access
    kind: str = "read"
    """How the audit log calls it; ``read`` if it changes nothing, then only refusals are logged."""
    takes_two: bool = False
    """With the setting ``two_operators`` another operator has to send the same."""
