"""Deadlines with a clock that the test moves, over a real service; and their thread."""

import threading
from typing import Any

import pytest
from federations.fake_banks import FakeBank, Federation, sum_round
from flask import Flask

from aggregator.api.services import Services
from aggregator.runs import deadlines as module
from aggregator.runs.deadlines import Deadlines
from aggregator.runs.generations import GenerationService
from aggregator.service.store import Store
from fraudfed.errors import ConflictError


class Clock:
    """Seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def generations(app: Flask) -> GenerationService:
    services: Services = app.extensions["fraudfed"]
    return services.generations


@pytest.fixture
def deadlines(generations: GenerationService, clock: Clock) -> Deadlines:
    return Deadlines(generations, clock=clock)


def start(federation: Federation, *, cohort_size: int = 3, **changes: Any) -> list[FakeBank]:
    options = {"min_cohort": 2, "deadline_seconds": 10, **changes}
    return federation.start(cohort_size=cohort_size, **options)


def taking_part(federation: Federation, bank: FakeBank) -> tuple[str, list[str]]:
    status = federation.status(bank.run_id)
    return status["state"], status["generation"]["banks"]


def reason_of_the_last_generation(federation: Federation) -> str:
    found = [one for one in federation.audit() if one["kind"] == "generation"]
    assert found[-1]["actor"] == "service:deadline"
    reason: str = found[-1]["detail"].partition(": ")[2]
    return reason


def pass_time(deadlines: Deadlines, clock: Clock, seconds: float) -> None:
    """See what is waited for now, and again later."""
    deadlines.look()
    clock.now += seconds
    deadlines.look()


def test_who_does_not_contribute_in_time_is_gone_on_without(
    federation: Federation, deadlines: Deadlines, clock: Clock, store: Store
) -> None:
    banks = start(federation)
    names = [bank.name for bank in banks]
    # Nobody waits for anybody: no time runs.
    pass_time(deadlines, clock, 1000)
    banks[0].contribute(0, [1])
    banks[2].contribute(0, [1])
    pass_time(deadlines, clock, 9.99)
    assert taking_part(federation, banks[0]) == ("training", names)
    clock.now += 0.01
    deadlines.look()
    assert taking_part(federation, banks[0]) == ("gathering", [names[0], names[2]])
    assert reason_of_the_last_generation(federation) == (
        f"{names[1]} did not contribute to round 0 in time"
    )
    store.audit.verify()


def test_a_contribution_stops_no_clock_but_a_new_stage_does(
    federation: Federation, deadlines: Deadlines, clock: Clock
) -> None:
    banks = start(federation, cohort_size=4)
    names = [bank.name for bank in banks]
    banks[0].contribute(0, [1])
    pass_time(deadlines, clock, 9)
    for bank in banks[1:]:
        bank.contribute(0, [1])
    # They all have contributed; who opens has the whole time again.
    banks[0].open(0, 0, 1)
    pass_time(deadlines, clock, 9)
    banks[1].open(0, 1, 0)
    deadlines.look()
    assert taking_part(federation, banks[0]) == ("training", names)
    # The time is that of the first who waits: more who have done it do not give it anew.
    clock.now += 1
    deadlines.look()
    assert taking_part(federation, banks[0]) == ("gathering", names[:2])
    assert reason_of_the_last_generation(federation) == (
        f"{names[2]}, {names[3]} did not open their part of round 0 in time"
    )


def test_who_does_not_agree_in_time_is_gone_on_without(
    federation: Federation, deadlines: Deadlines, clock: Clock
) -> None:
    banks = start(federation, cohort_size=4)
    names = [bank.name for bank in banks]
    federation.drop(banks[0])
    # None has agreed, so none waits.
    pass_time(deadlines, clock, 100)
    banks[1].agree(1, step=0)
    banks[2].agree(1, step=0)
    pass_time(deadlines, clock, 10)
    assert taking_part(federation, banks[1]) == ("gathering", names[1:3])
    assert reason_of_the_last_generation(federation) == (
        f"{names[3]} did not agree to generation 1 in time"
    )
    # Those of this generation have the whole time again, however long they took before.
    banks[1].agree(2, step=0)
    pass_time(deadlines, clock, 9)
    banks[2].agree(2, step=0)
    deadlines.look()
    assert taking_part(federation, banks[1]) == ("training", names[1:3])


def test_who_submits_no_model_in_time_is_gone_on_without(
    federation: Federation, deadlines: Deadlines, clock: Clock
) -> None:
    banks = start(federation)
    sum_round(banks, 0, [[1], [2], [3]])
    for bank in banks[1:]:
        bank.submit_model()
    pass_time(deadlines, clock, 10)
    assert reason_of_the_last_generation(federation) == (
        f"{banks[0].name} did not submit a model in time"
    )


@pytest.mark.parametrize("allowed", [None, 60])
def test_the_start_has_a_deadline_only_if_the_run_says_so(
    federation: Federation, deadlines: Deadlines, clock: Clock, allowed: int | None
) -> None:
    banks = [federation.register(f"bank-{index}") for index in range(3)]
    run_id = federation.open_run(min_cohort=2, deadline_seconds=10, join_deadline_seconds=allowed)
    for bank in banks[:2]:
        bank.join(run_id)
    pass_time(deadlines, clock, 59)
    assert federation.status(run_id)["state"] == "open"
    clock.now += 10**6
    deadlines.look()
    assert federation.status(run_id)["state"] == ("open" if allowed is None else "training")


def test_too_few_are_waited_for_as_long_as_it_takes(
    federation: Federation, deadlines: Deadlines, clock: Clock, store: Store
) -> None:
    banks = start(federation, min_cohort=3)
    banks[0].contribute(0, [1])
    before = len(federation.audit())
    for _ in range(3):
        pass_time(deadlines, clock, 100)
    assert taking_part(federation, banks[0])[0] == "training"
    assert len(federation.audit()) == before
    banks[1].contribute(0, [1])
    banks[2].contribute(0, [1])
    assert banks[0].product(0, 0).status == 200


def test_runs_have_deadlines_of_their_own(
    federation: Federation, deadlines: Deadlines, clock: Clock
) -> None:
    banks = start(federation)
    slow = banks[0].run_id
    quick = federation.open_run(min_cohort=2, deadline_seconds=2)
    for run_id in (slow, quick):
        for bank in banks:
            bank.join(run_id)
        banks[0].contribute(0, [1])
        banks[1].contribute(0, [1])
    pass_time(deadlines, clock, 5)
    states = {run_id: federation.status(run_id)["state"] for run_id in (slow, quick)}
    assert states == {slow: "training", quick: "gathering"}
    # What has ended is not looked at any more.
    for run_id in (slow, quick):
        banks[0].run_id = run_id
        banks[0].abort()
    pass_time(deadlines, clock, 100)
    assert deadlines._since == {}


def test_a_service_that_was_restarted_gives_the_whole_time_again(
    federation: Federation, generations: GenerationService, deadlines: Deadlines, clock: Clock
) -> None:
    banks = start(federation)
    banks[0].contribute(0, [1])
    banks[1].contribute(0, [1])
    pass_time(deadlines, clock, 9)
    successor = Deadlines(generations, clock=clock)
    pass_time(successor, clock, 9)
    assert taking_part(federation, banks[0])[0] == "training"
    clock.now += 1
    successor.look()
    assert taking_part(federation, banks[0])[0] == "gathering"


def test_a_deadline_of_another_stage_has_no_effect(
    federation: Federation, generations: GenerationService
) -> None:
    """Another process may have seen what is over by now."""
    banks = start(federation)
    banks[0].contribute(0, [1])
    seen = generations.stages()[banks[0].run_id][1]
    assert seen is not None
    assert seen.missing == (banks[1].name, banks[2].name)
    for bank in banks[1:]:
        bank.contribute(0, [1])
    banks[0].open(0, 0, 1)
    before = federation.status(banks[0].run_id)
    generations.pass_deadline(banks[0].run_id, seen.key)
    assert federation.status(banks[0].run_id) == before


@pytest.mark.parametrize("failure", [ConflictError("no"), ZeroDivisionError()])
def test_a_look_that_fails_does_not_end_the_watch(
    failure: Exception,
    federation: Federation,
    generations: GenerationService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    looks: list[int] = []
    looked_again = threading.Event()
    original = generations.stages

    def stages() -> Any:
        looks.append(1)
        if len(looks) == 1:
            raise failure
        looked_again.set()
        return original()

    monkeypatch.setattr(generations, "stages", stages)
    deadlines = Deadlines(generations)
    deadlines.start()
    try:
        assert looked_again.wait(30)
    finally:
        deadlines.stop()
        deadlines._thread.join(30)
    assert not deadlines._thread.is_alive()
    assert "deadlines could not be looked at" in caplog.text


def test_a_run_that_cannot_be_changed_holds_up_no_other(
    federation: Federation,
    generations: GenerationService,
    deadlines: Deadlines,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    banks = start(federation)
    broken = banks[0].run_id
    sound = federation.open_run(min_cohort=2, deadline_seconds=10)
    for run_id in (broken, sound):
        for bank in banks:
            bank.join(run_id)
        banks[0].contribute(0, [1])
        banks[1].contribute(0, [1])
    original = generations.pass_deadline

    def fail(run_id: str, stage: tuple[str, int, int]) -> None:
        if run_id == broken:
            raise OSError("disk full")
        original(run_id, stage)

    monkeypatch.setattr(generations, "pass_deadline", fail)
    pass_time(deadlines, clock, 10)
    assert federation.status(sound)["state"] == "gathering"
    assert broken in caplog.text
