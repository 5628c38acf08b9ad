"""What a person at this bank is shown of runs, before anything of this bank enters them."""

from typing import Literal

from bank_node.approval.decision import Decision, decide, record_review
from bank_node.approval.digest import approval_hash, canonical_bytes, differences
from bank_node.approval.facts import ListedRun, Review, ReviewedMember, RunsOpen
from bank_node.approval.findings import Finding
from bank_node.approval.repeated import price_of_repeating
from bank_node.config import check_run_id
from bank_node.http.client import AggregatorClient
from bank_node.run.agreement.pinning import pin_run
from bank_node.run.job import Jobs
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import FraudFedError
from fraudfed.wire.messages import RunState, RunStatus

_OPEN = frozenset({RunState.OPEN, RunState.TRAINING, RunState.GATHERING})


def review_run(state: StateDirectory, client: AggregatorClient, run_id: str, jobs: Jobs) -> Review:
    """Return everything that this bank would agree to, and note that it was shown.

    The run is pinned at first sight. If the aggregator describes it differently since, nothing is
    noted: ``changed`` says what is different, and the new description cannot be approved.

    Raises
    ------
    NotFoundError
        If the aggregator does not know the run.
    StateError
        If the review cannot be noted.
    """
    status = client.run(check_run_id(run_id))
    run, pinned = PinnedRun.of(status), state.pinned_run(run_id)
    changed = () if pinned is None else differences(pinned, run)
    if not changed:
        run = pin_run(state, status)
        record_review(state, run)
    job, spec = jobs[run.spec.kind], run.spec
    findings, refused = _weighed(state, run, jobs)
    decision = decide(state, run, findings)
    key_bits = int(run.public_key.n, 16).bit_length()
    return Review(
        run_id=run.run_id,
        name=spec.name,
        hash=approval_hash(run),
        changed=changed,
        state=status.state.value,
        key_epoch=spec.key_epoch,
        key_bits=key_bits,
        key_fingerprint=run.public_key.fingerprint,
        model_visibility=spec.model_visibility.value,
        require_confirmed_roster=spec.require_confirmed_roster,
        min_cohort=spec.min_cohort,
        deadline_seconds=spec.deadline_seconds,
        join_deadline_seconds=spec.join_deadline_seconds,
        max_rejoins=spec.max_rejoins,
        cohort=_cohort(state, run),
        without=spec.without,
        price=price_of_repeating(state, run),
        facts=job.facts(run, key_bits=key_bits),
        refused=refused,
        findings=findings,
        approved_by=() if changed else _approved_by(decision),
    )


def list_runs(state: StateDirectory, client: AggregatorClient, jobs: Jobs) -> RunsOpen:
    """Return the runs that are open to this bank, and whether it takes part in them.

    Raises
    ------
    FraudFedError
        If the aggregator cannot be asked, or the state directory cannot be read.
    """
    own = state.config.name
    found = [s for s in client.runs().runs if own in s.cohort and s.state in _OPEN]
    return RunsOpen(runs=tuple(_listed(state, status, jobs) for status in found))


def _listed(state: StateDirectory, status: RunStatus, jobs: Jobs) -> ListedRun:
    run = PinnedRun.of(status)
    # It becomes a path here.
    pinned = state.pinned_run(check_run_id(status.run_id))
    findings, refused = _weighed(state, run, jobs)
    changed = pinned is not None and canonical_bytes(pinned) != canonical_bytes(run)
    return ListedRun(
        run_id=run.run_id,
        name=run.spec.name,
        kind=run.spec.kind.value,
        state=status.state.value,
        approved_by=() if changed else _approved_by(decide(state, run, findings)),
        changed=changed,
        refused=refused,
    )


def _weighed(
    state: StateDirectory, run: PinnedRun, jobs: Jobs
) -> tuple[tuple[Finding, ...], str | None]:
    """Return what ``[approval]`` says, and why this bank refuses the run in any case."""
    job, refused = jobs[run.spec.kind], None
    try:
        job.accept(run, state.config.rules, state)
    except FraudFedError as error:
        refused = str(error)
    try:
        return job.weigh(run, state.config.approval), refused
    except FraudFedError as error:
        return (), refused or str(error)


def _approved_by(decision: Decision) -> tuple[Literal["person", "rules"], ...]:
    person: tuple[Literal["person"], ...] = ("person",) if decision.by_person else ()
    rules: tuple[Literal["rules"], ...] = ("rules",) if decision.by_rules else ()
    return (*person, *rules)


def _cohort(state: StateDirectory, run: PinnedRun) -> tuple[ReviewedMember, ...]:
    confirmed = {pin.keys.name for pin in state.pinned_roster().pins if pin.confirmed}
    return tuple(
        ReviewedMember(name=name, confirmed=name in confirmed, self=name == state.config.name)
        for name in run.cohort
    )
