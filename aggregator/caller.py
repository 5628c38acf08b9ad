"""The sender of a request, and its role."""

from dataclasses import dataclass
from enum import StrEnum

from fraudfed.consortium.public.signatures import EMPTY_SHA256


class Role(StrEnum):
    """What a caller is to the aggregator."""

    BANK = "bank"
    """A member: known by the signature of its request."""
    OPERATOR = "operator"
    """Opens and ends runs, invites and removes banks: known by a token."""
    VIEWER = "viewer"
    """Reads what the operator reads and changes nothing: known by a token."""
    ANONYMOUS = "anonymous"
    """All others."""
    SERVICE = "service"
    """The service itself, by a rule of a run."""


@dataclass(frozen=True)
class Caller:
    """The sender of one request."""

    name: str
    """The bank's name, or the name of the token."""
    role: Role
    body_sha256: str | None = None
    """Of the request's body, a bank's as it has signed it; None if it has none."""

    @property
    def sent_sha256(self) -> str:
        """SHA-256 of what was sent, if only of nothing; computed for the request's signature."""
        return self.body_sha256 or EMPTY_SHA256.hex()

    @property
    def bank(self) -> str | None:
        """The bank's name, None for the operator and viewers."""
        return self.name if self.role is Role.BANK else None

    @property
    def actor(self) -> str:
        """How the audit log names the caller."""
        if self.role is Role.ANONYMOUS:
            return Role.ANONYMOUS.value
        return f"{self.role.value}:{self.name}"


ANONYMOUS = Caller("-", Role.ANONYMOUS)
#: A command that works on the state directory itself.
LOCAL = Caller("state-directory", Role.OPERATOR)
