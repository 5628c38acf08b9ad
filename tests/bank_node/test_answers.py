"""What others said to a generation, and who enters it: as far as a bank can know."""

from types import SimpleNamespace
from typing import Any

import pytest
from federations.agreements import AgreeingBanks
from hypothesis import given
from hypothesis import strategies as st

from bank_node.run.agreement.answers import check_answers, check_entrants
from fraudfed.errors import ProtocolError
from fraudfed.wire.messages import Generation

NAMES = ("a", "b", "c", "d")
MEMBERS = AgreeingBanks(NAMES, "r")
EPOCH: Any = SimpleNamespace(epoch=1, roster=MEMBERS.roster)
SETS = st.sets(st.sampled_from(NAMES[1:])).map(lambda some: tuple(sorted({"a", *some})))


def generation(number: int, banks: tuple[str, ...], *entrants: str) -> Generation:
    return Generation(number=number, banks=banks, entrants=tuple(sorted(entrants)))


def knows(*earlier: tuple[str, ...]) -> Any:
    return SimpleNamespace(earlier=earlier)


def behind(number: int, cohort: tuple[str, ...]) -> Any:
    return SimpleNamespace(generation=number, cohort=cohort)


@given(SETS, SETS)
def test_right_behind_its_own_generation_a_bank_knows_who_enters(
    before: tuple[str, ...], banks: tuple[str, ...]
) -> None:
    last, right = behind(3, before), set(banks) - set(before)
    check_entrants(generation(4, banks, *right), "a", knows(), last)
    for name in set(banks) - {"a"}:
        told = generation(4, banks, *(right ^ {name}))
        with pytest.raises(ProtocolError, match="entrants are said to be"):
            check_entrants(told, "a", knows(), last)


def test_later_it_knows_that_a_bank_it_never_met_enters() -> None:
    last = behind(1, ("a", "b", "c"))
    for entrants in (("d",), ("c", "d")):
        # Bank c may have dropped out and come back unseen.
        check_entrants(generation(4, NAMES, *entrants), "a", knows(), last)
    with pytest.raises(ProtocolError, match="no generation that this bank knows"):
        check_entrants(generation(4, NAMES, "c"), "a", knows(), last)
    # It agreed to one with d, which may have begun while it was down.
    check_entrants(generation(4, NAMES), "a", knows(NAMES), last)
    check_entrants(generation(4, NAMES), "a", knows(("a", "b"), NAMES), last)
    with pytest.raises(ProtocolError):
        check_entrants(generation(4, NAMES), "a", knows(("a", "b")), last)


def test_an_entrant_and_the_first_generation_know_nothing() -> None:
    check_entrants(generation(4, NAMES, "a", "c"), "a", knows(), behind(3, NAMES))
    check_entrants(generation(0, NAMES), "a", knows(), None)
    check_entrants(generation(2, NAMES, "d"), "a", knows(), None)


@pytest.mark.parametrize("entrants", [("x",), ("c", "b"), ("b", "b")])
def test_entrants_are_banks_of_it_in_order(entrants: tuple[str, ...]) -> None:
    told = Generation(number=1, banks=NAMES[:3], entrants=entrants)
    with pytest.raises(ProtocolError, match="expected some of"):
        check_entrants(told, "a", knows(), behind(0, ("a",)))


def test_the_first_generation_begins_at_the_beginning() -> None:
    told = MEMBERS.all_ready(generation(0, NAMES))
    keys = check_answers(told, "r", EPOCH)
    assert keys == tuple((one.bank, one.key) for one in told.ready)
    later = (MEMBERS.answer("a", 0, step=1), *told.ready[1:])
    more = (MEMBERS.answer("a", 0, more_rows=64), *told.ready[1:])
    for changes in (
        {"first_step": 1},
        {"first_round": 1},
        {"entrants": ("d",)},
        {"ready": later},
        {"ready": more},
    ):
        with pytest.raises(ProtocolError, match="begin after the beginning"):
            check_answers(told.model_copy(update=changes), "r", EPOCH)


def test_a_generation_of_entrants_alone_is_refused() -> None:
    told = MEMBERS.all_ready(generation(1, NAMES, *NAMES))
    with pytest.raises(ProtocolError, match="those that stay have finished none"):
        check_answers(told, "r", EPOCH)
