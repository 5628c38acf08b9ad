"""Sums too wide for one round: the same sums in pieces, also at a bank that is started again."""

import numpy as np
import pytest
from federations.summing_banks import sent_bodies

from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError, RunFailedError
from fraudfed.secure_sum import pieces
from fraudfed.wire import frames
from fraudfed.wire.messages import FrameKind

pytestmark = pytest.mark.e2e

N_BANKS = 3
#: Slots of 61 bits: a plaintext of the tests' small key holds two of them.
BOUND = 3 << 58
SHAPE = (3, 10)
N_CIPHERTEXTS = 15


def parts() -> list[Int64Array]:
    return [np.arange(30, dtype=np.int64).reshape(SHAPE) << index for index in range(N_BANKS)]


@pytest.fixture
def six_ciphertexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a piece have six ciphertexts at most."""
    monkeypatch.setattr(pieces, "most_plaintexts", lambda _: 6)


@pytest.mark.usefixtures("six_ciphertexts")
def test_a_wide_sum_is_the_sum_in_rounds_of_bounded_bytes(
    make_cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort(N_BANKS)
    sent = sent_bodies(cohort, 0, monkeypatch)
    mine = parts()
    sums = cohort.each(lambda i, bank: bank.sum(mine[i], bound=BOUND, label="histogram:0"))
    for total in sums:
        assert total.shape == SHAPE
        np.testing.assert_array_equal(total, sum(mine))
    headers = [frames.decode(body, source="test")[0] for body in sent]
    counts = [one.count for one in headers if one.kind is FrameKind.CONTRIBUTION]
    assert counts == [6, 6, 3]
    assert sum(counts) == N_CIPHERTEXTS
    assert [bank.round_number for bank in cohort.banks] == [3] * N_BANKS
    # The same sum in one round, and a narrow one after it.
    monkeypatch.setattr(pieces, "most_plaintexts", lambda _: 100)
    again = cohort.each(lambda i, bank: bank.sum(mine[i], bound=BOUND, label="histogram:0"))
    np.testing.assert_array_equal(again[0], sums[0])
    assert [bank.round_number for bank in cohort.banks] == [4] * N_BANKS


@pytest.mark.usefixtures("six_ciphertexts")
def test_a_bank_that_is_started_again_amid_a_wide_sum_continues_it(make_cohort) -> None:
    cohort = make_cohort(N_BANKS)
    mine = parts()
    alone = cohort.banks[0]
    told = alone._summed
    done: list[int] = []

    def stops(values: Int64Array, **options):
        if done:
            raise KeyboardInterrupt
        done.append(values.size)
        return told(values, **options)

    alone._summed = stops
    running = []

    def take_part(index: int, bank) -> Int64Array:
        if index:
            return bank.sum(mine[index], bound=BOUND, label="histogram:0")
        with pytest.raises(KeyboardInterrupt):
            bank.sum(mine[0], bound=BOUND, label="histogram:0")
        # One piece is summed; a new process begins at its checkpoint, which is before all of them.
        second = cohort.bank(0, at={"closed_rounds": 1})
        second._log.read(before_round=0)
        running.append(second)
        return second.sum(mine[0], bound=BOUND, label="histogram:0")

    for total in cohort.each(take_part):
        np.testing.assert_array_equal(total, sum(mine))
    assert running[0].round_number == 3


def test_banks_that_cut_elsewhere_do_not_sum(make_cohort) -> None:
    """A bank of a release with another bound makes rounds of other contexts: an error, no sum."""
    cohort = make_cohort(2)
    mine = parts()

    def take_part(index: int, bank) -> FraudFedError:
        most = 6 + index
        try:
            bank._sum_in_pieces(mine[index], bound=BOUND, low=None, label="histogram:0", most=most)
        except FraudFedError as error:
            return error
        raise AssertionError("summed")

    found = cohort.each(take_part)
    for error in found:
        assert isinstance(error, RunFailedError)
        assert "banks disagree on what is summed" in str(error)
