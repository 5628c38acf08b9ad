"""What the one-at-a-time builder remembers, against lists that remember everything."""

from hypothesis import given
from hypothesis import strategies as st

from fraudfed.features.history import FanIn, LatestSeconds, Payments, ReportedFrauds

#: Steps in time between events; 0 is a tie.
steps = st.lists(st.integers(0, 3), max_size=300)


def times_of(gaps: list[int]) -> list[int]:
    times, now = [], 100
    for gap in gaps:
        now += gap
        times.append(now)
    return times


@given(gaps=steps, memory=st.integers(1, 40), width=st.integers(0, 40))
def test_payments_are_counted_and_summed_within_memory(
    gaps: list[int], memory: int, width: int
) -> None:
    payments, kept = Payments(), []
    for number, time in enumerate(times_of(gaps)):
        payments.add(time, 7 * number)
        kept.append((time, 7 * number))
        while kept[0][0] < time - memory:
            payments.forget_oldest()
            kept.pop(0)
        assert len(payments) == len(kept)
        for start, stop in ((time - width, time), (time - width, time + 1)):
            inside = [amount for when, amount in kept if start <= when < stop]
            assert payments.window(start, stop) == (len(inside), sum(inside))


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=40))
def test_the_latest_second_and_the_one_before(rows: list[tuple[int, int]]) -> None:
    seconds: LatestSeconds[tuple[int]] = LatestSeconds()
    seen: list[tuple[int, int]] = []
    now = 0
    for gap, value in rows:
        now += gap
        seconds.add(now, (value,))
        seen.append((now, value))
        for asked in (now, now + 1):
            earlier = [(time, value) for time, value in seen if time < asked]
            found = seconds.earlier_than(asked)
            assert found == ((max(earlier)[0], (max(earlier)[1],)) if earlier else None)


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)), max_size=60),
    width=st.integers(1, 20),
)
def test_distinct_customers_are_payments_less_superseded_ones(
    rows: list[tuple[int, int, int]], width: int
) -> None:
    fan_in, payments, seen = FanIn(), Payments(), []
    now = 100
    for gap, customer, _ in rows:
        now += gap
        start = now - width
        while seen and seen[0][0] < now - 20:
            time, gone = seen.pop(0)
            payments.forget_oldest()
            fan_in.forget(time, gone)
        count, _ = payments.window(start, now)
        distinct = {who for time, who in seen if start <= time < now}
        assert count - fan_in.superseded(start, now=now) == len(distinct)
        fan_in.add(now, f"c{customer}")
        payments.add(now, 1)
        seen.append((now, f"c{customer}"))


@given(starts=st.lists(st.integers(0, 100), max_size=30), width=st.integers(0, 40))
def test_frauds_count_from_their_own_second_on(starts: list[int], width: int) -> None:
    known = ReportedFrauds()
    for start in starts:
        known.add(start)
    for now in range(0, 150, 3):
        assert known.count(width, now=now) == sum(now - width <= start < now for start in starts)
        # What began to count before every window is never asked for again.
        known.forget_before(now - width)
    assert len(known) == sum(start >= 147 - width for start in starts)
