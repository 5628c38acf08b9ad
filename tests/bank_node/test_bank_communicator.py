"""The law of the secure sum, over a real aggregator."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.client import AggregatorClient
from bank_node.secure_communicator import SecureCommunicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError, RunFailedError, SumError
from fraudfed.secure_sum.session import SecureSum

pytestmark = pytest.mark.e2e


class Cohort:
    """Banks as threads, each with a communicator of its own."""

    def __init__(self, aggregator, make_spec, package: KeyPackage, size: int, **options) -> None:
        self.aggregator = aggregator
        self.run_id = aggregator.create_run(make_spec(package, cohort_size=size))
        tag = uuid.uuid4().hex[:8]
        self.roster = tuple(f"bank-{tag}-{i}" for i in range(size))
        self.clients: dict[str, AggregatorClient] = aggregator.members(self.run_id, self.roster)
        self.banks = [
            SecureCommunicator(
                self.clients[name],
                SecureSum(package),
                run_id=self.run_id,
                roster=self.roster,
                bank=name,
                **{"round_timeout_seconds": 20, **options},
            )
            for name in self.roster
        ]

    def each(self, work: Callable[[int, SecureCommunicator], Int64Array]) -> list[Int64Array]:
        with ThreadPoolExecutor(len(self.banks)) as pool:
            return list(pool.map(work, range(len(self.banks)), self.banks))

    def close(self) -> None:
        for client in self.clients.values():
            client.close()


@pytest.fixture
def make_cohort(aggregator, make_spec, small_package):
    made: list[Cohort] = []

    def make(size: int = 3, **options) -> Cohort:
        made.append(Cohort(aggregator, make_spec, small_package, size, **options))
        return made[-1]

    yield make
    for cohort in made:
        cohort.close()


def test_sum_is_the_elementwise_sum(make_cohort) -> None:
    cohort = make_cohort(3)

    @settings(max_examples=15, deadline=None)
    @given(
        shape=st.sampled_from([(1,), (7,), (2, 3), (40, 2), (0,), (2, 0)]),
        bound=st.sampled_from([3, 1000, 1 << 40]),
        seed=st.integers(0, 2**32 - 1),
    )
    def law(shape: tuple[int, ...], bound: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        limit = bound // 3
        parts = [rng.integers(-limit, limit + 1, shape, dtype=np.int64) for _ in range(3)]
        before = cohort.banks[0].round_number
        sums = cohort.each(lambda i, bank: bank.sum(parts[i], bound=bound, label="histogram:0"))
        for total in sums:
            assert total.dtype == np.int64
            np.testing.assert_array_equal(total, np.sum(parts, axis=0))
        # A vector without elements costs no round.
        assert cohort.banks[0].round_number == before + (0 not in shape)

    law()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_any_cohort_size_and_bounds_per_element(make_cohort, size: int) -> None:
    cohort = make_cohort(size)
    bound = np.array([3, 1 << 50, 0], dtype=np.int64) * size
    values = [np.array([3, -(1 << 50) + i, 0], dtype=np.int64) for i in range(size)]
    for _ in range(2):
        for total in cohort.each(lambda i, bank: bank.sum(values[i], bound=bound, label="cuts")):
            np.testing.assert_array_equal(total, np.sum(values, axis=0))
    times = cohort.banks[0].times
    assert times.rounds == 2
    assert times.ciphertexts > 0
    assert times.bytes_sent > 0
    assert times.bytes_received > 0
    assert {"cuts", "encrypt", "sum", "open", "wait"} == set(times.wall_seconds)
    assert cohort.aggregator.status(cohort.run_id).round_number == 2


def test_a_value_outside_its_bound_is_not_sent(make_cohort) -> None:
    cohort = make_cohort(3)
    with pytest.raises(BoundError, match="outside the public bound"):
        cohort.banks[0].sum(np.array([11], dtype=np.int64), bound=10, label="histogram")
    assert cohort.aggregator.status(cohort.run_id).ciphertexts == 0


def test_banks_that_sum_different_things_fail_and_both_labels_are_named(make_cohort) -> None:
    cohort = make_cohort(3)

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        label = "histogram" if i else "metric"
        with pytest.raises(RunFailedError) as failure:
            bank.sum(np.ones(2, dtype=np.int64), bound=9, label=label)
        assert "'histogram'" in str(failure.value)
        assert "'metric'" in str(failure.value)
        return np.ones(1, dtype=np.int64)

    cohort.each(work)


def test_another_bound_at_one_bank_is_never_a_number(make_cohort) -> None:
    cohort = make_cohort(3)

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        with pytest.raises(RunFailedError, match="disagree"):
            bank.sum(np.ones(2, dtype=np.int64), bound=9 if i else 10, label="histogram")
        return np.ones(1, dtype=np.int64)

    cohort.each(work)


def test_a_bank_that_stays_away_is_not_waited_for_without_end(make_cohort) -> None:
    cohort = make_cohort(3, round_timeout_seconds=0.3)
    with pytest.raises(SumError, match=r"contributions of all 3 banks were not complete"):
        cohort.banks[0].sum(np.ones(2, dtype=np.int64), bound=9, label="histogram")


def test_an_abort_wakes_the_waiting_banks_with_its_cause(make_cohort) -> None:
    cohort = make_cohort(3)
    contributed = threading.Event()

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        if i == 2:
            contributed.wait(10)
            cohort.clients[cohort.roster[2]].abort(cohort.run_id, "disk is full")
        else:
            contributed.set()
            with pytest.raises(RunFailedError, match="disk is full") as failure:
                bank.sum(np.ones(2, dtype=np.int64), bound=9, label="histogram")
            assert cohort.roster[2] in str(failure.value)
        return np.ones(1, dtype=np.int64)

    cohort.each(work)


def test_a_bank_with_another_consortium_secret_is_found_out(
    aggregator, make_spec, small_package, make_cohort
) -> None:
    """The same Paillier key with another secret: its openings do not authenticate."""
    cohort = make_cohort(3, round_timeout_seconds=10)
    other = KeyPackage(small_package.private_key, bytes(32))
    cohort.banks[1]._session = SecureSum(other)

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        with pytest.raises(SumError, match="does not authenticate"):
            bank.sum(np.ones(2, dtype=np.int64), bound=9, label="histogram")
        return np.ones(1, dtype=np.int64)

    cohort.each(work)
