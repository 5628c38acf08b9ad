"""A model of a whole run, explored exhaustively: the service's own state machine with model banks.

Banks may hold a ledger of the sets that they revealed sums with (``bank_node.state.ledger``). What
was truly revealed is kept beside it, so that a ledger that forgets is noticed.

The state machine is the code that the service runs (``aggregator.run_machine``). Banks are modelled
after ``bank_node.run.generations`` and ``secure_communicator``: what is on their disk survives a
crash, everything else does not. Between any two steps of anybody a bank may be killed, the operator
may drop one, or the deadline may pass; after each of these everybody may still take any step first.

Every state that can be reached is checked, and at the end that a finished run can be reached from
each of them without any further fault: there is no deadlock.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from aggregator import run_machine as machine
from aggregator.run_machine import (
    BecomeReady,
    Contribute,
    DeadlinePassed,
    Decline,
    Drop,
    Join,
    ModelHashes,
    Open,
    Readiness,
    Round,
    Run,
    Terms,
    Vote,
    advance,
    stage_of,
)
from bank_node.state.ledger import Account
from fraudfed.errors import CohortChangedError, ForbiddenError, FraudFedError
from fraudfed.wire.messages import RunState

#: Ciphertexts of every round: each of two or three banks opens at least one.
_COUNT = 3

#: Who grew each step: what all banks must agree on.
History = tuple[tuple[str, ...], ...]


class Broken(AssertionError):  # noqa: N818 - it is an assertion
    """A law does not hold in a state that can be reached."""


@dataclass(frozen=True)
class Checkpoint:
    """What a bank keeps of a finished step."""

    step: int
    generation: int
    banks: tuple[str, ...]
    round_number: int
    history: History


@dataclass(frozen=True)
class Revealed:
    """A set that a bank revealed sums with: what ``bank_node.state.ledger.Reveal`` is."""

    run_id: str
    generation: int
    members: tuple[str, ...]


#: Decides by what is noted whether a set may be revealed, too.
Ledger: TypeAlias = Callable[[tuple[Revealed, ...], Revealed], bool]


def ledger_of(set_changes: int) -> Ledger:
    """Return the rule that banks use."""

    @cache
    def allows(noted: tuple[Revealed, ...], new: Revealed) -> bool:
        account: Any = Account()
        for one in noted:
            account = account.with_note(one)
        return bool(account.allows(new, set_changes=set_changes))

    return allows


def changes_of(revealed: Sequence[Revealed]) -> int:
    """Count how often a set unlike an earlier one was revealed; what only continues counts once."""
    changes = 0
    for place, one in enumerate(revealed):
        last = revealed[place - 1] if place else None
        if last is not None and (last.run_id, last.members) == (one.run_id, one.members):
            continue
        changes += any(other.members != one.members for other in revealed[:place])
    return changes


@cache
def isolated(sets: frozenset[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the banks whose part is a linear combination of sums over these sets.

    A combination isolates bank i exactly if its unit vector lies in the row space of the sets'
    indicator vectors, that is if it does not raise their rank.
    """
    names = sorted({name for one in sets for name in one})
    rows = [[float(name in one) for name in names] for one in sorted(sets)]
    if not rows:
        return ()
    rank = np.linalg.matrix_rank(np.array(rows))
    units = np.eye(len(names))
    return tuple(
        name
        for place, name in enumerate(names)
        if np.linalg.matrix_rank(np.array([*rows, units[place].tolist()])) == rank
    )


@dataclass(frozen=True)
class Context:
    """What one contribution is sealed under."""

    number: int
    step: int
    generation: int
    banks: tuple[str, ...]
    history: History

    @property
    def terms(self) -> Terms:
        return Terms("sum", repr(self), _COUNT, self.step)


@dataclass(frozen=True)
class Running:
    """A bank's memory while it trains."""

    context: Context
    index: int
    """Rounds of the step that are done."""
    sent: int = 0
    """0 nothing, 1 the contribution, 2 the opening as well."""
    closed_rounds: int = 0
    catches_up: bool = False


@dataclass(frozen=True)
class Bank:
    """A bank: what is on its disk, and what it does."""

    name: str
    checkpoints: tuple[Checkpoint, ...] = ()
    used: frozenset[Context] = frozenset()
    outbox: frozenset[Context] = frozenset()
    is_up: bool = True
    doing: str = "look"
    running: Running | None = None
    has_caught_up: bool = False
    noted: tuple[Revealed, ...] = ()
    """The ledger."""
    revealed: tuple[Revealed, ...] = ()
    """What was truly revealed."""

    @property
    def last(self) -> Checkpoint | None:
        return max(self.checkpoints, key=lambda c: (c.generation, c.step), default=None)

    def at(self, step: int) -> Checkpoint | None:
        return next((c for c in self.checkpoints if c.step == step), None)

    def saved(self, checkpoint: Checkpoint) -> "Bank":
        older = [c for c in self.checkpoints if c.step < checkpoint.step][-1:]
        return replace(self, checkpoints=(*older, checkpoint), outbox=frozenset())


@dataclass(frozen=True)
class Faults:
    """How many may still happen."""

    kills: int
    drops: int
    deadlines: int


@dataclass(frozen=True)
class World:
    """The service's state, every bank, and what may still go wrong."""

    run: Run
    rounds: tuple[Round | None, ...]
    """By number; None for one that was never opened."""
    kept_from: int
    """Openings of rounds before this one are deleted."""
    handovers: tuple[tuple[int, History], ...]
    banks: tuple[Bank, ...]
    faults: Faults

    def round(self, number: int) -> Round | None:
        return self.rounds[number] if number < len(self.rounds) else None

    def with_bank(self, bank: Bank) -> "World":
        return replace(
            self, banks=tuple(bank if one.name == bank.name else one for one in self.banks)
        )

    def apply(self, event: machine.Event) -> "World":
        """Let an event happen at the service; raises what it raises."""
        number = getattr(event, "number", self.run.round_number)
        step = advance(self.run, self.round(number), event)
        if not step.effects:
            if (step.run, step.round) != (self.run, self.round(number)):
                raise Broken(f"{event} changed something without an effect")
            return self
        return self._after(step, number)

    def _after(self, step: machine.Transition, number: int) -> "World":
        rounds, kept_from, handovers = list(self.rounds), self.kept_from, self.handovers
        if step.round is not None:
            rounds += [None] * (number - len(rounds))
            one = step.round
            # Nothing but error texts depends on the order of arrival.
            one = replace(
                one,
                contributions=tuple(sorted(one.contributions)),
                openings=tuple(sorted(one.openings)),
            )
            rounds[number : number + 1] = [one]
        for effect in step.effects:
            if isinstance(effect, machine.OpeningsExpired):
                kept_from = max(kept_from, effect.before)
            if isinstance(effect, machine.RoundClosed):
                _check_closed(rounds[effect.number], self.run)
            if isinstance(effect, machine.RunFailed):
                raise Broken(f"the run failed: {effect.reason}")
            if isinstance(effect, machine.GenerationFormed):
                handovers = ()
        run = replace(step.run, votes=tuple(sorted(step.run.votes)))
        return replace(
            self, run=run, rounds=tuple(rounds), kept_from=kept_from, handovers=handovers
        )


def _check_closed(one: Round | None, run: Run) -> None:
    assert one is not None
    contributors = tuple(bank for bank, _ in one.contributions)
    openers = tuple(bank for bank, _ in one.openings)
    if contributors != run.banks or openers != run.banks:
        raise Broken(f"round {one.number} closed with {contributors} and {openers} of {run.banks}")


class Model:
    """Steps of banks and faults. ``rounds_of_steps`` is the training: how many sums each step has.

    Parameters
    ----------
    rounds_of_steps : sequence of int
    set_changes : int or None
        What the laws allow; None: banks hold no ledger.
    ledger : Ledger or None
        The rule that banks use instead of the right one.
    """

    def __init__(
        self,
        rounds_of_steps: Sequence[int],
        *,
        set_changes: int | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._rounds = tuple(rounds_of_steps)
        self._set_changes = set_changes
        self._ledger = ledger
        if set_changes is not None and ledger is None:
            self._ledger = ledger_of(set_changes)

    def moves(self, world: World) -> Iterator[World]:
        """Yield what may come next if nothing goes wrong."""
        for bank in world.banks:
            if not bank.is_up:
                yield world.with_bank(
                    replace(bank, is_up=True, doing="look", running=None, has_caught_up=False)
                )
                continue
            after = self._move(world, bank)
            if after is not None:
                yield after

    def mishaps(self, world: World) -> Iterator[World]:
        """Yield what may come next if something goes wrong."""
        left = world.faults
        if left.kills:
            killed = replace(world, faults=replace(left, kills=left.kills - 1))
            for bank in world.banks:
                if not bank.is_up or bank.doing == "done":
                    continue
                down = replace(bank, is_up=False, doing="down", running=None, has_caught_up=False)
                yield killed.with_bank(down)
                sealed = self._sealed_only(bank)
                if sealed is not None:
                    # Between writing a contribution down and sending it.
                    yield killed.with_bank(
                        replace(down, used=bank.used | {sealed}, outbox=bank.outbox | {sealed})
                    )
                noted = self._noted_only(world, bank)
                if noted is not None:
                    # Between noting and revealing.
                    yield killed.with_bank(replace(down, noted=noted))
        if left.drops:
            dropped = replace(world, faults=replace(left, drops=left.drops - 1))
            for bank in world.banks:
                try:
                    yield dropped.apply(Drop(bank.name, "gone"))
                except FraudFedError:
                    continue
        if left.deadlines:
            stage = stage_of(world.run, world.round(world.run.round_number))
            if stage is not None:
                late = replace(world, faults=replace(left, deadlines=left.deadlines - 1))
                after = late.apply(DeadlinePassed(stage.key))
                if after is not late:
                    yield after

    def check(self, world: World) -> None:
        """Check what was revealed, and deliver again all that was sent: nothing may change."""
        if self._set_changes is not None:
            self._check_revealed(world, self._set_changes)
        for bank in world.banks:
            for context in bank.used:
                again = Contribute(bank.name, context.number, context.terms, _digest(bank, context))
                _expect_no_change(world, again, is_first_kept=context in bank.outbox)
        for one in world.rounds:
            if one is None:
                continue
            for name, digest in one.openings:
                _expect_no_change(world, Open(name, one.number, one.terms, 0, digest))

    def is_over(self, world: World) -> bool:
        """Whether everybody has the model."""
        return world.run.state is RunState.FINISHED and all(
            bank.doing == "done" for bank in world.banks
        )

    def _check_revealed(self, world: World, set_changes: int) -> None:
        for bank in world.banks:
            changes = changes_of(bank.revealed)
            if changes > set_changes:
                raise Broken(f"{bank.name} revealed {changes} other sets: {bank.revealed}")
        if set_changes == 0:
            by_name = {bank.name: {one.members for one in bank.revealed} for bank in world.banks}
            # What opens: all banks of the set have revealed.
            opened = frozenset(
                members
                for found in by_name.values()
                for members in found
                if all(members in by_name[name] for name in members)
            )
            if len(opened) > 1 or isolated(opened):
                raise Broken(f"{opened} isolate {isolated(opened)}")

    def _may_reveal(self, run: Run, bank: Bank, banks: tuple[str, ...]) -> bool:
        if self._ledger is None:
            return True
        return self._ledger(bank.noted, Revealed(run.run_id, run.generation, banks))

    def _noted(self, run: Run, bank: Bank, context: Context) -> tuple[Revealed, ...]:
        new = Revealed(run.run_id, context.generation, context.banks)
        return bank.noted if new in bank.noted else (*bank.noted, new)

    def _noted_only(self, world: World, bank: Bank) -> tuple[Revealed, ...] | None:
        running = bank.running
        if self._ledger is None or bank.doing != "run" or running is None or running.sent != 1:
            return None
        current = world.round(running.context.number)
        if current is None or len(current.contributions) < world.run.size:
            return None
        noted = self._noted(world.run, bank, running.context)
        return None if noted == bank.noted else noted

    def _sealed_only(self, bank: Bank) -> Context | None:
        running = bank.running
        if bank.doing != "run" or running is None or running.sent or running.catches_up:
            return None
        if running.context.number < running.closed_rounds or running.context in bank.used:
            return None
        return running.context

    def _move(self, world: World, bank: Bank) -> World | None:
        if bank.doing == "done":
            return None
        if world.run.state is RunState.FINISHED and bank.doing != "vote":
            return world.with_bank(replace(bank, doing="done", running=None))
        if bank.doing == "look":
            return self._look(world, bank)
        if bank.doing == "run":
            return self._run(world, bank)
        return self._vote(world, bank)

    def _look(self, world: World, bank: Bank) -> World | None:
        run, name = world.run, bank.name
        if run.state is RunState.OPEN or name not in run.banks:
            if (name in run.members and name in run.banks) or name in run.waiting:
                return None
            together = tuple(sorted({*run.banks, *run.waiting, name}))
            if run.state is not RunState.GATHERING and not self._may_reveal(run, bank, together):
                return None
            try:
                return world.apply(Join(name))
            except ForbiddenError:
                return None  # dropped too often: it takes the model at the end
        last = bank.last
        may = self._may_reveal(run, bank, run.banks)
        if run.state is RunState.TRAINING:
            if not may:
                return None
            return self._enter(world, replace(bank, has_caught_up=True))
        if not bank.has_caught_up and last is not None and name not in run.entrants:
            return world.with_bank(
                self._resumed(world, replace(bank, has_caught_up=True), last, catches_up=True)
            )
        if not may:
            after = world.apply(Decline(name, run.generation))
            return None if after is world else after
        if name in [one.bank for one in run.ready]:
            return None
        step = 0 if last is None else last.step
        return world.apply(BecomeReady(run.generation, Readiness(name, step)))

    def _enter(self, world: World, bank: Bank) -> World | None:
        run, last = world.run, bank.last
        if last is not None and last.generation > run.generation:
            raise Broken(f"{bank.name} is ahead of the service")
        if last is not None and last.generation == run.generation:
            return world.with_bank(self._resumed(world, bank, last))
        history: History = ()
        if run.first_step and bank.name in run.entrants:
            handed = dict(world.handovers).get(run.generation)
            if handed is None:
                return None
            history = handed
        elif run.first_step:
            mine = bank.at(run.first_step)
            if mine is None:
                raise Broken(f"{bank.name} lacks step {run.first_step}: {bank.checkpoints}")
            history = mine.history
            if run.entrants:
                known = dict(world.handovers).setdefault(run.generation, history)
                if known != history:
                    raise Broken(f"different handovers: {known}, {history}")
                world = replace(world, handovers=((run.generation, history),))
        began = Checkpoint(run.first_step, run.generation, run.banks, run.first_round, history)
        bank = bank.saved(began)
        return world.with_bank(self._resumed(world, bank, began))

    def _resumed(
        self, world: World, bank: Bank, last: Checkpoint, *, catches_up: bool = False
    ) -> Bank:
        if last.step == len(self._rounds):
            # The training is over already; what is left is the vote.
            doing = "look" if catches_up else "vote"
            return replace(bank, doing=doing, running=None)
        context = Context(last.round_number, last.step, last.generation, last.banks, last.history)
        running = Running(context, 0, closed_rounds=world.run.round_number, catches_up=catches_up)
        return replace(bank, doing="run", running=running)

    def _run(self, world: World, bank: Bank) -> World | None:
        running = bank.running
        assert running is not None
        context, number = running.context, running.context.number
        current = world.round(number)
        if number < running.closed_rounds:
            if current is None or not current.closed or number < world.kept_from:
                if running.catches_up or _has_changed(world.run, bank.name, number):
                    return world.with_bank(replace(bank, doing="look", running=None))
                raise Broken(f"{bank.name} needs round {number}, which is gone")
            return world.with_bank(self._advanced(bank, running))
        if running.catches_up:
            return world.with_bank(replace(bank, doing="look", running=None))
        if running.sent == 0:
            return self._contribute(world, bank, running)
        if current is not None and current.closed:
            return world.with_bank(self._advanced(bank, running))
        if _has_changed(world.run, bank.name, number):
            return world.with_bank(replace(bank, doing="look", running=None))
        if running.sent == 2 or current is None or len(current.contributions) < world.run.size:
            return None
        shard = context.banks.index(bank.name)
        count = len(range(shard, _COUNT, len(context.banks)))
        terms = replace(context.terms, count=count)
        if self._ledger is not None:
            if not self._may_reveal(world.run, bank, context.banks):
                return None
            noted = self._noted(world.run, bank, context)
            new, revealed = noted[-1], bank.revealed
            revealed = revealed if new in revealed else (*revealed, new)
            bank = replace(bank, noted=noted, revealed=revealed)
        world = world.apply(Open(bank.name, number, terms, shard, f"open {bank.name} {context}"))
        return world.with_bank(replace(bank, running=replace(running, sent=2)))

    def _contribute(self, world: World, bank: Bank, running: Running) -> World:
        context = running.context
        if context in bank.used and context not in bank.outbox:
            raise Broken(f"{bank.name} would have to seal {context} a second time")
        bank = replace(bank, used=bank.used | {context}, outbox=bank.outbox | {context})
        event = Contribute(bank.name, context.number, context.terms, _digest(bank, context))
        try:
            after = world.apply(event)
        except CohortChangedError:
            return world.with_bank(replace(bank, doing="look", running=None))
        if after.run.state is RunState.GATHERING:
            # The step begins with others: nothing of this was taken.
            return after.with_bank(replace(bank, doing="look", running=None))
        return after.with_bank(replace(bank, running=replace(running, sent=1)))

    def _advanced(self, bank: Bank, running: Running) -> Bank:
        context = replace(running.context, number=running.context.number + 1)
        running = replace(running, context=context, index=running.index + 1, sent=0)
        if running.index < self._rounds[context.step]:
            return replace(bank, running=running)
        history = (*context.history, context.banks)
        step = context.step + 1
        bank = bank.saved(
            Checkpoint(step, context.generation, context.banks, context.number, history)
        )
        if step == len(self._rounds):
            doing = "look" if running.catches_up else "vote"
            return replace(bank, doing=doing, running=None)
        context = replace(context, step=step, history=history)
        return replace(bank, running=replace(running, context=context, index=0))

    def _vote(self, world: World, bank: Bank) -> World | None:
        last = bank.last
        assert last is not None
        if bank.name in dict(world.run.votes):
            if world.run.state is RunState.FINISHED:
                return world.with_bank(replace(bank, doing="done"))
            return None
        model = repr(last.history)
        try:
            return world.apply(Vote(bank.name, ModelHashes(model, model)))
        except CohortChangedError:
            return world.with_bank(replace(bank, doing="look"))
        except FraudFedError:
            if world.run.state is RunState.FINISHED:
                return world.with_bank(replace(bank, doing="done"))
            raise


def _has_changed(run: Run, bank: str, number: int) -> bool:
    return run.state is RunState.GATHERING or bank not in run.banks or number < run.first_round


def _digest(bank: Bank, context: Context) -> str:
    return f"{bank.name} {context!r}"


def _expect_no_change(
    world: World, event: Contribute | Open, *, is_first_kept: bool = False
) -> None:
    number = event.number
    current = world.round(number)
    try:
        step = advance(world.run, current, event)
    except FraudFedError:
        return
    is_new = isinstance(event, Contribute) and event.bank not in dict(
        current.contributions if current is not None else ()
    )
    # What was written down and never arrived may still arrive, for the first time.
    if step.effects and not (is_new and is_first_kept):
        raise Broken(f"delivered again, {event} had effects {step.effects}")


@dataclass(frozen=True)
class Explored:
    """What was found: every state that can be reached."""

    n_states: int
    n_moves: int
    ends: frozenset[tuple[int, History]]
    """Generation and history that runs ended with."""


def explore(
    names: Sequence[str],
    rounds_of_steps: Sequence[int],
    faults: Faults,
    *,
    least_banks: int,
    max_rejoins: int,
    set_changes: int | None = None,
    ledger: Ledger | None = None,
    earlier: Sequence[Sequence[str]] = (),
) -> Explored:
    """Visit every state and check every law.

    Parameters
    ----------
    set_changes, ledger
        As ``Model``.
    earlier : sequence of sets of names
        The sets that their banks have revealed sums with in earlier runs.

    Raises
    ------
    Broken
        At the first state in which a law does not hold, or from which no run can end.
    """
    cohort = tuple(sorted(names))
    run = Run.new("r", cohort, least_banks=least_banks, max_rejoins=max_rejoins)
    model = Model(rounds_of_steps, set_changes=set_changes, ledger=ledger)
    old = [Revealed(f"run {n}", 0, tuple(sorted(one))) for n, one in enumerate(earlier)]
    banks = []
    for name in cohort:
        mine = tuple(one for one in old if name in one.members)
        banks.append(Bank(name, noted=mine, revealed=mine))
    start = World(run, (), 0, (), tuple(banks), faults)
    numbers: dict[World, int] = {start: 0}
    before: list[list[int]] = [[]]
    over: list[int] = []
    ends: set[tuple[int, History]] = set()
    pending = deque([start])
    n_moves = 0
    while pending:
        world = pending.popleft()
        number = numbers[world]
        model.check(world)
        if model.is_over(world):
            over.append(number)
            ends.update(
                (world.run.generation, one.last.history)
                for one in world.banks
                if one.last is not None and one.name in world.run.banks
            )
            continue
        for after, is_move in _successors(model, world):
            found = numbers.get(after)
            if found is None:
                found = numbers[after] = len(before)
                before.append([])
                pending.append(after)
            if is_move:
                n_moves += 1
                before[found].append(number)
    reaching = set(over)
    stack = list(over)
    while stack:
        for earlier in before[stack.pop()]:
            if earlier not in reaching:
                reaching.add(earlier)
                stack.append(earlier)
    for world, number in numbers.items():
        if number not in reaching:
            raise Broken(f"dead end: {world}")
    return Explored(len(numbers), n_moves, frozenset(ends))


def _successors(model: Model, world: World) -> Iterator[tuple[World, bool]]:
    for after in model.moves(world):
        if after != world:
            yield after, True
    for after in model.mishaps(world):
        yield after, False
