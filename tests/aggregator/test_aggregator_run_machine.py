"""The life of a run: laws over every state that events can reach, and single refusals."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

import pytest

from aggregator import run_machine as machine
from aggregator.run_machine import Abort, Contribute, Join, Open, Round, Run, Terms, Vote, advance
from fraudfed.errors import (
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


@dataclass(frozen=True)
class World:
    """A run with all its rounds, as a store would hold them."""

    run: Run
    rounds: tuple[Round, ...] = ()

    def round(self, number: int) -> Round | None:
        return self.rounds[number] if number < len(self.rounds) else None

    def apply(self, event: machine.Event) -> tuple["World", machine.Transition]:
        match event:
            case Contribute(number=number) | Open(number=number):
                addressed = self.round(number)
            case Vote():
                number = self.run.round_number
                addressed = self.round(number)
            case _:
                number, addressed = -1, None
        step = advance(self.run, addressed, event)
        rounds = list(self.rounds)
        if step.round is not None and step.effects:
            rounds[number : number + 1] = [step.round]
        return World(step.run, tuple(rounds)), step


def canonical(world: World) -> World:
    """Forget the order of arrival, on which nothing but error texts may depend."""
    return World(
        replace(world.run, votes=tuple(sorted(world.run.votes))),
        tuple(
            replace(
                one,
                contributions=tuple(sorted(one.contributions)),
                openings=tuple(sorted(one.openings)),
            )
            for one in world.rounds
        ),
    )


def reachable(start: World, events: Iterable[machine.Event]) -> dict[World, list[World]]:
    """Return every state that ``events`` in any order lead to, with its successors."""
    alphabet = list(events)
    found: dict[World, list[World]] = {}
    pending = [start]
    while pending:
        world = pending.pop()
        if world in found:
            continue
        successors = []
        for event in alphabet:
            try:
                after, step = world.apply(event)
            except FraudFedError:
                continue
            check_step(world, after, step)
            if not step.effects:
                assert after == world
                continue
            successors.append(canonical(after))
        found[world] = successors
        check_world(world)
        pending += successors
    return found


def check_world(world: World) -> None:
    run = world.run
    for number, one in enumerate(world.rounds):
        contributors = [bank for bank, _ in one.contributions]
        openers = [bank for bank, _ in one.openings]
        assert len(set(contributors)) == len(contributors)
        assert len(set(openers)) == len(openers)
        if openers:
            assert sorted(contributors) == list(run.members)
        if number < run.round_number:
            assert sorted(contributors) == sorted(openers) == list(run.members)
        assert one.number == number
    assert run.round_number <= len(world.rounds) <= run.round_number + 1
    if run.state is RunState.FINISHED:
        assert sorted(bank for bank, _ in run.votes) == list(run.members)
        assert {model.stored for _, model in run.votes} == {run.model_sha256}
    assert (run.state is RunState.FAILED) == (run.failure is not None)
    assert (run.state is RunState.OPEN) <= (len(run.members) < run.cohort_size)


def check_step(before: World, after: World, step: machine.Transition) -> None:
    if before.run.state in (RunState.FINISHED, RunState.FAILED):
        assert not step.effects
    # What was accepted stays, in its place.
    assert after.run.votes[: len(before.run.votes)] == before.run.votes
    for old, new in zip(before.rounds, after.rounds, strict=False):
        assert new.terms == old.terms
        assert new.contributions[: len(old.contributions)] == old.contributions
        assert new.openings[: len(old.openings)] == old.openings
    closed = [e for e in step.effects if isinstance(e, machine.RoundClosed)]
    assert after.run.round_number == before.run.round_number + len(closed)
    for effect in step.effects:
        if isinstance(effect, machine.PayloadsExpired) and after.run.state is RunState.TRAINING:
            # Everybody has contributed to a later round than those that are given up.
            later = after.round(effect.before)
            assert later is not None
            assert sorted(bank for bank, _ in later.contributions) == list(after.run.members)


def honest_events(banks: list[str], n_rounds: int) -> list[machine.Event]:
    """Return all that banks send which run one program and repeat anything at any time."""
    events: list[machine.Event] = [Join(bank) for bank in banks]
    for number, (index, bank) in product(range(n_rounds), enumerate(banks)):
        count = len(range(index, TERMS.count, len(banks)))
        events.append(Contribute(bank, number, TERMS, f"{bank}/{number}"))
        events.append(
            Open(bank, number, replace(TERMS, count=count), index, f"open {bank}/{number}")
        )
    return events


def test_honest_banks_always_reach_a_finished_run() -> None:
    banks = ["a", "b", "c"]
    n_rounds = 3
    # Votes only from banks that are through, as their program has it.
    training = reachable(World(Run("r", ("a", "b", "c"))), honest_events(banks, n_rounds))
    through = [w for w in training if w.run.round_number == n_rounds]
    assert through
    for world, successors in training.items():
        assert successors or world in through, f"dead end: {world}"
    votes = [vote(bank, "m") for bank in banks]
    for world in through[:3]:
        ends = [w for w, s in reachable(world, votes).items() if not s]
        assert ends
        assert all(w.run.state is RunState.FINISHED for w in ends)


def test_laws_hold_under_any_order_of_any_events() -> None:
    banks = ["a", "b"]
    events = honest_events(banks, 2)
    events += [Join("c"), Abort("a", "stop"), Abort(None, "stop"), Abort("c", "stop")]
    events += [vote(bank, sha256) for bank in banks for sha256 in ("m", "n")]
    events += [vote("c", "m"), Contribute("c", 0, TERMS, "c/0")]
    # Another encryption of the same round, other terms, another shard.
    events += [Contribute("a", n, TERMS, "again") for n in range(2)]
    events += [Contribute("b", n, OTHER_TERMS, f"other/{n}") for n in range(2)]
    events += [Open("a", 0, replace(TERMS, count=2), 1, "foreign shard")]
    found = reachable(World(Run("r", ("a", "b"))), events)
    ends = {world.run.state for world, successors in found.items() if not successors}
    assert ends == {RunState.FINISHED, RunState.FAILED}
    assert len(found) > 300


def started(*banks: str) -> Run:
    cohort = tuple(sorted(banks))
    return Run("r", cohort, state=RunState.TRAINING, members=cohort)


def test_members_are_sorted_by_name_and_the_last_starts_the_training() -> None:
    run = Run("r", ("a", "b"))
    run = advance(run, None, Join("b")).run
    assert run.state is RunState.OPEN
    step = advance(run, None, Join("a"))
    assert step.run.members == ("a", "b")
    assert step.run.state is RunState.TRAINING
    assert step.effects == (machine.MemberJoined("a"), machine.TrainingStarted())


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
    for run in (Run("r", ("a", "b")), started("a", "b")):
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
