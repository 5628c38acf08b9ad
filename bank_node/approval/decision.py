"""Whether this bank agrees to a run: a person approved its hash, or the rules approve it alone.

Law: a run is approved exactly if a person's last word on its hash is an approval, or there are
findings and each of them allows. A run that another bank opened, joined or began changes nothing
about that. It is decided anew at every start, on the description that the bank is about to use.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bank_node.approval.digest import approval_hash
from bank_node.approval.findings import Finding
from bank_node.state.approvals import ApprovalEntry, ApprovalEvent
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import ConfigurationError, ForbiddenError, StateError

#: Objections that a refusal repeats; the review shows all.
_SHOWN_OBJECTIONS = 3


@dataclass(frozen=True)
class Decision:
    """What this bank says to a run.

    Attributes
    ----------
    hash : str
        Of the run's description.
    by_person : bool
    findings : tuple of Finding
    """

    hash: str
    by_person: bool
    findings: tuple[Finding, ...]

    @property
    def by_rules(self) -> bool:
        """Whether ``[approval]`` of ``bank.toml`` approves the run alone."""
        return bool(self.findings) and all(each.allowed for each in self.findings)

    @property
    def approved(self) -> bool:
        """Whether this bank takes part."""
        return self.by_person or self.by_rules


def decide(state: StateDirectory, run: PinnedRun, findings: Sequence[Finding]) -> Decision:
    """Return what this bank says to a run; raises StateError as ``Approvals``."""
    hash_ = approval_hash(run)
    return Decision(hash_, state.approvals().has_approved(hash_), tuple(findings))


def require_approved(state: StateDirectory, run: PinnedRun, findings: Sequence[Finding]) -> None:
    """Refuse a run that neither a person nor a rule of this bank has approved.

    Raises
    ------
    ForbiddenError
        With what is against it, and the commands by which a person approves it.
    """
    decision = decide(state, run, findings)
    if decision.approved:
        return
    against = [each for each in decision.findings if not each.allowed]
    said = "; ".join(f"{each.subject} {each.reason}" for each in against[:_SHOWN_OBJECTIONS])
    more = len(against) - _SHOWN_OBJECTIONS
    rest = f" (and {more} more)" if more > 0 else ""
    raise ForbiddenError(
        f"run {run.run_id}: nobody at this bank has approved it, and [approval] of bank.toml does "
        f"not: {said}{rest}; nothing was sent",
        what_to_do=(
            f"look at it with 'bank-node runs review {run.run_id} --state {state.path}', then "
            f"'bank-node runs approve HASH --state {state.path}' with the hash shown there"
        ),
    )


def record_review(state: StateDirectory, run: PinnedRun) -> None:
    """Note durably that a person was shown these bytes: they can be approved from now on."""
    state.approvals().append(ApprovalEvent.REVIEWED, approval_hash(run), run.run_id)


def approve(state: StateDirectory, hash_: str) -> ApprovalEntry:
    """Record durably that a person approves what was reviewed; asks nobody for anything.

    Raises
    ------
    ConfigurationError
        If no run with this hash was reviewed at this bank.
    StateError
        If the run's description is no longer here as it was reviewed.
    """
    return _record(state, hash_, ApprovalEvent.APPROVED)


def revoke(state: StateDirectory, hash_: str) -> ApprovalEntry:
    """Take an approval back, for every later start; raises as ``approve``."""
    return _record(state, hash_, ApprovalEvent.REVOKED)


def _record(state: StateDirectory, hash_: str, event: ApprovalEvent) -> ApprovalEntry:
    approvals = state.approvals()
    reviewed = [entry for entry in approvals.entries() if entry.hash == hash_]
    if not reviewed:
        raise ConfigurationError(
            f"hash {hash_!r}: no run with this hash was reviewed at this bank; copy the 64 digits "
            "that 'bank-node runs review RUN_ID' shows at the end"
        )
    run_id = reviewed[0].run_id
    run = state.pinned_run(run_id)
    if run is None or approval_hash(run) != hash_:
        raise StateError(
            f"run {run_id}: {state.path} does not hold the description that was reviewed; restore "
            "it, or review the run again"
        )
    approvals.append(event, hash_, run_id)
    return approvals.entries()[-1]
