"""Which banks take part: they join, drop out, rejoin, and agree to continue together.

A *generation* is a set of banks that take part together. Its banks continue from the last step that
all of its earlier members have finished; what was opened of a later step is done again
with the banks of the new one. While a generation gathers, nothing is summed in it: a bank that
joins comes in at once, and one that a bank declines to continue with is turned away again. Laws:

* a run never has fewer banks than ``least_banks``: it waits for those that are missing then;
* at least one bank of a generation took part in the one that began before it, and knows the trees;
* while an entrant of a generation has shown nothing in it, no other is formed but by its deadline,
  without it: it may not have the work yet from which those that stay would continue;
* a generation begins when every one of its banks has agreed to it, and to no other since;
* rounds of different generations have different numbers.
"""

from collections.abc import Iterable
from dataclasses import replace

from aggregator.run_machine.events import (
    BecomeReady,
    DeadlinePassed,
    Decline,
    Drop,
    Effect,
    GenerationBegun,
    GenerationFormed,
    Join,
    MemberJoined,
    MemberReady,
    MemberWaits,
    ProductsExpired,
    RoundAbandoned,
    TrainingStarted,
    Transition,
)
from aggregator.run_machine.guards import (
    names,
    refuse_failed,
    require_current,
    require_same,
)
from aggregator.run_machine.state import Readiness, Round, Run, StageKind, stage_of
from fraudfed.errors import ConflictError, ForbiddenError
from fraudfed.wire.messages import RunState


def join(run: Run, current: Round | None, event: Join) -> Transition:
    """Let a bank in: at the start, into a generation that is being formed, or at the next step."""
    bank = event.bank
    if bank not in run.cohort:
        raise ForbiddenError(
            f"{bank} is not in the cohort of run {run.run_id}, which is the roster of its "
            "key epoch; take part in the next key epoch"
        )
    refuse_failed(run)
    if bank in run.members and (bank in run.banks or bank in run.waiting):
        if run.generation == 0 and bank in run.banks and event.key:
            known = {one.bank: one for one in run.ready}[bank]
            require_same(known.key, event.key, what="key of generation 0", run=run)
        return Transition(run, current)
    if run.state is RunState.FINISHED:
        raise ConflictError(f"run {run.run_id} is finished; read its model")
    if run.dropped(bank) > run.max_rejoins:
        raise ForbiddenError(
            f"run {run.run_id}: {bank} was dropped {run.dropped(bank)} times and may come back "
            f"{run.max_rejoins} times; wait for the end and read the model"
        )
    joined = run
    effects: tuple[Effect, ...] = ()
    if bank not in run.members:
        joined = replace(run, members=tuple(sorted((*run.members, bank))))
        effects = (MemberJoined(bank),)
    if run.state is RunState.OPEN:
        if bank not in run.banks:
            formed = GenerationFormed((), (bank,), f"{bank} takes part after all")
            joined = replace(joined, banks=tuple(sorted((*run.banks, bank))))
            effects = (*effects, formed)
        readiness = Readiness(bank, 0, 0, event.key, event.signature)
        joined = replace(joined, ready=_with(joined.ready, readiness))
        effects = (*effects, MemberReady(readiness))
        return _started_if_complete(Transition(joined, current, effects))
    if _nothing_is_summed(run, current) and not _coming_in(run, current):
        # With a bank that is back the others continue as if it had never left.
        step = _form(joined, current, leaving=(), entering=(bank,), reason=f"{bank} joined")
        return replace(step, effects=(*effects, *step.effects))
    # Not into a step that may be summed already: the difference would be the part of this bank.
    joined = replace(joined, waiting=tuple(sorted((*run.waiting, bank))))
    return Transition(joined, current, (*effects, MemberWaits(bank)))


def drop(run: Run, current: Round | None, event: Drop) -> Transition:
    """Continue without a bank, because the operator says so."""
    bank = event.bank
    refuse_failed(run)
    if run.state is RunState.FINISHED:
        raise ConflictError(f"run {run.run_id} is finished; there is nobody to drop")
    if bank not in run.banks:
        raise ConflictError(
            f"run {run.run_id}: {bank} does not take part in generation {run.generation}, "
            f"{names(run.banks)} do; nobody was dropped"
        )
    coming = [one for one in _coming_in(run, current) if one != bank]
    if coming:
        raise ConflictError(
            f"run {run.run_id}: {names(coming)} is just coming into generation {run.generation}, "
            "and may not have the work so far; nobody was dropped: try again in a moment, or drop "
            "the bank that does not come in"
        )
    if not _can_go_on(run, leaving=(bank,)):
        raise ConflictError(
            f"run {run.run_id}: without {bank} fewer than {run.least_banks} banks would be left, "
            "or none that knows the trees so far; let another bank join first, or cancel the run"
        )
    return _without(run, current, (bank,), f"operator dropped {bank}: {event.reason}")


def deadline_passed(run: Run, current: Round | None, event: DeadlinePassed) -> Transition:
    """Continue without banks that stay away too long, unless too few would be left."""
    stage = stage_of(run, current)
    if stage is None or stage.key != event.stage or not _can_go_on(run, leaving=stage.missing):
        return Transition(run, current)
    what = {
        StageKind.JOIN: "did not join",
        StageKind.READY: f"did not agree to generation {run.generation}",
        StageKind.CONTRIBUTION: f"did not contribute to round {run.round_number}",
        StageKind.OPENING: f"did not open their part of round {run.round_number}",
        StageKind.MODEL: "did not submit a model",
    }[stage.kind]
    return _without(run, current, stage.missing, f"{names(stage.missing)} {what} in time")


def admit_waiting(run: Run) -> Transition:
    """Form the generation with the banks that wait; the run is between two steps."""
    reason = f"{names(run.waiting)} joined"
    return _form(run, None, leaving=(), entering=run.waiting, reason=reason)


def become_ready(run: Run, current: Round | None, event: BecomeReady) -> Transition:
    """Note that a bank agrees; the last one begins the generation."""
    bank, what = event.bank, f"agreement to generation {event.generation}"
    require_current(run, bank, event.generation, what=what)
    known = {one.bank: one for one in run.ready}.get(bank)
    if known is not None:
        require_same(str(known), str(event.readiness), what=what, run=run)
        return Transition(run, current)
    if run.state is not RunState.GATHERING:
        raise ConflictError(f"run {run.run_id}: {what} refused, it needs no agreement")
    ready = _with(run.ready, event.readiness)
    run = replace(run, ready=ready)
    effects: tuple[Effect, ...] = (MemberReady(event.readiness),)
    if len(ready) == run.size:
        step = min(one.step for one in ready if one.bank not in run.entrants)
        run = replace(
            run,
            state=RunState.TRAINING,
            first_step=step,
            first_round=run.round_number,
            step=step,
            step_round=run.round_number,
        )
        effects += (GenerationBegun(),)
    return Transition(run, current, effects)


def decline(run: Run, current: Round | None, event: Decline) -> Transition:
    """Turn away the banks that were not there before, as a bank that was does not accept them."""
    bank, what = event.bank, f"refusal of generation {event.generation}"
    require_current(run, bank, event.generation, what=what)
    if run.state is not RunState.GATHERING:
        raise ConflictError(f"run {run.run_id}: {what} refused, it has begun")
    leaving = (bank,) if bank in run.strangers else run.strangers
    knows = bank not in run.entrants
    if not leaving or not (knows or bank in leaving) or not _can_go_on(run, leaving=leaving):
        # Nothing better can be formed: the run waits for banks that are missing.
        return Transition(run, current)
    reason = f"{bank} declined to continue with {names({*run.banks} - {bank})}"
    if knows:
        reason = f"{bank} declined to continue with {names(leaving)}"
    return _form(run, current, leaving=leaving, entering=(), reason=reason)


def _without(run: Run, current: Round | None, leaving: tuple[str, ...], reason: str) -> Transition:
    if run.state is not RunState.OPEN:
        # A bank that waits comes in at the next step, unless there are too few without it.
        too_few = run.size - len(leaving) < run.least_banks
        entering = run.waiting if too_few else ()
        return _form(run, current, leaving=leaving, entering=entering, reason=reason)
    # Nothing was summed yet: the same generation, of fewer banks. They may still join.
    banks = tuple(bank for bank in run.banks if bank not in leaving)
    ready = tuple(one for one in run.ready if one.bank in banks)
    formed = GenerationFormed(leaving, (), reason)
    left = replace(run, banks=banks, ready=ready)
    return _started_if_complete(Transition(left, current, (formed,)))


def _with(ready: tuple[Readiness, ...], one: Readiness) -> tuple[Readiness, ...]:
    return tuple(sorted((*ready, one), key=lambda each: each.bank))


def _started_if_complete(step: Transition) -> Transition:
    run = step.run
    if not set(run.banks) <= set(run.members):
        return step
    started = replace(run, state=RunState.TRAINING)
    return replace(step, run=started, effects=(*step.effects, TrainingStarted()))


def _nothing_is_summed(run: Run, current: Round | None) -> bool:
    """Tell whether no bank has contributed to a round of this generation yet, or voted."""
    if run.state is RunState.GATHERING:
        return True
    return current is None and run.round_number == run.first_round and not run.votes


def _coming_in(run: Run, current: Round | None) -> tuple[str, ...]:
    """Return the entrants of a generation that has begun that have shown nothing in it yet.

    A bank contributes or votes when the work that it was handed is on its disk; until then it holds
    no step from which others could continue. All contribute before a round closes.
    """
    if run.state is not RunState.TRAINING or run.first_step == 0:
        return ()
    if run.round_number > run.first_round:
        return ()
    shown = {bank for bank, _ in (() if current is None else current.contributions)}
    shown |= {bank for bank, _ in run.votes}
    return tuple(bank for bank in run.entrants if bank not in shown)


def _can_go_on(run: Run, *, leaving: Iterable[str]) -> bool:
    left = set(run.banks) - set(leaving)
    knowing = left - set(run.entrants) if run.state is RunState.GATHERING else left
    return len(left | set(run.waiting)) >= run.least_banks and bool(knowing)


def _form(
    run: Run,
    current: Round | None,
    *,
    leaving: Iterable[str],
    entering: Iterable[str],
    reason: str,
) -> Transition:
    """Begin to form the next generation."""
    entering = set(entering)
    banks = (set(run.banks) - set(leaving)) | entering
    # Relative to the last generation that began: while one is being formed, that is not this one.
    is_gathering = run.state is RunState.GATHERING
    earlier = set(run.entrants) if is_gathering else set()
    drops = {**dict(run.drops), **{bank: run.dropped(bank) + 1 for bank in leaving}}
    formed = replace(
        run,
        state=RunState.GATHERING,
        generation=run.generation + 1,
        banks=tuple(sorted(banks)),
        entrants=tuple(sorted((earlier & banks) | entering)),
        before=run.before if is_gathering else run.banks,
        waiting=tuple(bank for bank in run.waiting if bank not in entering),
        ready=(),
        drops=tuple(sorted(drops.items())),
        # Also if the round was not opened: a contribution of this generation may still be on its
        # way, and must not open a round of the next one.
        round_number=run.round_number + 1,
        votes=(),
    )
    effects: tuple[Effect, ...] = ()
    if current is not None:
        effects += (RoundAbandoned(current.number), ProductsExpired(before=current.number + 1))
    gone, new = (tuple(sorted(some)) for some in (leaving, entering))
    return Transition(formed, None, (*effects, GenerationFormed(gone, new, reason)))
