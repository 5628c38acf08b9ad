"""What an endpoint declares: who may call it, what it reads and what it answers.

``handle`` enforces exactly that, and the OpenAPI document is generated from the same declaration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from aggregator.caller import Role
from aggregator.config import MAX_WAIT_SECONDS
from fraudfed.errors import FraudFedError, ProtocolError
from fraudfed.wire.media_types import BINARY
from fraudfed.wire.messages import Message

#: Far above any round, epoch or audit entry, and within every database's integers.
MAX_NUMBER = 2**31 - 1


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
class Binary:
    """A body that is bytes."""

    data: bytes
    media_type: str = BINARY
    etag: str | None = None


@dataclass(frozen=True, kw_only=True)
class Header:
    """A request header of one endpoint, for the document; the view reads it."""

    name: str
    required: bool
    pattern: str
    description: str


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


#: What a view returns: a message, bytes, or None for "204, nothing yet".
Result: TypeAlias = Message | Binary | Exchange | None
View: TypeAlias = Callable[..., Result]


class Query(BaseModel):
    """Base of all query strings: unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WaitQuery(Query):
    """Query of a long poll."""

    wait: float = Field(
        default=0, ge=0, le=MAX_WAIT_SECONDS, description="Longest time to wait in seconds."
    )


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Declaration of one method at one address."""

    method: str
    rule: str
    name: str
    summary: str
    access: Access
    kind: str = "read"
    """How the audit log calls it; ``read`` if it changes nothing, then only refusals are logged."""
    status: int = 200
    reads: type[Message] | tuple[str, ...] | None = None
    """Message class, or media types of a body that is bytes, or None for no body."""
    refusal: type[FraudFedError] = ProtocolError
    """What a body that is JSON and no such message is refused with."""
    checks: Callable[[Any], None] | None = None
    """Refuses a message that cannot work, before another operator is asked to confirm it."""
    headers: tuple[Header, ...] = ()
    query: type[Query] | None = None
    answers: type[Message] | tuple[str, ...]
    """Message class, or media types."""
    empty: str = ""
    """When the answer is 204; empty if never."""
    accepted: type[Message] | None = None
    """What an exchange answers with status 202; None if this is none."""
    cached: bool = False
    """The answer has an ETag and is 304 for a caller that names it."""
    errors: tuple[type[FraudFedError], ...] = ()
    """Refusals beyond those of every endpoint (authentication, malformed request)."""
    prefix: str = "/v1"
    """What the rule is below."""
    takes_two: bool = False
    """With the setting ``two_operators`` another operator has to send the same."""
    always: bool = False
    """It is answered also while the service is full or stopping: monitoring must see that."""


class Endpoints:
    """The endpoints of one group, in the order of the document."""

    def __init__(self, *, prefix: str = "/v1") -> None:
        self._prefix = prefix
        self.declared: list[tuple[Endpoint, View]] = []

    def add(self, **declaration: Any) -> Callable[[View], View]:
        """Declare the decorated view as an ``Endpoint`` with these fields.

        The view gets the address's parameters, and by keyword: ``caller`` (``Caller``) unless
        anyone may call; ``signed`` (``SignedNonce``) for a candidate; ``query`` if declared;
        ``body`` (message or bytes) if it reads one.
        """

        def declare(view: View) -> View:
            endpoint = Endpoint(name=view.__name__, prefix=self._prefix, **declaration)
            self.declared.append((endpoint, view))
            return view

        return declare
