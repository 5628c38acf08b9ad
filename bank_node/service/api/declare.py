"""What an endpoint declares; ``handle`` enforces it, and the OpenAPI document is made of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

#: What a view returns: a message, or bytes with their media type.
Result: TypeAlias = BaseModel | tuple[bytes, str]
View: TypeAlias = Callable[..., Result]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Declaration of one method at one address."""

    method: str
    rule: str
    name: str
    summary: str
    reads: type[BaseModel] | None = None
    """None for no body."""
    answers: type[BaseModel] | str
    """Message class, or media type."""
    always: bool = False
    """Answered without a token and without limits: probes must see what is."""


class Endpoints:
    """The endpoints of one group, in the order of the document."""

    def __init__(self) -> None:
        self.declared: list[tuple[Endpoint, View]] = []

    def add(self, **declaration: Any) -> Callable[[View], View]:
        """Declare the decorated view; it gets the address's parameters, and ``body`` if any."""

        def declare(view: View) -> View:
            self.declared.append((Endpoint(name=view.__name__, **declaration), view))
            return view

        return declare
