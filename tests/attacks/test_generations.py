"""A server that lies about who takes part, from where on, and about what was trained so far.

Each bank takes part by ``Generations``, told what the server wants it to believe, and then sums
with the others through a server that leaves out every check of its own.
"""

from typing import Any

import pytest
from attack_kit.entering import (
    ENTRANT,
    FIRST,
    MEMBERS,
    NAMES,
    TOLD,
    Banks,
    Lie,
    assert_no_number,
    assert_sum,
)
from federations.scripted import Script

from bank_node.run import generations as participation
from bank_node.run.agreeing import Agreeing
from bank_node.run.generations import Generations
from bank_node.state.outbox import Outbox
from fraudfed.errors import (
    FraudFedError,
    KeyMaterialError,
    ProtocolError,
    StateError,
)
from fraudfed.wire.messages import (
    Generation,
    RunState,
    RunStatus,
)

Patch = pytest.MonkeyPatch


def told_only(victim: str, **changes: Any) -> Lie:
    """Tell one bank something else than the others."""

    def lie(name: str, told: Generation) -> Generation:
        return told.model_copy(update=changes) if name == victim else told

    return lie


def test_banks_that_are_told_the_same_sum(banks: Banks) -> None:
    assert_sum(banks.sum())


def answered(name: str, **changes: Any) -> Generation:
    """Return the generation with another answer of one bank."""
    ready = tuple(one.model_copy(update=changes) if one.bank == name else one for one in TOLD.ready)
    return TOLD.model_copy(update={"ready": ready})


#: Banks that believe them get no number.
LIES = {
    "first round": {"first_round": 10},
    "rows of another": {"ready": answered(ENTRANT, more_rows=1).ready},
    "step of another": {"ready": answered("bank-2", step=3).ready},
}


@pytest.mark.parametrize("lie", LIES)
def test_banks_that_are_told_different_generations_get_no_number(banks: Banks, lie: str) -> None:
    assert_no_number(banks.sum(told_only("bank-1", **LIES[lie])))


@pytest.mark.parametrize("lie", LIES)
def test_control_without_the_generation_in_the_facts_they_sum(
    banks: Banks, monkeypatch: Patch, lie: str
) -> None:
    monkeypatch.setattr(participation, "run_facts", lambda *_, **__: b"the run")
    assert_sum(banks.sum(told_only("bank-1", **LIES[lie])))


#: What a bank knows better is refused by it: nothing is sealed.
KNOWN = {
    "number": {"number": 2},
    "banks": {"banks": ("bank-0", "bank-1", "bank-3")},
    "first step": {"first_step": 1},
    "first step of an entrant": {"first_step": 0},
    "answers missing": {"ready": TOLD.ready[:3]},
    "answers of nobody": {"ready": ()},
    "own step": {"ready": answered("bank-1", step=1).ready},
    "own rows": {"ready": answered("bank-1", more_rows=8).ready},
    "own key": {"ready": (TOLD.ready[0], MEMBERS.answer("bank-1", 2), *TOLD.ready[2:])},
    "no entrant": {"entrants": ()},
    "another entrant": {"entrants": ("bank-2", "bank-3")},
    "itself an entrant": {"entrants": ("bank-1", "bank-3")},
}


@pytest.mark.parametrize("lie", KNOWN)
def test_what_a_bank_said_or_knows_is_not_told_otherwise(banks: Banks, lie: str) -> None:
    told = told_only("bank-1", **KNOWN[lie])("bank-1", TOLD)
    with pytest.raises((ProtocolError, StateError, KeyMaterialError)):
        banks.enter("bank-1", told)
    latest = banks.checkpoints("bank-1").latest()
    assert latest is not None
    assert latest.generation == 0


def test_a_bank_is_a_member_of_what_it_takes_part_in(banks: Banks) -> None:
    banks.agree("bank-1", TOLD)
    lied = banks.status(TOLD).model_copy(update={"members": ("bank-0", "bank-2", "bank-3")})
    with pytest.raises(ProtocolError, match="said to be no member"):
        banks.bank("bank-1", Script(lied)).next_entry()


def test_an_agreement_that_is_not_repeated_is_noticed_at_once(banks: Banks) -> None:
    """Also where the run is still said to gather: the others would be told another answer."""
    forming = TOLD.model_copy(update={"ready": (), "first_step": 0, "first_round": 0})
    gathering = banks.status(forming, RunState.GATHERING)
    script = Script(gathering, gathering, gathering, echoes=False)
    generations = banks.bank("bank-1", script)
    assert catches_up(generations)
    with pytest.raises(ProtocolError, match="said not to have"):
        generations.next_entry()


def test_control_without_the_echo_another_answer_of_its_own_is_believed(
    banks: Banks, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("bank_node.run.agreeing.check_echo", lambda *_: None)
    told = told_only("bank-1", **KNOWN["own rows"])("bank-1", TOLD)
    assert banks.enter("bank-1", told).checkpoint.generation == 1


# After an agreement, nothing of the generation before


def catches_up(generations: Generations) -> bool:
    """Let a bank read what the others have closed, before it agrees."""
    entry = generations.next_entry()
    return entry is not None and entry.at.catches_up


def forming(number: int) -> Generation:
    return Generation(number=number, banks=NAMES[:3])


def test_after_an_agreement_nothing_of_an_earlier_generation_is_opened(banks: Banks) -> None:
    """A product of generation 0 is offered after the bank has agreed to generation 1."""
    name, seed = "bank-1", bytes(range(32))
    outbox = Outbox(banks.root / f"{name}.sealed")
    # Sealed for an open round of generation 0, and not revealed.
    outbox.keep("5" * 64, b"frame", seed=seed, label="histogram", round_number=8)
    old_key = MEMBERS.key(name, 0).expose_secret().hex().encode()
    file = banks.root / f"{name}.agreement"
    assert seed in (banks.root / f"{name}.sealed").read_bytes()
    assert old_key in file.read_bytes()
    gathering = banks.status(forming(1), RunState.GATHERING)
    script = Script(gathering, gathering, gathering, banks.status(FIRST))
    generations = banks.bank(name, script)
    assert catches_up(generations)
    with pytest.raises(StateError, match=r"agreed to generation 1.*there is generation 0"):
        generations.next_entry()
    # When it was said, seed and key were gone from the disk.
    assert seed not in (banks.root / f"{name}.sealed").read_bytes()
    assert old_key not in file.read_bytes()
    # Started again, it neither continues with the old one nor reads any of its rounds.
    for state in (RunState.TRAINING, RunState.GATHERING):
        with pytest.raises(StateError, match="agreed to generation 1"):
            banks.bank(name, Script(banks.status(FIRST, state))).next_entry()
    script = Script(*[gathering] * 3)
    with pytest.raises(FraudFedError, match="did not agree"):
        banks.bank(name, script).next_entry()
    assert [call for call in script.calls if call[0] == "ready"] == [("ready", 1, 2, 0)]


def test_control_without_the_agreement_an_earlier_generation_is_continued(
    banks: Banks, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("bank_node.state.agreement.Agreements.agree", lambda self, said: None)
    monkeypatch.setattr(Agreeing, "check_told", lambda self, status: None)
    monkeypatch.setattr(Agreeing, "check_repeated", lambda self, status, number: None)
    monkeypatch.setattr(
        Agreeing, "_answer", lambda self, generation, **_: MEMBERS.answer("bank-1", 1)
    )
    gathering = banks.status(forming(1), RunState.GATHERING)
    told = [gathering] * 3 + [banks.status(FIRST)] * 2
    script = Script(*told, echoes=False)
    generations = banks.bank("bank-1", script)
    assert catches_up(generations)
    entry = generations.next_entry()
    assert entry is not None
    assert entry.checkpoint.generation == 0


# Entering late


@pytest.mark.parametrize("state", [RunState.GATHERING, RunState.TRAINING])
def test_a_bank_that_never_asked_enters_nothing(banks: Banks, state: RunState) -> None:
    """One that takes part is told that it is new, and would take over what it is handed."""
    told = TOLD.model_copy(update={"entrants": ("bank-1", ENTRANT)})
    if state is RunState.GATHERING:
        told = told.model_copy(update={"ready": ()})
    script = Script(*[banks.status(told, state)] * 3)
    with pytest.raises((ProtocolError, StateError)):
        banks.bank("bank-1", script).next_entry()
    assert [call[0] for call in script.calls] == ["run"]
    agreement = MEMBERS.agreements(banks.root, "bank-1").last
    assert agreement is not None
    assert agreement.generation == 0


def test_control_without_having_asked_a_bank_agrees_to_enter(
    banks: Banks, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(Agreeing, "_require_asked", lambda self, generation: None)
    told = TOLD.model_copy(update={"entrants": ("bank-1", ENTRANT), "ready": ()})
    script = Script(*[banks.status(told, RunState.GATHERING)] * 3)
    with pytest.raises(FraudFedError, match="did not agree"):
        banks.bank("bank-1", script).next_entry()
    assert ("ready", 1, 2, 8) in script.calls


def test_a_bank_notes_that_it_asks_before_it_does(banks: Banks) -> None:
    without = Generation(number=1, banks=NAMES[:3])
    asked: list[int | None] = []

    class Asked(Script):
        def join(self, run_id: str, body: Any) -> RunStatus:
            asked.append(MEMBERS.agreements(banks.root, ENTRANT).asked)
            assert body.key is None
            return super().join(run_id, body)

    out = banks.status(without)
    script = Asked(out, out, banks.status(TOLD.model_copy(update={"number": 3, "ready": ()})))
    script.joined = out.model_copy(update={"waiting": (ENTRANT,)})
    # It was told that it waits, and is told that it does not.
    script.statuses[1] = script.joined
    with pytest.raises(FraudFedError):
        banks.bank(ENTRANT, script).next_entry()
    assert asked == [1]


@pytest.mark.parametrize("number", [0, 1])
def test_a_bank_that_takes_part_is_not_told_that_it_does_not(banks: Banks, number: int) -> None:
    name = "bank-1"
    if number:
        banks.agree(name, TOLD)
    told = Generation(number=number, banks=("bank-0", "bank-2", "bank-3"))
    script = Script(*[banks.status(told)] * 2)
    with pytest.raises(ProtocolError, match="the aggregator is at fault"):
        banks.bank(name, script).next_entry()
    assert [call[0] for call in script.calls] == ["run"]


def test_a_bank_that_waits_is_not_told_that_it_does_not(banks: Banks) -> None:
    out = banks.status(Generation(number=1, banks=NAMES[:3]))
    waits = out.model_copy(update={"waiting": (ENTRANT,)})
    script = Script(out, out, out)
    script.joined = waits
    with pytest.raises(ProtocolError, match="waits to be let in, and is said not to"):
        banks.bank(ENTRANT, script).next_entry()
    script = Script(out)
    script.joined = out
    with pytest.raises(ProtocolError, match="has asked to be let in, and is said not to wait"):
        banks.bank(ENTRANT, script).next_entry()
