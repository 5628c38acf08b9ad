"""What a rule of ``bank.toml`` says about one thing that a run asks for."""

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T", bound=BaseModel)


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


def table_or_finding(
    rule: T | Literal["any"] | None, *, kind: str, several: str
) -> T | tuple[Finding]:
    """Return the table that the parts of a run are weighed by, or what is said to all of it.

    Law: a run of a kind without a rule is not approved, and ``"any"`` approves all of it.

    Parameters
    ----------
    rule : BaseModel, "any" or None
        What ``[approval]`` has under ``kind``.
    kind : str
        As in ``bank.toml``: ``monitor``.
    several : str
        Runs of the kind: ``monitor runs``.
    """
    if rule is None:
        return (
            Finding(
                subject=f"this {kind} run",
                allowed=False,
                reason=f"is approved by no rule (there is no [approval.{kind}])",
            ),
        )
    if isinstance(rule, str):
        return (Finding(subject=several, allowed=True, reason='are all approved: "any"'),)
    return rule
