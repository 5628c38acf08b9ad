"""The contract of ``Communicator.sum`` that every implementation shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fraudfed.communicator import SoloCommunicator, check_bound
from fraudfed.errors import BoundError

INT64 = np.iinfo(np.int64)


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_a_cohort_of_one_gets_its_own_values(values: np.ndarray) -> None:
    bound = INT64.max
    if (values == INT64.min).any():
        with pytest.raises(BoundError):
            SoloCommunicator().sum(values, bound=bound, label="test")
        return
    total = SoloCommunicator().sum(values, bound=bound, label="test")
    np.testing.assert_array_equal(total, values)
    assert total is not values


@given(hnp.arrays(np.int64, 5, elements=st.integers(-9, 9)), st.integers(0, 9))
def test_values_outside_the_bound_are_refused(values: np.ndarray, bound: int) -> None:
    if np.abs(values).max() <= bound:
        check_bound(values, bound, label="test")
    else:
        with pytest.raises(BoundError):
            check_bound(values, bound, label="test")


@given(hnp.arrays(np.int64, 5, elements=st.integers(-9, 9)), st.integers(0, 9), st.integers(-9, 0))
def test_a_bound_from_below_holds_by_itself(values: np.ndarray, bound: int, low: int) -> None:
    if low <= values.min() and values.max() <= bound:
        SoloCommunicator().sum(values, bound=bound, low=low, label="test")
    else:
        with pytest.raises(BoundError):
            SoloCommunicator().sum(values, bound=bound, low=low, label="test")


def test_a_bound_may_differ_by_element_and_the_error_names_the_place_not_the_value() -> None:
    bound = np.array([10, 5], dtype=np.int64)
    values = np.array([[10, 5], [777, 0]], dtype=np.int64)
    with pytest.raises(BoundError, match=r"\(1, 0\).*-10 \.\. 10") as caught:
        check_bound(values, bound, label="histogram:3")
    assert "777" not in str(caught.value)
    assert "histogram:3" in str(caught.value)


def test_the_smallest_int64_does_not_pass_as_its_own_absolute_value() -> None:
    with pytest.raises(BoundError):
        check_bound(np.array([INT64.min]), INT64.max, label="test")


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(BoundError, match="float64"):
        check_bound(np.zeros(2), 1, label="test")
