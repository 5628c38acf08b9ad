"""The life of a run: laws over every state that can be reached, and single refusals."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from unittest.mock import MagicMock, patch

import pytest
from oracles.run_model import Broken, Faults, Model, Revealed, explore, isolated, ledger_of

from aggregator import run_machine as machine
from aggregator.caller import Caller, Role
from aggregator.run_machine import (
    Abort,
    BecomeReady,
    Contribute,
    DeadlinePassed,
    Decline,
    Drop,
    Join,
    Open,
    Readiness,
    Round,
    Run,
    StageKind,
    Terms,
    Vote,
    advance,
    stage_of,
)
from aggregator.runs.audit_records import audit_records
from aggregator.runs.effects import Payload, write_effect
from aggregator.storage.statement import Statement
from fraudfed.errors import (
    CohortChangedError,
    ConflictError,
    ForbiddenError,
    FraudFedError,
    ProtocolError,
    RunFailedError,
)
from fraudfed.wire.messages import RunState

TERMS = Terms("hist", "c" * 64, 4)
OTHER_TERMS = Terms("leaf", "c" * 64, 4)


def vote(bank: str, model: str) -> Vote:
    return Vote(bank, machine.ModelHashes(model, model))


# Honest banks, and everything that may happen to them


@pytest.mark.parametrize(
    ("names", "rounds_of_steps", "faults", "least_banks", "max_rejoins"),
    [
        ("abc", [1, 2], Faults(kills=2, drops=0, deadlines=0), 3, 0),
        ("abc", [1, 1], Faults(kills=0, drops=1, deadlines=0), 2, 0),
        ("ab", [1, 1], Faults(kills=1, drops=1, deadlines=0), 1, 1),
        ("ab", [2, 1], Faults(kills=0, drops=0, deadlines=1), 1, 0),
    ],
    ids=["kills", "drop", "kill and drop", "deadline"],
)
def test_whatever_happens_every_run_can_end_and_every_law_holds(
    names: str, rounds_of_steps: list[int], faults: Faults, least_banks: int, max_rejoins: int
) -> None:
    found = explore(
        names, rounds_of_steps, faults, least_banks=least_banks, max_rejoins=max_rejoins
    )
    generations = {generation for generation, _ in found.ends}
    assert 0 in generations
    assert (generations > {0}) == bool(faults.drops or faults.deadlines)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("names", "rounds_of_steps", "faults", "max_rejoins"),
    [
        ("abc", [1, 2], Faults(kills=3, drops=0, deadlines=0), 0),
        ("abc", [1, 1], Faults(kills=1, drops=1, deadlines=0), 1),
        ("abc", [1, 1], Faults(kills=0, drops=1, deadlines=1), 1),
        ("abc", [1, 1, 1], Faults(kills=1, drops=0, deadlines=1), 1),
    ],
    ids=["kills", "kill and drop", "drop and deadline", "kill and deadline"],
)
def test_more_may_happen_and_it_still_ends_well(
    names: str, rounds_of_steps: list[int], faults: Faults, max_rejoins: int
) -> None:
    found = explore(names, rounds_of_steps, faults, least_banks=2, max_rejoins=max_rejoins)
    assert found.n_states > 10_000


# Banks that hold a ledger


@pytest.mark.parametrize(
    ("rounds_of_steps", "faults", "set_changes", "earlier"),
    [
        ([1], Faults(kills=0, drops=1, deadlines=0), 0, ()),
        ([1, 1], Faults(kills=0, drops=0, deadlines=1), 0, ()),
        ([1], Faults(kills=1, drops=0, deadlines=1), 0, ("abc",)),
        ([1], Faults(kills=0, drops=1, deadlines=0), 0, ("abc",)),
        ([1], Faults(kills=0, drops=1, deadlines=0), 1, ()),
    ],
    ids=["drop", "deadline", "earlier run, kill and deadline", "earlier run, drop", "one change"],
)
def test_no_set_is_revealed_that_is_not_paid_for_and_the_run_can_end(
    rounds_of_steps: list[int], faults: Faults, set_changes: int, earlier: tuple[str, ...]
) -> None:
    """With 0 no linear combination of what is revealed isolates a bank, in whatever order."""
    found = explore(
        *("abc", rounds_of_steps, faults),
        least_banks=2,
        max_rejoins=1,
        set_changes=set_changes,
        earlier=earlier,
    )
    assert found.n_states > 1000


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("faults", "set_changes"),
    [
        (Faults(kills=0, drops=1, deadlines=0), 0),
        (Faults(kills=0, drops=1, deadlines=0), 1),
        (Faults(kills=0, drops=1, deadlines=0), 2),
    ],
)
def test_no_set_is_revealed_that_is_not_paid_for_in_longer_runs(
    faults: Faults, set_changes: int
) -> None:
    found = explore(*("abc", [1, 1], faults), least_banks=2, max_rejoins=2, set_changes=set_changes)
    assert found.n_states > 50_000


def test_control_a_ledger_that_forgets_is_noticed() -> None:
    def forgetful(noted: tuple[Revealed, ...], new: Revealed) -> bool:
        return ledger_of(0)(noted[-1:] if noted[-1:] == (new,) else (), new)

    with pytest.raises(Broken, match=r"revealed 1 other sets"):
        explore(
            *("abc", [1, 1], Faults(kills=0, drops=1, deadlines=0)),
            least_banks=2,
            max_rejoins=1,
            set_changes=0,
            ledger=forgetful,
        )


def test_control_a_rule_by_the_size_of_differences_reveals_the_triangle() -> None:
    """Each two of the sets differ by two banks, and all three together isolate every bank."""

    def by_size(noted: tuple[Revealed, ...], new: Revealed) -> bool:
        return all(len(set(one.members) ^ set(new.members)) != 1 for one in noted)

    sides = [Revealed("r", n, tuple(one)) for n, one in enumerate(("dj", "di", "ij"))]
    assert all(by_size(tuple(sides[:place]), side) for place, side in enumerate(sides))
    assert isolated(frozenset(one.members for one in sides)) == ("d", "i", "j")
    # One side is of an earlier run; from this one the operator drops d.
    with pytest.raises(Broken, match=r"j revealed 1 other sets"):
        explore(
            *("dij", [1], Faults(kills=0, drops=1, deadlines=0)),
            least_banks=2,
            max_rejoins=0,
            set_changes=0,
            earlier=("dj",),
            ledger=by_size,
        )


def test_control_without_turning_away_a_late_bank_ends_every_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aggregator.run_machine import generations

    monkeypatch.setattr(
        generations, "decline", lambda run, current, event: machine.Transition(run, current)
    )
    with pytest.raises(Broken, match="dead end"):
        explore(
            *("abc", [1, 1], Faults(kills=0, drops=0, deadlines=1)),
            least_banks=2,
            max_rejoins=1,
            set_changes=0,
        )


def test_control_without_a_way_back_into_a_generation_that_gathers_nobody_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aggregator.run_machine import generations

    monkeypatch.setattr(generations, "_nothing_is_summed", lambda run, current: False)
    with pytest.raises(Broken, match="dead end"):
        explore(
            *("abc", [1], Faults(kills=0, drops=1, deadlines=0)),
            least_banks=2,
            max_rejoins=2,
            set_changes=0,
        )


def small(**changes: int) -> None:
    faults = Faults(**({"kills": 0, "drops": 0, "deadlines": 0} | changes))
    explore("ab", [1, 1], faults, least_banks=1, max_rejoins=1)


def test_control_rounds_of_two_generations_with_one_number_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aggregator.run_machine import generations

    form = generations._form

    def same_number(run: Run, current: Round | None, **options: object) -> machine.Transition:
        step = form(run, current, **options)  # type: ignore[arg-type]
        number = run.round_number + (current is not None)
        return replace(step, run=replace(step.run, round_number=number))

    monkeypatch.setattr(generations, "_form", same_number)
    with pytest.raises(Broken, match="delivered again"):
        small(kills=1, drops=1)


def test_control_openings_that_are_deleted_too_early_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aggregator.run_machine import transitions

    contribute = transitions._contribute

    def eager(run: Run, addressed: Round | None, event: Contribute) -> machine.Transition:
        step = contribute(run, addressed, event)
        if any(isinstance(effect, machine.ProductComplete) for effect in step.effects):
            expired = machine.OpeningsExpired(before=event.number)
            return replace(step, effects=(*step.effects, expired))
        return step

    monkeypatch.setattr(transitions, "_contribute", eager)
    with pytest.raises(Broken, match="which is gone"):
        explore(
            "ab",
            [2, 1],
            Faults(kills=1, drops=0, deadlines=0),
            least_banks=2,
            max_rejoins=0,
        )


def test_control_a_round_that_closes_without_a_bank_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aggregator.run_machine import transitions

    open_shard = transitions._open

    def hasty(run: Run, addressed: Round | None, event: Open) -> machine.Transition:
        step = open_shard(run, addressed, event)
        if step.round is None or len(step.round.openings) < run.size - 1 or step.round.closed:
            return step
        closed = replace(step.run, round_number=run.round_number + 1)
        return machine.Transition(
            closed,
            replace(step.round, closed=True),
            (*step.effects, machine.RoundClosed(event.number)),
        )

    monkeypatch.setattr(transitions, "_open", hasty)
    with pytest.raises(Broken, match="closed with"):
        explore(
            "abc",
            [1, 1],
            Faults(kills=0, drops=0, deadlines=0),
            least_banks=3,
            max_rejoins=0,
        )


def test_control_a_bank_that_forgets_what_it_sent_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resumed = Model._resumed

    def forgetful(self, world, bank, last, **options):
        return resumed(self, world, replace(bank, outbox=frozenset()), last, **options)

    monkeypatch.setattr(Model, "_resumed", forgetful)
    with pytest.raises(Broken, match=r"a second time|delivered again"):
        small(kills=1)


def test_control_a_run_without_a_way_on_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from aggregator.run_machine import generations

    monkeypatch.setattr(
        generations, "become_ready", lambda run, current, event: machine.Transition(run, current)
    )
    with pytest.raises(Broken, match="dead end"):
        small(drops=1)


# Anybody who sends anything in any order


@dataclass(frozen=True)
class World:
    """A run with all its rounds, as a store would hold them."""

    run: Run
    rounds: tuple[Round | None, ...] = ()

    def round(self, number: int) -> Round | None:
        return self.rounds[number] if number < len(self.rounds) else None

    def apply(self, event: machine.Event) -> tuple["World", machine.Transition]:
        number = getattr(event, "number", self.run.round_number)
        step = advance(self.run, self.round(number), event)
        rounds = list(self.rounds)
        if step.round is not None and step.effects:
            rounds += [None] * (number - len(rounds))
            rounds[number : number + 1] = [step.round]
        return World(step.run, tuple(rounds)), step


def canonical(world: World) -> World:
    """Forget the order of arrival, on which nothing but error texts may depend."""
    return World(
        replace(world.run, votes=tuple(sorted(world.run.votes))),
        tuple(
            None
            if one is None
            else replace(
                one,
                contributions=tuple(sorted(one.contributions)),
                openings=tuple(sorted(one.openings)),
            )
            for one in world.rounds
        ),
    )


def answers(world: World) -> dict[tuple[object, ...], str | None]:
    """Return what each request that can wait is answered (``RunService``), None if it waits."""
    run = world.run
    found: dict[tuple[object, ...], str | None] = {}
    for bank, number in product(run.members, range(run.round_number + 1)):
        current = world.round(number)
        is_closed = current is not None and current.closed
        is_complete = current is not None and len(current.contributions) == run.size
        refused = None
        try:
            machine.require_active_member(run, bank)
            if not is_closed:
                machine.require_together(run, bank, what="wait", number=number)
        except FraudFedError as error:
            refused = type(error).slug
        found["product", bank, number] = refused or ("closed" if is_closed else None)
        if is_complete:
            found["product", bank, number] = found["product", bank, number] or "complete"
        found["openings", bank, number] = refused or ("closed" if is_closed else None)
    return found


def waits(world: World) -> list[tuple[object, ...]]:
    """Return the requests that wait."""
    return [request for request, answer in answers(world).items() if answer is None]


def lets_go(before: World, after: World, waiting: list[tuple[object, ...]]) -> bool:
    """Whether a request that waits before a step is answered by it."""
    if before.run.state is not after.run.state or before.run.generation != after.run.generation:
        return True  # of those that wait for the run's status
    now = answers(after)
    return any(now[request] for request in waiting)


Reached = tuple[dict[World, list[World]], frozenset[frozenset[type]]]


def reachable(start: World, events: Iterable[machine.Event]) -> Reached:
    """Return every state that ``events`` in any order lead to, with its successors.

    The second are the kinds of effects that wake, of each step that lets a request go on.
    """
    woken: set[frozenset[type]] = set()
    alphabet = list(events)
    found: dict[World, list[World]] = {}
    pending = [start]
    while pending:
        world = pending.pop()
        if world in found:
            continue
        successors, waiting = [], waits(world)
        for event in alphabet:
            try:
                after, step = world.apply(event)
            except FraudFedError:
                continue
            check_step(world, after, step)
            if not step.effects:
                assert after == world  # so that it lets nobody go on
                continue
            if lets_go(world, after, waiting):
                assert step.wakes, f"{event} lets requests go on, and wakes nobody"
                woken.update([frozenset(type(one) for one in step.effects if one.wakes)])
            successors.append(canonical(after))
        found[world] = successors
        check_world(world)
        pending += successors
    return found, frozenset(woken)


@cache
def any_order() -> Reached:
    """Return where two banks and others come that send anything in any order."""
    return reachable(World(Run.new("r", ("a", "b"), least_banks=2)), any_events())


@cache
def to_and_fro() -> Reached:
    """Return where three banks come of which two come and go."""
    start = Run.new("r", ("a", "b", "c"), least_banks=1, max_rejoins=0)
    return reachable(World(start), coming_and_going())


def check_world(world: World) -> None:
    run = world.run
    for number, one in enumerate(world.rounds):
        if one is None:
            continue
        contributors = [bank for bank, _ in one.contributions]
        openers = [bank for bank, _ in one.openings]
        assert len(set(contributors)) == len(contributors)
        assert len(set(openers)) == len(openers)
        assert set(openers) <= set(contributors)
        if one.closed:
            assert sorted(contributors) == sorted(openers)
            assert number < run.round_number
        assert one.number == number
    assert len(world.rounds) <= run.round_number + 1
    assert set(run.banks) <= set(run.cohort)
    assert len(run.banks) >= run.least_banks
    assert not set(run.banks) & set(run.waiting)
    assert set(run.entrants) <= set(run.banks)
    assert {one.bank for one in run.ready} <= set(run.banks)
    if run.state is RunState.GATHERING:
        assert set(run.banks) - set(run.entrants), "somebody knows the trees"
        assert len(run.ready) < run.size
    if run.state is RunState.FINISHED:
        assert sorted(bank for bank, _ in run.votes) == list(run.banks)
        assert {model.stored for _, model in run.votes} == {run.model_sha256}
    assert (run.state is RunState.FAILED) == (run.failure is not None)
    assert (run.state is RunState.OPEN) <= (not set(run.banks) <= set(run.members))
    current = world.round(run.round_number)
    stage = stage_of(run, current)
    if stage is not None:
        assert sorted((*stage.present, *stage.missing)) == list(run.banks)


def check_step(before: World, after: World, step: machine.Transition) -> None:
    if before.run.state in (RunState.FINISHED, RunState.FAILED):
        assert not step.effects
    formed = [e for e in step.effects if isinstance(e, machine.GenerationFormed)]
    if not formed:
        # What was accepted stays, in its place.
        assert after.run.votes[: len(before.run.votes)] == before.run.votes
    for old, new in zip(before.rounds, after.rounds, strict=False):
        if old is None or new is None:
            assert old is None
            continue
        assert new.terms == old.terms
        assert new.contributions[: len(old.contributions)] == old.contributions
        assert new.openings[: len(old.openings)] == old.openings
    closed = [e for e in step.effects if isinstance(e, machine.RoundClosed)]
    generations = after.run.generation - before.run.generation
    assert after.run.round_number == before.run.round_number + len(closed) + generations
    for effect in step.effects:
        if isinstance(effect, machine.OpeningsExpired) and after.run.state is RunState.TRAINING:
            # Everybody has contributed to a later step than those that are given up.
            later = after.round(effect.before)
            assert later is not None
            assert sorted(bank for bank, _ in later.contributions) == list(after.run.banks)


def any_events() -> list[machine.Event]:
    banks = ["a", "b"]
    events: list[machine.Event] = [Join(bank) for bank in "abc"]
    for number, (index, bank) in product(range(2), enumerate(banks)):
        count = len(range(index, TERMS.count, len(banks)))
        events.append(Contribute(bank, number, TERMS, f"{bank}/{number}"))
        events.append(
            Open(bank, number, replace(TERMS, count=count), index, f"open {bank}/{number}")
        )
    events += [Abort("a", "stop"), Abort(None, "stop"), Abort("c", "stop")]
    events += [vote(bank, sha256) for bank in banks for sha256 in ("m", "n")]
    events += [vote("c", "m"), Contribute("c", 0, TERMS, "c/0")]
    # Another encryption of the same round, other terms, another shard.
    events += [Contribute("a", n, TERMS, "again") for n in range(2)]
    events += [Contribute("b", n, OTHER_TERMS, f"other/{n}") for n in range(2)]
    events += [Open("a", 0, replace(TERMS, count=2), 1, "foreign shard")]
    return events


def coming_and_going() -> list[machine.Event]:
    events: list[machine.Event] = [Join(bank) for bank in "abc"]
    events += [Drop(bank, "gone") for bank in "ab"]
    for generation, bank, step in product(range(1, 4), "abc", range(2)):
        events.append(BecomeReady(generation, Readiness(bank, step)))
    events += [Decline(bank, generation) for bank, generation in product("ab", (1, 2))]
    for number, bank in product(range(3), "ab"):
        events.append(Contribute(bank, number, replace(TERMS, step=number), f"{bank}/{number}"))
        events.append(Open(bank, number, TERMS, 0, f"open {bank}/{number}"))
    for kind, generation, number in product(StageKind, range(2), range(2)):
        events.append(DeadlinePassed((kind.value, generation, number)))
    return [*events, vote("a", "m")]


def test_laws_hold_under_any_order_of_any_events() -> None:
    found, _ = any_order()
    ends = {world.run.state for world, successors in found.items() if not successors}
    assert ends == {RunState.FINISHED, RunState.FAILED}
    assert len(found) > 300


def test_laws_hold_while_banks_come_and_go() -> None:
    found, _ = to_and_fro()
    assert len(found) > 2000
    assert {world.run.generation for world in found} >= {0, 1, 2, 3}


# What effects state


def subclasses(cls: type) -> set[type]:
    """Return all subclasses that this program has, not those of tests."""
    direct = [one for one in cls.__subclasses__() if one.__module__.startswith("aggregator.")]
    return set(direct).union(*(subclasses(one) for one in direct))


HASHES = machine.ModelHashes("m", "p")
EFFECTS: dict[type, machine.Effect] = {
    type(effect): effect
    for effect in (
        machine.MemberJoined("a"),
        machine.MemberWaits("a"),
        machine.TrainingStarted(),
        machine.GenerationFormed(("b",), (), "gone"),
        machine.MemberReady(Readiness("a", 1)),
        machine.GenerationBegun(),
        machine.RoundOpened(0, TERMS),
        machine.ContributionAccepted("a", 0, TERMS, "d"),
        machine.ProductComplete(0),
        machine.OpeningAccepted("a", 0, TERMS, 0, "d"),
        machine.RoundClosed(0),
        machine.RoundAbandoned(0),
        machine.ProductsExpired(1),
        machine.OpeningsExpired(1),
        machine.VoteAccepted("a", HASHES),
        machine.ModelAccepted(HASHES),
        machine.RunFailed("why"),
        machine.RunAborted("why"),
    )
}


def test_the_effects_here_are_all() -> None:
    assert set(EFFECTS) == subclasses(machine.Effect)


def test_an_effect_or_event_that_states_nothing_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="wakes"):
        type("Forgotten", (machine.Effect,), {})
    with pytest.raises(TypeError, match="recorded_as"):
        type("Forgotten", (machine.Event,), {})
    # Not even one that is made from another.
    with pytest.raises(TypeError, match="wakes"):
        type("Forgotten", (machine.RunFailed,), {})


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=[cls.__name__ for cls in EFFECTS])
def test_an_effect_is_recorded_and_written_as_it_states(effect: machine.Effect) -> None:
    run = replace(Run.new("r", ("a", "b")), members=("a",))
    step = machine.Transition(run, Round(0, TERMS, (("a", "d"),), (("a", "d"),)), (effect,))
    records = audit_records(DeadlinePassed(("join", 0, 0)), step, Caller("a", Role.BANK, "b" * 64))
    assert [one.kind for one in records] == ([effect.recorded_as] if effect.recorded_as else [])
    assert all(one.detail for one in records)
    assert all((one.body_sha256 is not None) is effect.of_body for one in records)
    if effect.recorded_as is None:
        assert not effect.of_body
        with pytest.raises(AssertionError, match="is not recorded"):
            effect.detail(run)
    connection = MagicMock()
    with patch.object(Statement, "change") as change:
        write_effect(connection, step, effect, Payload(), now=0)
    assert bool(change.mock_calls or connection.mock_calls) is effect.has_rows


def test_an_effect_wakes_if_and_only_if_a_request_waits_for_it() -> None:
    """``reachable`` checks the one direction; here, that nobody is woken for nothing.

    Each class that wakes is in some step the only reason why a request goes on.
    """
    woken = any_order()[1] | to_and_fro()[1]
    alone = {next(iter(kinds)) for kinds in woken if len(kinds) == 1}
    assert alone == {cls for cls, effect in EFFECTS.items() if effect.wakes}


def test_a_bank_that_waits_or_agrees_wakes_nobody_in_any_process() -> None:
    """Two lists once disagreed on these three: other processes were woken, this one was not."""
    for cls in (machine.MemberWaits, machine.MemberReady, machine.RoundAbandoned):
        assert not cls.wakes


def started(*banks: str) -> Run:
    cohort = tuple(sorted(banks))
    new = Run.new("r", cohort, least_banks=len(cohort))
    return replace(new, state=RunState.TRAINING, members=cohort)


def test_members_are_sorted_by_name_and_the_last_starts_the_training() -> None:
    run = Run.new("r", ("a", "b"))
    run = advance(run, None, Join("b")).run
    assert run.state is RunState.OPEN
    step = advance(run, None, Join("a"))
    assert step.run.members == ("a", "b")
    assert step.run.state is RunState.TRAINING
    ready = Readiness("a", 0)
    assert step.run.ready == (ready, Readiness("b", 0))
    assert step.effects == (
        machine.MemberJoined("a"),
        machine.MemberReady(ready),
        machine.TrainingStarted(),
    )


def test_contribution_of_other_terms_fails_the_run_and_names_both_sides() -> None:
    run = started("a", "b", "c")
    first = advance(run, None, Contribute("a", 0, TERMS, "1"))
    step = advance(first.run, first.round, Contribute("b", 0, OTHER_TERMS, "2"))
    assert step.run.state is RunState.FAILED
    assert step.run.failure is not None
    for part in ("round 0", "a sent label 'hist'", "b sent label 'leaf'"):
        assert part in step.run.failure


@pytest.mark.parametrize(
    "terms",
    [Terms("hist", "d" * 64, 4), Terms("hist", "c" * 64, 5)],
    ids=["other context", "other count"],
)
def test_contribution_of_another_context_or_count_fails_the_run(terms: Terms) -> None:
    first = advance(started("a", "b"), None, Contribute("a", 0, TERMS, "1"))
    step = advance(first.run, first.round, Contribute("b", 0, terms, "2"))
    assert step.run.state is RunState.FAILED


def test_different_models_fail_the_run_and_name_both() -> None:
    run = advance(started("a", "b"), None, vote("a", "m1")).run
    failure = advance(run, None, vote("b", "m2")).run.failure
    assert failure is not None
    assert "a submitted m1, b submitted m2" in failure


def test_one_sealed_model_of_two_plain_ones_fails_the_run() -> None:
    run = advance(started("a", "b"), None, Vote("a", machine.ModelHashes("s", "m1"))).run
    failure = advance(run, None, Vote("b", machine.ModelHashes("s", "m2"))).run.failure
    assert failure is not None
    assert "a submitted s (of m1), b submitted s (of m2)" in failure


def test_only_the_cohort_can_join() -> None:
    for run in (Run.new("r", ("a", "b")), started("a", "b")):
        with pytest.raises(ForbiddenError, match="not in the cohort"):
            advance(run, None, Join("c"))


def test_a_model_while_another_bank_goes_on_fails_the_run_at_once() -> None:
    run = advance(started("a", "b"), None, vote("a", "m")).run
    failure = advance(run, None, Contribute("b", 0, TERMS, "1")).run.failure
    assert failure is not None
    assert "a submitted a model, b went on" in failure


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (Contribute("x", 0, TERMS, "1"), ForbiddenError),
        (Open("x", 0, TERMS, 0, "1"), ForbiddenError),
        (vote("x", "m"), ForbiddenError),
        (Abort("x", "stop"), ForbiddenError),
        (Join("x"), ForbiddenError),
        (Contribute("a", 1, TERMS, "1"), ConflictError),
        (Open("a", 0, Terms("hist", "c" * 64, 2), 0, "1"), ConflictError),
    ],
)
def test_refusals_while_training(event: machine.Event, error: type[FraudFedError]) -> None:
    with pytest.raises(error):
        advance(started("a", "b"), None, event)


@pytest.mark.parametrize(
    ("terms", "shard", "error"),
    [
        (Terms("hist", "c" * 64, 2), 1, ProtocolError),
        (Terms("hist", "c" * 64, 2), None, ProtocolError),
        (Terms("hist", "c" * 64, 3), 0, ProtocolError),
        (Terms("leaf", "c" * 64, 2), 0, ConflictError),
        (Terms("hist", "d" * 64, 2), 0, ConflictError),
    ],
)
def test_refused_openings(terms: Terms, shard: int | None, error: type[FraudFedError]) -> None:
    complete = Round(0, TERMS, contributions=(("a", "1"), ("b", "2")))
    with pytest.raises(error):
        advance(started("a", "b"), complete, Open("a", 0, terms, shard, "3"))


def test_a_failed_run_answers_every_bank_with_its_cause() -> None:
    failed = advance(started("a", "b"), None, Abort("a", "disk full")).run
    assert failed.failure == "a: disk full"
    events: list[machine.Event] = [
        Join("a"),
        Contribute("b", 0, TERMS, "1"),
        Open("b", 0, TERMS, 1, "1"),
        vote("b", "m"),
        Abort("b", "me too"),
    ]
    for event in events:
        with pytest.raises(RunFailedError, match="a: disk full"):
            advance(failed, None, event)
    assert advance(failed, None, Abort(None, "again")).effects == ()


def test_a_finished_run_cannot_be_aborted() -> None:
    run = started("a")
    finished = advance(run, None, vote("a", "m")).run
    assert finished.state is RunState.FINISHED
    with pytest.raises(ConflictError, match="finished"):
        advance(finished, None, Abort(None, "late"))


def after(run: Run, *events: machine.Event) -> tuple[Run, Round | None]:
    """Return a run, and its open round, after events."""
    world = World(run)
    for event in events:
        world, _ = world.apply(event)
    return world.run, world.round(world.run.round_number)


def loose(*banks: str, least_banks: int = 1, max_rejoins: int = 1) -> Run:
    cohort = tuple(sorted(banks))
    new = Run.new("r", cohort, least_banks=least_banks, max_rejoins=max_rejoins)
    return replace(new, state=RunState.TRAINING, members=cohort)


def test_the_others_go_on_from_the_step_that_all_of_them_have() -> None:
    run, _ = after(
        loose("a", "b", "c"),
        Drop("c", "gone"),
        BecomeReady(1, Readiness("a", 5)),
        BecomeReady(1, Readiness("b", 4)),
    )
    assert (run.state, run.generation, run.banks) == (RunState.TRAINING, 1, ("a", "b"))
    assert (run.first_step, run.step, run.first_round) == (4, 4, 1)
    with pytest.raises(CohortChangedError, match="does not take part"):
        advance(run, None, Contribute("c", 1, TERMS, "c/1"))
    with pytest.raises(CohortChangedError, match="began with round 1"):
        advance(run, None, Contribute("a", 0, TERMS, "a/0"))


def test_who_enters_does_not_decide_from_where_the_others_go_on() -> None:
    run = replace(
        loose("a", "b", "c"),
        state=RunState.GATHERING,
        generation=2,
        entrants=("c",),
        round_number=4,
    )
    run, _ = after(
        run,
        BecomeReady(2, Readiness("a", 5)),
        BecomeReady(2, Readiness("b", 5)),
        BecomeReady(2, Readiness("c", 0, 1024)),
    )
    assert (run.state, run.first_step, run.first_round) == (RunState.TRAINING, 5, 4)
    assert run.ready[2] == Readiness("c", 0, 1024)


def test_a_bank_that_is_back_while_a_generation_gathers_comes_in_at_once() -> None:
    run, _ = after(loose("a", "b", "c"), Drop("c", "gone"), BecomeReady(1, Readiness("a", 1)))
    step = advance(run, None, Join("c"))
    run = step.run
    assert (run.state, run.generation, run.banks) == (RunState.GATHERING, 2, ("a", "b", "c"))
    # It is handed the work, as it may have lost its own; and is no stranger.
    assert (run.entrants, run.strangers, run.waiting, run.ready) == (("c",), (), (), ())
    assert any(isinstance(effect, machine.GenerationFormed) for effect in step.effects)
    # So does one that never was there.
    late, _ = after(replace(run, cohort=(*run.cohort, "d")), Join("d"))
    assert (late.generation, late.entrants, late.strangers) == (3, ("c", "d"), ("d",))
    assert late.members == ("a", "b", "c", "d")


def test_nobody_comes_into_a_step_that_may_be_summed() -> None:
    run, current = after(loose("a", "b", "c"), Drop("c", "gone"))
    run = replace(run, state=RunState.TRAINING, first_round=run.round_number)
    # Nothing was contributed yet.
    assert advance(run, None, Join("c")).run.state is RunState.GATHERING
    run, current = after(run, Contribute("a", 1, TERMS, "a/1"))
    run = advance(run, current, Join("c")).run
    assert (run.state, run.banks, run.waiting) == (RunState.TRAINING, ("a", "b"), ("c",))


def test_no_other_set_is_formed_while_a_bank_is_just_coming_in() -> None:
    """What it holds may be too old for those that stay, who then could never go on."""
    run = replace(
        loose("a", "b", "c"),
        cohort=("a", "b", "c", "d"),
        state=RunState.GATHERING,
        generation=2,
        entrants=("c",),
        round_number=4,
    )
    ready = [BecomeReady(2, Readiness(bank, step)) for bank, step in (("a", 5), ("b", 5), ("c", 1))]
    run, _ = after(run, *ready)
    assert (run.state, run.first_step) == (RunState.TRAINING, 5)
    with pytest.raises(ConflictError, match="c is just coming into generation 2"):
        advance(run, None, Drop("a", "gone"))
    late = advance(run, None, Join("d")).run
    assert (late.state, late.banks, late.waiting) == (RunState.TRAINING, ("a", "b", "c"), ("d",))
    assert advance(run, None, Drop("c", "gone")).run.banks == ("a", "b")
    # Of a contribution its bank has the work on disk.
    run, current = after(run, Contribute("c", 4, replace(TERMS, step=5), "c/4"))
    left = advance(run, current, Drop("a", "gone")).run
    assert (left.state, left.banks, left.entrants) == (RunState.GATHERING, ("b", "c"), ())


def with_stranger(**changes: object) -> Run:
    """Return a run whose banks a, b and c are joined by d."""
    settings: dict[str, object] = {
        "state": RunState.GATHERING,
        "generation": 2,
        "before": ("a", "b", "c"),
        "entrants": ("d",),
        "round_number": 4,
        **changes,
    }
    return replace(loose("a", "b", "c", "d", least_banks=2), **settings)


def test_who_was_not_there_is_turned_away_if_one_that_was_declines() -> None:
    run = with_stranger(ready=(Readiness("a", 1),))
    step = advance(run, None, Decline("b", 2))
    assert (step.run.generation, step.run.banks, step.run.entrants) == (3, ("a", "b", "c"), ())
    assert (step.run.ready, step.run.dropped("d")) == ((), 1)
    (formed,) = [e for e in step.effects if isinstance(e, machine.GenerationFormed)]
    assert formed.reason == "b declined to continue with d"
    # The same again is of another generation.
    with pytest.raises(CohortChangedError, match="generation 3 is of"):
        advance(step.run, None, Decline("b", 2))


def test_a_bank_that_declines_where_nobody_could_be_turned_away_changes_nothing() -> None:
    for run, bank in (
        (with_stranger(entrants=()), "b"),
        # c was there before: without it the set is no better.
        (with_stranger(entrants=("c",)), "b"),
        (with_stranger(entrants=("c", "d"), before=("c", "d")), "c"),
        (replace(with_stranger(), least_banks=4), "b"),
    ):
        assert advance(run, None, Decline(bank, 2)) == machine.Transition(run, None)


def test_a_stranger_that_declines_leaves_alone() -> None:
    run = with_stranger(entrants=("c", "d"), before=("a", "b"))
    assert advance(run, None, Decline("d", 2)).run.banks == ("a", "b", "c")


def test_a_generation_that_has_begun_cannot_be_declined() -> None:
    with pytest.raises(ConflictError, match="it has begun"):
        advance(with_stranger(state=RunState.TRAINING), None, Decline("b", 2))
    with pytest.raises(ConflictError, match="is at generation 2"):
        advance(with_stranger(), None, Decline("b", 3))
    with pytest.raises(ForbiddenError):
        advance(with_stranger(), None, Decline("x", 2))


def test_a_bank_that_waits_enters_when_the_next_step_begins() -> None:
    run, _ = after(
        loose("a", "b", "c"),
        Drop("c", "gone"),
        BecomeReady(1, Readiness("a", 1)),
        BecomeReady(1, Readiness("b", 1)),
    )
    in_step = replace(TERMS, step=1)
    run, current = after(run, Contribute("a", 1, in_step, "a/1"))
    run = advance(run, current, Join("c")).run
    assert (run.state, run.waiting) == (RunState.TRAINING, ("c",))
    assert current is not None
    run = replace(run, round_number=2)
    step = advance(run, None, Contribute("a", 2, replace(TERMS, step=2), "a/2"))
    assert step.run.state is RunState.GATHERING
    assert (step.run.banks, step.run.entrants, step.run.waiting) == (("a", "b", "c"), ("c",), ())
    assert not any(isinstance(e, machine.ContributionAccepted) for e in step.effects)


def test_a_bank_that_was_dropped_too_often_may_not_come_back() -> None:
    run, _ = after(replace(loose("a", "b", "c"), drops=(("c", 1),)), Drop("c", "again"))
    assert run.dropped("c") == 2
    with pytest.raises(ForbiddenError, match="dropped 2 times and may come back 1 times"):
        advance(run, None, Join("c"))


def test_a_deadline_drops_those_that_the_others_wait_for_and_nobody_else() -> None:
    run, current = after(loose("a", "b", "c"), Contribute("a", 0, TERMS, "a/0"))
    stage = stage_of(run, current)
    assert stage is not None
    assert (stage.kind, stage.missing) == (StageKind.CONTRIBUTION, ("b", "c"))
    current = Round(0, TERMS, (("a", "a/0"), ("b", "b/0")))
    step = advance(run, current, DeadlinePassed(stage.key))
    assert (step.run.banks, step.run.dropped("c"), step.run.dropped("b")) == (("a", "b"), 1, 0)
    # The same deadline again is of another stage.
    assert not advance(step.run, None, DeadlinePassed(stage.key)).effects


def test_a_deadline_drops_nobody_if_too_few_would_be_left() -> None:
    run, current = after(loose("a", "b", "c", least_banks=3), Contribute("a", 0, TERMS, "a/0"))
    stage = stage_of(run, current)
    assert stage is not None
    assert not advance(run, current, DeadlinePassed(stage.key)).effects
    with pytest.raises(ConflictError, match="fewer than 3 banks would be left"):
        advance(run, current, Drop("b", "gone"))


def test_a_bank_that_waits_counts_as_one_that_is_left() -> None:
    run = replace(loose("a", "b", "c", "d", least_banks=3), banks=("a", "b", "c"), waiting=("d",))
    step = advance(run, None, Drop("b", "gone"))
    assert (step.run.banks, step.run.entrants) == (("a", "c", "d"), ("d",))


def test_who_did_not_join_in_time_may_come_later() -> None:
    run, _ = after(Run.new("r", ("a", "b", "c"), least_banks=2), Join("a"), Join("b"))
    stage = stage_of(run, None)
    assert stage is not None
    step = advance(run, None, DeadlinePassed(stage.key))
    assert (step.run.state, step.run.generation, step.run.banks) == (
        RunState.TRAINING,
        0,
        ("a", "b"),
    )
    run, current = after(step.run, Contribute("a", 0, TERMS, "a/0"))
    assert advance(run, current, Join("c")).run.waiting == ("c",)


def test_a_model_that_was_voted_for_is_voted_for_again_by_those_who_are_left() -> None:
    run, _ = after(loose("a", "b", "c"), vote("a", "m"), vote("b", "m"), Drop("c", "gone"))
    assert run.votes == ()
    run, _ = after(
        run,
        BecomeReady(1, Readiness("a", 9)),
        BecomeReady(1, Readiness("b", 9)),
        vote("b", "m"),
        vote("a", "m"),
    )
    assert run.state is RunState.FINISHED
