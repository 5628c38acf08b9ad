"""States of searches from elsewhere: damaged, made up, or of sums that no rows have."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from examples.searched import COMMON, SPEC, TABLE, alone, only
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.bounds.bins import BinBounds
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import StateError, SumError
from fraudfed.search import state as state_module
from fraudfed.search.halving import Point
from fraudfed.search.held_state import check_search_state
from fraudfed.search.state import SearchState
from fraudfed.wire.messages.kinds.search import SearchSpec


def states_of(spec: SearchSpec = SPEC) -> list[SearchState]:
    found: list[SearchState] = []
    alone(spec, on_step=found.append)
    return found


STATES = states_of()
#: After three trees: two candidates were dropped, three are alive, the last tree is not measured.
STATE = STATES[3]
CONTENT = state_module._CONTAINER.unpack(STATE.to_bytes(), source="test")


def check(state: SearchState, spec: SearchSpec = SPEC) -> None:
    again = SearchState.from_bytes(state.to_bytes(), schema=TABLE.schema)
    assert again.to_bytes() == state.to_bytes()
    check_search_state(again, spec, COMMON, schema=TABLE.schema, max_weight=1.0)


def test_every_state_of_a_search_is_accepted() -> None:
    for state in STATES:
        check(state)


def changed(number: int, **changes: Any) -> Callable[[SearchState], SearchState]:
    """Change one candidate."""

    def change(state: SearchState) -> SearchState:
        candidates = list(state.candidates)
        candidates[number] = replace(candidates[number], **changes)
        return replace(state, candidates=tuple(candidates))

    return change


ALIVE = next(number for number, each in enumerate(STATE.candidates) if each.is_alive)
DROPPED = next(number for number, each in enumerate(STATE.candidates) if not each.is_alive)
CURVE = STATE.candidates[ALIVE].curve


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: replace(state, of_search=bytes(32)), "of another search"),
        (lambda state: state.regrouped(), "asks for a count"),
        (changed(DROPPED, n_trees=1, curve=CURVE[:1]), "dropped where no rung ends"),
        (changed(ALIVE, curve=CURVE[:1]), "not measured after each"),
        (changed(ALIVE, curve=(*CURVE, Point(3, 0.5, None))), "not measured after each"),
        (changed(ALIVE, base_score=0.1), "base score"),
        (
            changed(DROPPED, is_alive=True, n_trees=3, trees=STATE.candidates[ALIVE].trees),
            "another number of live",
        ),
        (
            lambda state: replace(state, cuts={**state.cuts, 99: state.cuts[12]}),
            "candidates or cuts",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_state_that_no_search_comes_to_is_refused(
    change: Callable[[SearchState], SearchState], reason: str
) -> None:
    state = change(STATE)
    if reason == "base score":
        # Of the candidate that says its own: the others' is estimated.
        number = next(n for n, c in enumerate(SPEC.candidates) if "base_score" in c.parameters)
        state = changed(number, base_score=0.25, is_alive=True)(STATES[1])
    with pytest.raises(StateError, match=reason):
        check(state)


def test_more_trees_than_the_last_rung_are_refused() -> None:
    spec = only(SPEC.candidates[0])
    last = states_of(spec)[-1]
    grown = replace(
        last.candidates[0],
        n_trees=6,
        trees=(*last.candidates[0].trees, last.candidates[0].trees[0]),
    )
    state = replace(last, candidates=(grown, last.candidates[1]))
    with pytest.raises(StateError, match="more trees than the last rung"):
        check(state, spec)


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_any_change_of_the_bytes_is_refused_or_is_a_state_to_continue_from(
    changes: list[tuple[int, int]],
) -> None:
    content = bytearray(CONTENT)
    for at, value in changes:
        content[at] = value
    data = state_module._CONTAINER.pack(bytes(content))
    try:
        state = SearchState.from_bytes(data, schema=TABLE.schema)
        check_search_state(state, SPEC, COMMON, schema=TABLE.schema, max_weight=1.0)
    except StateError:
        return
    assert state.to_bytes() == data
    # Numbers that could have been: the search goes on, or the first sum shows them to be none.
    stop = Stop()
    try:
        alone(start=state, on_step=stop)
    except (SumError, Stop.Enough):
        return


class Stop:
    """Ends a search after a step."""

    class Enough(Exception):  # noqa: N818
        """It has gone far enough."""

    def __call__(self, state: SearchState) -> None:
        raise self.Enough


def test_bytes_that_were_cut_off_or_are_of_another_kind_are_refused() -> None:
    data = STATE.to_bytes()
    for wrong in (b"", data[:-1], data + b"\0", data[:40], bytes(len(data))):
        with pytest.raises(StateError, match="search state"):
            SearchState.from_bytes(wrong, schema=TABLE.schema)
    for cut in range(0, len(CONTENT), 997):
        short = state_module._CONTAINER.pack(CONTENT[:cut])
        with pytest.raises(StateError):
            SearchState.from_bytes(short, schema=TABLE.schema)


def test_a_regrouped_state_forgets_what_sums_have_said_of_bins() -> None:
    # One candidate samples no rows, so that its roots say something of the next.
    assert any(isinstance(each.bins, BinBounds) for each in STATES[1].candidates)
    new = STATES[1].regrouped(more_rows=3)
    assert all(each.bins is None for each in new.candidates)
    assert (new.more_rows, new.counts_select) == (3, True)


class Lying(SoloCommunicator):
    """Adds to the sums of one kind."""

    def __init__(self, kind: str, at: int, more: int) -> None:
        self.lie = kind, at, more

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        kind, at, more = self.lie
        sums = super().sum(values, bound=bound, low=low, label=label)
        if label.startswith(kind):
            sums[at] += more
        return sums


@pytest.mark.parametrize(
    ("kind", "at", "more"),
    [("rows", 4, 10_000), ("rows", 3, 10_000), ("select", 0, 2**40), ("select", -1, 1)],
)
def test_sums_that_no_rows_have_are_refused(kind: str, at: int, more: int) -> None:
    with pytest.raises(SumError, match="opened sum"):
        alone(communicator=Lying(kind, at, more))


def test_the_same_sums_without_a_lie_are_accepted() -> None:
    assert alone(communicator=Lying("rows", 4, 0)).to_json() == alone().to_json()
    assert np.isfinite(alone().best.mean_of_banks)
