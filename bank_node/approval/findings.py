"""What a rule of ``bank.toml`` says about one thing that a run asks for."""

from pydantic import BaseModel, ConfigDict


class Finding(BaseModel):
    """One line of a review.

    Attributes
    ----------
    subject : str
        What the run asks for: ``column amount``, ``max_depth``.
    allowed : bool
    reason : str
        The rule that allows it, or what is against it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    allowed: bool
    reason: str


def finding(subject: str, allowed: bool, *, for_it: str, against: str) -> Finding:
    """Return a finding with the reason that belongs to it."""
    return Finding(subject=subject, allowed=allowed, reason=for_it if allowed else against)
