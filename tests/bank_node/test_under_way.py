"""Pieces under way: the order is that of one after the other, and nothing made is lost unseen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bank_node.run.sums.under_way import UnderWay


@given(st.integers(1, 12))
def test_every_piece_is_given_and_settled_once_and_in_order(count: int) -> None:
    settled: list[int] = []
    dropped: list[int] = []
    with UnderWay[int, int](lambda index: index, count, drop=dropped.append) as under_way:
        for index in range(count):
            piece = under_way.next()
            assert piece == index
            # Whatever of the piece before was left is settled before this one goes on.
            under_way.settle()
            assert settled == [*range(index)]
            under_way.later(lambda piece=piece: piece, settled.append)
        with pytest.raises(IndexError):
            under_way.next()
    assert settled == [*range(count)]
    assert dropped == []


def test_what_fails_is_raised_where_it_is_asked_for() -> None:
    def prepare(index: int) -> int:
        if index == 1:
            raise ValueError("piece 1")
        return index

    def fails() -> int:
        raise ValueError("work")

    dropped: list[int] = []
    with UnderWay[int, int](prepare, 3, drop=dropped.append) as under_way:
        assert under_way.next() == 0
        under_way.later(fails, dropped.append)
        with pytest.raises(ValueError, match="work"):
            under_way.settle()
        under_way.settle()
        with pytest.raises(ValueError, match="piece 1"):
            under_way.next()
    assert dropped == []


def interrupted(dropped: list[int]) -> None:
    with UnderWay[int, int](lambda index: index, 3, drop=dropped.append) as under_way:
        under_way.next()
        under_way.later(lambda: 0, lambda _: None)
        under_way.settle()
        raise KeyboardInterrupt


def test_a_piece_that_was_made_before_its_turn_is_handed_back_when_the_block_ends() -> None:
    dropped: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(dropped)
    # The next one was made by then: the thread does one thing after the other.
    assert dropped == [1]
