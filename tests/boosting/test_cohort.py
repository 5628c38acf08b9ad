"""The in-process cohort itself: exact sums, and no bank left waiting."""

import numpy as np
import pytest
from cohorts.exact import CohortCommunicator, run_cohort

from fraudfed.errors import BoundError, SumError


def test_every_bank_gets_the_exact_sum_of_every_call() -> None:
    def program(bank: int, communicator: CohortCommunicator) -> list[int]:
        opened = []
        for step in range(20):
            values = np.array([bank, -step], dtype=np.int64)
            opened += communicator.sum(values, bound=100, label=f"test:{step}").tolist()
        return opened

    expected = [number for step in range(20) for number in (0 + 1 + 2, -3 * step)]
    assert run_cohort(3, program) == [expected] * 3


def test_one_failing_bank_ends_all() -> None:
    def program(bank: int, communicator: CohortCommunicator) -> None:
        if bank == 1:
            raise ZeroDivisionError("bank 1")
        communicator.sum(np.zeros(1, dtype=np.int64), bound=1, label="test")

    with pytest.raises(ZeroDivisionError, match="bank 1"):
        run_cohort(3, program)


def test_banks_that_disagree_are_told() -> None:
    def program(bank: int, communicator: CohortCommunicator) -> None:
        communicator.sum(np.zeros(1, dtype=np.int64), bound=1, label=f"test:{bank // 2}")

    with pytest.raises(SumError, match="disagree"):
        run_cohort(3, program)


def test_a_bank_that_stops_early_is_noticed() -> None:
    def program(bank: int, communicator: CohortCommunicator) -> None:
        for _ in range(1 if bank == 0 else 2):
            communicator.sum(np.zeros(1, dtype=np.int64), bound=1, label="test")

    with pytest.raises(SumError):
        run_cohort(3, program)


@pytest.mark.parametrize(("sign", "way"), [(1, "exceed"), (-1, "fall below")])
def test_the_bounds_hold_for_the_sum_over_any_of_the_banks(sign: int, way: str) -> None:
    def program(bank: int, communicator: CohortCommunicator) -> None:
        # Over all banks it is within the bounds, over the last two of them it is not.
        values = np.array([5 * sign if bank else -5 * sign], dtype=np.int64)
        communicator.sum(values, bound=9, label="test")

    with pytest.raises(BoundError, match=way):
        run_cohort(3, program)
