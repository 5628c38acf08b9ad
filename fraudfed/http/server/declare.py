"""What an endpoint declares: what it reads, what it answers, what it refuses.

``handling`` enforces it, and the OpenAPI document (``openapi``) is made of the same declaration. A
program adds to ``Endpoint`` what its own callers are told apart by.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

from fraudfed.errors import FraudFedError, ProtocolError
from fraudfed.wire.media_types import BINARY

#: Of a number in an address or a query: within every database's integers.
MAX_NUMBER = 2**31 - 1


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


#: What a view returns: a message, bytes, or None for "204, nothing yet". A program may add kinds.
Result: TypeAlias = BaseModel | Binary | None
View: TypeAlias = Callable[..., Any]


class Query(BaseModel):
    """Base of all query strings: unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Declaration of one method at one address."""

    method: str
    rule: str
    name: str
    summary: str
    status: int = 200
    reads: type[BaseModel] | tuple[str, ...] | None = None
    """Message class, or media types of a body that is bytes, or None for no body."""
    refusal: type[FraudFedError] = ProtocolError
    """What a body that is JSON and no such message is refused with."""
    checks: Callable[[Any], None] | None = None
    """Refuses a message that cannot work, before anything is done about it."""
    headers: tuple[Header, ...] = ()
    query: type[Query] | None = None
    answers: type[BaseModel] | tuple[str, ...]
    """Message class, or media types."""
    empty: str = ""
    """When the answer is 204; empty if never."""
    accepted: type[BaseModel] | None = None
    """What is answered with status 202; None if nothing is."""
    cached: bool = False
    """The answer has an ETag and is 304 for a caller that names it."""
    errors: tuple[type[FraudFedError], ...] = ()
    """Refusals beyond those of every endpoint (authentication, malformed request)."""
    prefix: str = "/v1"
    """What the rule is below."""
    always: bool = False
    """It is answered also while the service is full or stopping: monitoring must see that."""


E = TypeVar("E", bound=Endpoint)


class Endpoints(Generic[E]):
    """The endpoints of one group, in the order of the document.

    Parameters
    ----------
    cls : subclass of Endpoint
        What they are declared as.
    prefix : str
        What their rules are below.
    """

    def __init__(self, cls: type[E], *, prefix: str = "/v1") -> None:
        self._cls, self._prefix = cls, prefix
        self.declared: list[tuple[E, View]] = []

    def add(self, **declaration: Any) -> Callable[[View], View]:
        """Declare the decorated view as an endpoint with these fields.

        The view gets by keyword the parameters of the address, ``query`` if one is declared, and
        ``body`` (message or bytes) if it reads one.
        """

        def declare(view: View) -> View:
            endpoint = self._cls(name=view.__name__, prefix=self._prefix, **declaration)
            self.declared.append((endpoint, view))
            return view

        return declare
