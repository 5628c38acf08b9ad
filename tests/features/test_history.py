"""What is remembered of a key, against lists that remember everything."""

from hypothesis import given
from hypothesis import strategies as st

from fraudfed.features.history import (
    CREDIT,
    KINDS,
    NEVER,
    OUTFLOW,
    CustomerHistory,
    EntityHistory,
)

WIDTH = 20


@given(
    rows=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=60),
    lateness=st.integers(0, 60),
)
def test_distinct_customers_in_any_order(rows: list[tuple[int, int]], lateness: int) -> None:
    payee, customers, seen = EntityHistory(), [CustomerHistory() for _ in range(4)], []
    latest = 0
    for time, who in rows:
        latest = max(latest, time)
        oldest = latest - lateness
        if time < oldest:
            continue
        customer = customers[who]
        customer.meet(b"payee", time)
        previous, following = customer.neighbours(b"payee", time)
        customer.insert(time, 5, kind=0, other=b"payee")
        payee.insert_between(previous, time, following, oldest=oldest - WIDTH)
        customer.forget(payments=oldest - WIDTH, places=0, reports=0)
        payee.forget(payments=oldest - WIDTH, reports=0)
        seen.append((time, who))
        for now in range(max(oldest, 0), latest + 2):
            inside = [who for then, who in seen if now - WIDTH <= then < now]
            assert payee.count(now - WIDTH, now) == len(inside)
            assert payee.distinct(now - WIDTH, now) == len(set(inside))


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 9), st.sampled_from(KINDS)), max_size=60
    )
)
def test_the_latest_of_each_kind_outlives_what_is_forgotten(
    rows: list[tuple[int, int, int]],
) -> None:
    history, seen, now = CustomerHistory(), [], 0
    for gap, amount, kind in rows:
        now += gap
        history.insert(now, amount, kind=kind, other=None)
        history.forget(payments=now - WIDTH, places=now, reports=now)
        seen.append((now, kind))
        asked = now + 1
        assert history.latest(asked) == now
        for one in (CREDIT, OUTFLOW):
            latest = max((time for time, what in seen if what == one), default=NEVER)
            assert history.latest_of(one, asked) == latest
        credit = history.latest_of(CREDIT, asked)
        left = [time for time, what in seen if what == OUTFLOW and time > credit != NEVER]
        assert history.seconds_to_outflow(asked) == (min(left) - credit if left else None)


def test_of_one_second_the_greatest_identifier_says_where() -> None:
    history = CustomerHistory()
    for place in ((5, "b", 1.0, 2.0), (5, "a", 3.0, 4.0), (9, "a", 5.0, 6.0), (2, "z", 7.0, 8.0)):
        history.stand(place)
    assert history.place_before(5) == (2, "z", 7.0, 8.0)
    assert history.place_before(6) == (5, "b", 1.0, 2.0)
    history.forget(payments=0, places=8, reports=0)
    assert [place[0] for place in history.places] == [5, 9]
