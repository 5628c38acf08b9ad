"""Computations at the same pace: each gets what it would get alone, by the fewest sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.communicator import SoloCommunicator, Summing, SumRequest, carry_out
from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError
from fraudfed.search import lockstep
from fraudfed.search.lockstep import Meter, together

Shapes = list[list[tuple[int, ...]]]


class Doubling:
    """Two banks with the same values."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.labels: list[str] = []

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        self.sizes.append(values.size)
        self.labels.append(label)
        return SoloCommunicator().sum(2 * values, bound=bound, low=low, label=label)


def asking(shapes: list[tuple[int, ...]], number: int) -> Summing[list[Int64Array]]:
    """Ask for sums of some shapes, one after the other; every second has bounds of its own."""
    found = []
    for at, shape in enumerate(shapes):
        values = np.arange(np.prod(shape, dtype=int), dtype=np.int64).reshape(shape) + number
        bound = 2 * values if at % 2 else 2 * int(values.max(initial=0))
        low = None if at % 3 == 0 else 0
        sums = yield SumRequest(values=values, bound=bound, low=low, label=f"test:{at}")
        assert sums.shape == shape
        found.append(sums)
    return found


shapes_of_one = st.lists(
    st.lists(st.integers(0, 4), min_size=1, max_size=2).map(tuple), min_size=0, max_size=4
)


@settings(max_examples=60, deadline=None)
@given(shapes=st.lists(shapes_of_one, max_size=5), most=st.sampled_from([1, 7, 1000]))
def test_each_gets_what_it_would_get_alone(shapes: Shapes, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lockstep, "MOST_VALUES", most)
        meter, communicator = Meter(), Doubling()
        joined = together([asking(each, number) for number, each in enumerate(shapes)])
        found = carry_out(meter.metered(joined), communicator)
    alone = [carry_out(asking(each, n), Doubling()) for n, each in enumerate(shapes)]
    assert [[part.tolist() for part in each] for each in found] == [
        [part.tolist() for part in each] for each in alone
    ]
    assert meter.rounds == len(communicator.sizes)
    largest = max((int(np.prod(s)) for each in shapes for s in each), default=0)
    assert max(communicator.sizes, default=0) <= max(most, largest)
    if most == 1000:
        assert meter.rounds == max(map(len, shapes), default=0)


def test_labels_say_how_many_share_a_sum_and_values_without_room_cost_nothing() -> None:
    meter, communicator = Meter(), Doubling()
    work = [asking([(2,), (1,)], 0), asking([(3,)], 1)]
    carry_out(meter.metered(together(work)), communicator)
    assert communicator.labels == ["test:0 of 2", "test:1"]
    # Of (0, 1) and (0,) the second bound is the value itself: 0 takes no room.
    assert (meter.rounds, meter.values) == (2, 5)


def test_a_value_outside_its_own_bound_is_found_in_a_shared_sum() -> None:
    def wrong() -> Summing[None]:
        yield SumRequest(values=np.array([3], dtype=np.int64), bound=5, low=0, label="wrong")

    with pytest.raises(BoundError, match="wrong"):
        carry_out(together([wrong(), asking([(2,)], 50)]), Doubling())
