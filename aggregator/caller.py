"""Who sent a request, and what he may do."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ANONYMOUS", "Caller", "Role"]


class Role(StrEnum):
    """What a caller is to the aggregator."""

    BANK = "bank"
    """A member: known by the signature of its request."""
    OPERATOR = "operator"
    """Opens and ends runs, invites and removes banks: known by a token."""
    VIEWER = "viewer"
    """Reads what the operator reads and changes nothing: known by a token."""
    ANONYMOUS = "anonymous"
    """Everybody else."""


@dataclass(frozen=True)
class Caller:
    """The sender of one request."""

    name: str
    """The bank's name, or the name of the token."""
    role: Role
    body_sha256: str | None = None
    """Of the request's body, a bank's as it has signed it; None if it has none."""

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
