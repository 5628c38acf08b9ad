"""The law of the secure sum, over a real aggregator."""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from federations.summing_banks import SummingBanks, sent_bodies
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.run.abort import abort_reason
from bank_node.run.sums.noise_ahead import NoiseAhead
from bank_node.run.sums.secure_communicator import SecureCommunicator
from bank_node.state.round_record import protection_of
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import (
    CohortError,
    FraudFedError,
    RunFailedError,
    SumError,
)
from fraudfed.wire import frames
from fraudfed.wire.messages import AbortReason, FrameKind

pytestmark = pytest.mark.e2e

ONES = np.ones(40, dtype=np.int64)


def summed(bank: SecureCommunicator, *, label: str = "histogram:0") -> Int64Array:
    return bank.sum(ONES, bound=9, label=label)


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


def test_noise_is_made_while_a_bank_waits_and_only_then(make_cohort) -> None:
    cohort = make_cohort(3)
    seen: list[tuple[str, object]] = []

    class Watched(NoiseAhead):
        def used(self, count: int) -> None:
            seen.append(("used", count))
            super().used(count)

        @contextlib.contextmanager
        def while_waiting(self) -> Iterator[None]:
            seen.append(("waits", session.noise_ready))
            with super().while_waiting():
                yield
            seen.append(("goes on", None))

    alone = cohort.bank(0)
    session = alone._session
    with Watched(session) as noise:
        alone._exchanges.noise = noise
        cohort.banks[0] = alone
        values = np.arange(200, dtype=np.int64)
        for _ in range(3):
            sums = cohort.each(lambda _, bank: bank.sum(values, bound=1000, label="cuts"))
            assert all(np.array_equal(total, 3 * values) for total in sums)
    count = seen[0][1]
    # Twice a round: for the product, and for the openings; the round's size is known before.
    events = [event for event, _ in seen]
    assert events == ["used", "waits", "goes on", "waits", "goes on"] * 3
    assert isinstance(count, int)
    assert count > 0
    # Nothing is ahead at the first wait. Later rounds were sealed with what was made meanwhile.
    assert seen[1] == ("waits", 0)
    assert session.noise_ready > 0


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


@pytest.mark.parametrize("parts", [(11, -3, 2), (-1, 5, 0), (2**62, -(2**62), 10)])
def test_parts_outside_the_bounds_are_summed_like_any_others(
    make_cohort, parts: tuple[int, ...]
) -> None:
    """Nothing that a bank does depends on its own values: only the sum is held to its bounds."""
    cohort = make_cohort(3)

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        own = np.array([parts[i], 1], dtype=np.int64)
        return bank.sum(own, bound=10, low=0, label="histogram")

    for total in cohort.each(work):
        np.testing.assert_array_equal(total, [sum(parts), 3])


@pytest.mark.parametrize("parts", [(11, 0, 0), (4, 4, 3), (-1, 0, 0), (12, -13, 0), (2**62, 0, 0)])
def test_a_sum_outside_its_bounds_fails_at_all_banks_alike(
    make_cohort, parts: tuple[int, ...]
) -> None:
    cohort = make_cohort(3)
    told: list[tuple[str, AbortReason | None]] = []

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        own = np.array([parts[i], 1], dtype=np.int64)
        with pytest.raises(SumError) as failure:
            bank.sum(own, bound=10, low=0, label="histogram")
        told.append((str(failure.value), abort_reason(failure.value)))
        return own

    cohort.each(work)
    assert len(set(told)) == 1
    assert told[0][1] is AbortReason.SUM
    # Each sent as much as in a round that opens.
    assert cohort.aggregator.status(cohort.run_id).round_number == 1


def test_a_bound_from_below_makes_slots_narrower(make_cohort) -> None:
    cohort = make_cohort(3)
    values = np.arange(3000, dtype=np.int64)

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        sums = [
            bank.sum(values * i, bound=2**16 - 1, low=low, label="histogram") for low in (None, 0)
        ]
        # 16 bits and a sign, then 16 bits.
        both, positive = (round_.ciphertexts for round_ in cohort.records(i))
        assert positive < 0.96 * both
        return np.concatenate(sums)

    for total in cohort.each(work):
        np.testing.assert_array_equal(total, np.tile(values * 3, 2))


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


@pytest.mark.parametrize("other", [{"bound": 10}, {"low": 0}, {"low": -8}])
def test_another_bound_at_one_bank_is_never_a_number(make_cohort, other: dict[str, int]) -> None:
    cohort = make_cohort(3)

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        limits = {"bound": 9, "low": -9} | ({} if i else other)
        with pytest.raises(RunFailedError, match="disagree"):
            bank.sum(np.ones(2, dtype=np.int64), label="histogram", **limits)
        return np.ones(1, dtype=np.int64)

    cohort.each(work)


def test_a_bank_that_stays_away_is_not_waited_for_without_end(make_cohort) -> None:
    cohort = make_cohort(3)
    with pytest.raises(CohortError, match=r"contributions of all 3 banks were not complete"):
        cohort.bank(0, round_timeout_seconds=0.3).sum(
            np.ones(2, dtype=np.int64), bound=9, label="histogram"
        )


def test_an_abort_wakes_the_waiting_banks_with_its_cause(make_cohort) -> None:
    cohort = make_cohort(3)
    contributed = threading.Event()

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        if i == 2:
            contributed.wait(10)
            cohort.members[2].client.abort(cohort.run_id, AbortReason.STOPPED)
        else:
            contributed.set()
            with pytest.raises(RunFailedError, match="stopped") as failure:
                bank.sum(np.ones(2, dtype=np.int64), bound=9, label="histogram")
            assert cohort.roster[2] in str(failure.value)
        return np.ones(1, dtype=np.int64)

    cohort.each(work)


def refused_at_each(cohort: SummingBanks, *, error: type[FraudFedError], match: str) -> None:
    """Every bank sums, and none gets a number."""

    def work(i: int, bank: SecureCommunicator) -> Int64Array:
        with pytest.raises(error, match=match):
            bank.sum(np.ones(2, dtype=np.int64), bound=9, label="histogram")
        return np.ones(1, dtype=np.int64)

    cohort.each(work)


def test_a_bank_with_another_consortium_secret_is_found_out(make_cohort, small_package) -> None:
    """The same Paillier key with another secret: its transcript, and so its context, differs."""
    cohort = make_cohort(3)
    other = KeyPackage(small_package.private_key, bytes(32))
    cohort.banks[1] = cohort.bank(1, package=other)
    refused_at_each(cohort, error=RunFailedError, match="disagree")


@pytest.mark.parametrize(
    "changes", [{"facts": b"another run"}, {"digest": "1" * 64}, {"epoch": 99}]
)
def test_banks_that_were_told_different_things_get_no_sum(make_cohort, changes) -> None:
    cohort = make_cohort(3)
    cohort.banks[2] = cohort.bank(2, **changes)
    refused_at_each(cohort, error=RunFailedError, match="disagree")


def test_a_different_past_shows_in_the_next_round(make_cohort) -> None:
    """Each context holds the digest of all sums before it."""
    cohort = make_cohort(3)

    def ones(i: int, bank: SecureCommunicator) -> Int64Array:
        return bank.sum(np.ones(2, dtype=np.int64), bound=9, label="histogram")

    cohort.each(ones)
    transcript = cohort.banks[1]._transcript
    cohort.each(ones)
    # As a bank that had seen another second sum.
    cohort.banks[1]._transcript = transcript
    refused_at_each(cohort, error=RunFailedError, match="disagree")


def test_contributions_say_which_step_they_are_of(make_cohort, monkeypatch) -> None:
    cohort = make_cohort(3)
    bodies = sent_bodies(cohort, 0, monkeypatch)
    for step in (0, 1):
        for bank in cohort.banks:
            bank.step = step
        cohort.each(lambda _, bank, step=step: summed(bank, label=f"histogram:{step}"))
    headers = [frames.decode(body, source="test")[0] for body in bodies]
    assert [(header.kind, header.step) for header in headers] == [
        (FrameKind.CONTRIBUTION, 0),
        (FrameKind.OPENING, 0),
        (FrameKind.CONTRIBUTION, 1),
        (FrameKind.OPENING, 0),
    ]


def test_every_round_is_on_record(make_cohort) -> None:
    cohort = make_cohort(3)
    for label in ("cuts:1", "histogram:tree 0"):
        cohort.each(
            lambda i, bank, label=label: bank.sum(np.ones(40, dtype=np.int64), bound=9, label=label)
        )
    bank, records = cohort.banks[1], cohort.records(1)
    assert [record.label for record in records] == ["cuts:1", "histogram:tree 0"]
    public = cohort.package.public_key
    for number, record in enumerate(records):
        assert record.number == number
        assert record.key_fingerprint == public.fingerprint
        assert record.key_bits == public.key_bits
        assert record.ciphertext_bytes == public.ciphertext_bytes
        assert record.masks == 2
        assert record.tag_verified
    assert sum(record.ciphertexts for record in records) == bank.times.ciphertexts
    assert len({record.context for record in records}) == 2
    summary = protection_of(records)
    assert summary["rounds"] == summary["rounds_verified"] == 2
    assert summary["masked_against_banks"] == 2
    assert summary["key_bits"] == public.key_bits
    assert protection_of([])["key_bits"] is None
