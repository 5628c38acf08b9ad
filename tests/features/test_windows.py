"""Windows, sums, intervals and distinct counts against a double loop."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.features.windows import KeyedTimeline, running_total

LOOKBACK = 20
events = st.lists(
    st.tuples(st.integers(0, 3), st.integers(100, 130), st.integers(-5, 5)), max_size=40
)


def lay(rows: list[tuple[int, int, int]]) -> tuple[KeyedTimeline, list[tuple[int, int, int]]]:
    """Return the timeline, and the rows in its order."""
    array = np.array(rows, dtype=np.int64).reshape(-1, 3)
    timeline = KeyedTimeline.of(array[:, 0], array[:, 1], lookback=LOOKBACK)
    return timeline, [rows[i] for i in timeline.order]


@given(rows=events)
def test_order_sorts_by_key_then_time(rows: list[tuple[int, int, int]]) -> None:
    timeline, in_order = lay(rows)
    assert [row[:2] for row in in_order] == sorted(row[:2] for row in rows)
    assert timeline.codes.tolist() == [key for key, _, _ in in_order]
    assert timeline.times.tolist() == [time for _, time, _ in in_order]
    assert timeline.n_events == len(rows)


@given(rows=events, width=st.integers(0, 12), delay=st.integers(0, 8))
def test_window_count_and_sum(rows: list[tuple[int, int, int]], width: int, delay: int) -> None:
    timeline, in_order = lay(rows)
    values = np.array([value for _, _, value in in_order], dtype=np.int64)
    (window,) = timeline.windows([width], delay=delay)
    inside = [
        [v for k, t, v in rows if k == key and now - delay - width <= t < now - delay]
        for key, now, _ in in_order
    ]
    assert window.count().tolist() == [len(values) for values in inside]
    assert window.sum(running_total(values)).tolist() == [sum(values) for values in inside]


@given(rows=events)
def test_previous_is_the_latest_earlier_second(rows: list[tuple[int, int, int]]) -> None:
    timeline, in_order = lay(rows)
    for (key, now, _), before in zip(in_order, timeline.previous().tolist(), strict=True):
        earlier = [t for k, t, _ in rows if k == key and t < now]
        if earlier:
            assert in_order[before][:2] == (key, max(earlier))
        else:
            assert before == -1


@given(
    rows=events,
    intervals=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 30)), max_size=20
    ),
)
def test_covering_counts_half_open_intervals(
    rows: list[tuple[int, int, int]], intervals: list[tuple[int, int, int]]
) -> None:
    if not rows:
        return
    timeline, in_order = lay(rows)
    keys = sorted({key for key, _, _ in rows})
    first, last = min(t for _, t, _ in rows), max(t for _, t, _ in rows)
    placed = [
        (keys[key % len(keys)], first + a, min(first + b, last + LOOKBACK))
        for key, a, b in intervals
    ]
    array = np.array(placed, dtype=np.int64).reshape(-1, 3)
    covering = timeline.covering(array[:, 0], array[:, 1], array[:, 2])
    assert covering.tolist() == [
        sum(k == key and start < now <= end for k, start, end in placed) for key, now, _ in in_order
    ]


@given(rows=events, width=st.integers(0, LOOKBACK))
def test_distinct_members_of_a_window(rows: list[tuple[int, int, int]], width: int) -> None:
    timeline, in_order = lay(rows)
    members = np.array([value + 5 for _, _, value in in_order], dtype=np.int64)
    assert timeline.distinct(members, width=width).tolist() == [
        len({v for k, t, v in rows if k == key and now - width <= t < now})
        for key, now, _ in in_order
    ]


@given(rows=events)
def test_ties_follow_the_names(rows: list[tuple[int, int, int]]) -> None:
    timeline, _ = lay(rows)
    names = pd.Series([f"{(7 * i) % 41:02d}" for i in range(len(rows))], dtype="str")
    tied = timeline.with_ties_by(names)
    assert tied.order.tolist() == sorted(
        range(len(rows)), key=lambda i: (rows[i][0], rows[i][1], names[i])
    )
    np.testing.assert_array_equal(tied.positions, timeline.positions)


@given(rows=events, kept=st.sets(st.integers(0, 39)))
def test_only_some_events_are_as_if_laid_alone(
    rows: list[tuple[int, int, int]], kept: set[int]
) -> None:
    timeline, _ = lay(rows)
    chosen = np.array([i in kept for i in range(len(rows))], dtype=np.bool_)
    some = timeline.only(chosen)
    alone, in_order = lay([row for i, row in enumerate(rows) if i in kept])
    assert [rows[i][:2] for i in some.order] == [row[:2] for row in in_order]
    assert set(some.order.tolist()) == {i for i in range(len(rows)) if i in kept}
    np.testing.assert_array_equal(some.previous(), alone.previous())


def test_sum_is_exact_where_the_running_total_wraps() -> None:
    rows = [(key, 100 + i, 2**61) for key in range(8) for i in range(3)]
    timeline, _ = lay(rows)
    (window,) = timeline.windows([LOOKBACK])
    total = window.sum(running_total(np.full(24, 2**61, dtype=np.int64)))
    assert total.tolist() == [0, 2**61, 2**62] * 8


def test_lag_beyond_the_lookback_is_refused() -> None:
    timeline, _ = lay([(0, 100, 0)])
    with pytest.raises(ValueError, match="lag is 21 seconds, expected 0 to the lookback 20"):
        timeline.windows([13], delay=8)
    with pytest.raises(ValueError, match="width is 21 seconds"):
        timeline.distinct(np.zeros(1, dtype=np.int64), width=21)


def test_an_axis_that_would_overflow_is_refused() -> None:
    codes = np.array([0, 2**40], dtype=np.int64)
    times = np.array([0, 2**33], dtype=np.int64)
    with pytest.raises(OverflowError, match="do not fit on one int64 axis"):
        KeyedTimeline.of(codes, times, lookback=0)
