"""One event after the other: ``advance``, and the life of rounds and votes."""

from dataclasses import replace

from aggregator.run_machine import generations
from aggregator.run_machine.events import (
    Abort,
    BecomeReady,
    Contribute,
    ContributionAccepted,
    DeadlinePassed,
    Decline,
    Drop,
    Effect,
    Event,
    Join,
    ModelAccepted,
    Open,
    OpeningAccepted,
    OpeningsExpired,
    ProductComplete,
    ProductsExpired,
    RoundClosed,
    RoundOpened,
    RunAborted,
    Transition,
    Vote,
    VoteAccepted,
)
from aggregator.run_machine.guards import (
    fail,
    names,
    refuse_failed,
    require_member,
    require_same,
    require_together,
    require_training,
)
from aggregator.run_machine.state import Round, Run
from fraudfed.errors import ConflictError, ForbiddenError, ProtocolError
from fraudfed.wire.messages import RunState


def advance(run: Run, addressed: Round | None, event: Event) -> Transition:
    """Apply one event.

    Parameters
    ----------
    run : Run
    addressed : Round or None
        The round that ``event.number`` names, for all other events round ``run.round_number``;
        None if it has not been opened.
    event : Event

    Raises
    ------
    ForbiddenError
        If the bank is no member, or cannot become one.
    CohortChangedError
        If other banks take part now than the sender believes.
    RunFailedError
        If the run had failed before. (A run that fails *by* this event is a ``RunFailed`` effect,
        because that has to be stored.)
    ConflictError
        If the event contradicts what was accepted before, or comes at the wrong time.
    ProtocolError
        If the opening is of another shard than the bank's own.
    """
    match event:
        case Join():
            return generations.join(run, addressed, event)
        case BecomeReady():
            return generations.become_ready(run, addressed, event)
        case Decline():
            return generations.decline(run, addressed, event)
        case Drop():
            return generations.drop(run, addressed, event)
        case DeadlinePassed():
            return generations.deadline_passed(run, addressed, event)
        case Contribute():
            return _contribute(run, addressed, event)
        case Open():
            return _open(run, addressed, event)
        case Vote():
            return _vote(run, addressed, event)
        case Abort():
            return _abort(run, addressed, event)
        case _:
            raise TypeError(f"no event of a run: {event!r}")


def _contribute(run: Run, addressed: Round | None, event: Contribute) -> Transition:
    what = f"contribution to round {event.number}"
    require_member(run, event.bank)
    refuse_failed(run)
    known = dict(addressed.contributions).get(event.bank) if addressed else None
    if known is not None:
        require_same(known, event.digest, what=what, run=run)
        return Transition(run, addressed)
    require_training(run, what=what)
    require_together(run, event.bank, what=what, number=event.number)
    if event.number != run.round_number:
        raise ConflictError(f"run {run.run_id}: {what}, but round {run.round_number} is open now")
    if run.votes:
        return fail(
            run,
            addressed,
            f"round {event.number}: banks disagree whether training is over: "
            f"{names(bank for bank, _ in run.votes)} submitted a model, {event.bank} went on with "
            f"{event.terms}; use the same release, parameters and data contract at every bank",
        )
    if addressed is None:
        if event.terms.step < run.step:
            raise ConflictError(
                f"run {run.run_id}: {what} is of step {event.terms.step}, but the run is at step "
                f"{run.step}; restore the newest state directory"
            )
        if event.terms.step > run.step and run.waiting:
            return generations.admit_waiting(run)
    effects: tuple[Effect, ...] = ()
    current = addressed
    if current is None:
        current = Round(event.number, event.terms)
        effects += (RoundOpened(event.number, event.terms),)
        if event.terms.step > run.step:
            run = replace(run, step=event.terms.step, step_round=event.number)
    elif current.terms != event.terms:
        earlier = names(bank for bank, _ in current.contributions)
        return fail(
            run,
            current,
            f"round {event.number}: banks disagree on what is summed: {earlier} sent "
            f"{current.terms}; {event.bank} sent {event.terms}; use the same release, parameters, "
            "data contract and key at every bank",
        )
    current = replace(current, contributions=(*current.contributions, (event.bank, event.digest)))
    effects += (ContributionAccepted(event.bank, event.number, event.terms, event.digest),)
    if len(current.contributions) == run.size:
        effects += (ProductComplete(event.number),)
        if event.number == run.step_round:
            # Every bank holds what it needs to begin this step again, or it could not be here.
            effects += (OpeningsExpired(before=event.number),)
    return Transition(run, current, effects)


def _open(run: Run, addressed: Round | None, event: Open) -> Transition:
    require_member(run, event.bank)
    refuse_failed(run)
    what = f"opening of round {event.number}"
    known = dict(addressed.openings).get(event.bank) if addressed else None
    if known is not None:
        require_same(known, event.digest, what=what, run=run)
        return Transition(run, addressed)
    require_training(run, what=what)
    require_together(run, event.bank, what=what, number=event.number)
    if event.number < run.round_number:
        raise ConflictError(f"run {run.run_id}: {what} refused, the round is closed")
    if addressed is None or len(addressed.contributions) < run.size:
        have = len(addressed.contributions) if addressed else 0
        raise ConflictError(
            f"run {run.run_id}: {what} from {event.bank}, but only {have} of {run.size} "
            "contributions are in; read the product first"
        )
    own = run.banks.index(event.bank)
    expected = len(range(own, addressed.terms.count, run.size))
    if event.shard != own or event.terms.count != expected:
        raise ProtocolError(
            f"run {run.run_id}: {what} from {event.bank} is shard {event.shard} with "
            f"{event.terms.count} plaintexts, expected shard {own} with {expected}"
        )
    if (event.terms.label, event.terms.context) != (
        addressed.terms.label,
        addressed.terms.context,
    ):
        raise ConflictError(
            f"run {run.run_id}: {what} from {event.bank} has label {event.terms.label!r}, context "
            f"{event.terms.context[:16]}, but the round has {addressed.terms}"
        )
    current = replace(addressed, openings=(*addressed.openings, (event.bank, event.digest)))
    effects: tuple[Effect, ...] = (
        OpeningAccepted(event.bank, event.number, event.terms, own, event.digest),
    )
    if len(current.openings) == run.size:
        current = replace(current, closed=True)
        run = replace(run, round_number=run.round_number + 1)
        effects += (RoundClosed(event.number), ProductsExpired(before=run.round_number))
    return Transition(run, current, effects)


def _vote(run: Run, addressed: Round | None, event: Vote) -> Transition:
    require_member(run, event.bank)
    refuse_failed(run)
    known = dict(run.votes).get(event.bank)
    if known is not None:
        require_same(str(known), str(event.model), what="model", run=run)
        return Transition(run, addressed)
    require_training(run, what="model")
    require_together(run, event.bank, what="model")
    if addressed is not None:
        return fail(
            run,
            addressed,
            f"round {addressed.number}: banks disagree whether training is over: {event.bank} "
            f"submitted a model, {names(bank for bank, _ in addressed.contributions)} went on "
            f"with {addressed.terms}; use the same release, parameters and data contract at every "
            "bank",
        )
    others = {model for _, model in run.votes}
    if others - {event.model}:
        # All earlier votes are equal, or the run would have failed at the first other one.
        (earlier,) = others
        return fail(
            run,
            None,
            f"banks ended with different models: {names(bank for bank, _ in run.votes)} "
            f"submitted {earlier}, {event.bank} submitted {event.model}; use the same release on "
            "the same kind of machine at every bank",
        )
    run = replace(run, votes=(*run.votes, (event.bank, event.model)))
    effects: tuple[Effect, ...] = (VoteAccepted(event.bank, event.model),)
    if len(run.votes) == run.size:
        run = replace(run, state=RunState.FINISHED, model_sha256=event.model.stored)
        effects += (ModelAccepted(event.model), OpeningsExpired(before=run.round_number))
    return Transition(run, None, effects)


def _abort(run: Run, addressed: Round | None, event: Abort) -> Transition:
    if event.bank is not None:
        require_member(run, event.bank)
        refuse_failed(run)
        if event.bank not in run.banks:
            raise ForbiddenError(
                f"run {run.run_id}: {event.bank} does not take part in generation "
                f"{run.generation} and cannot end the run for {names(run.banks)}"
            )
    elif run.state is RunState.FAILED:
        return Transition(run, addressed)
    if run.state is RunState.FINISHED:
        raise ConflictError(f"run {run.run_id} is finished; a finished run cannot be aborted")
    reason = f"{event.bank or 'operator'}: {event.reason}"
    return fail(run, addressed, reason, effect=RunAborted)
