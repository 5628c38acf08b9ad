"""The law of the secure sum, over a real aggregator."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from examples.ledgers import OpenGate
from examples.run_contexts import make_context
from federations.bank_states import Member
from hypothesis import given, settings
from hypothesis import strategies as st

import fraudfed.secure_sum.session as session_module
from bank_node.run.abort import abort_reason
from bank_node.run.sums.noise_ahead import NoiseAhead
from bank_node.run.sums.secure_communicator import SecureCommunicator, StartingPoint
from bank_node.state.outbox import Outbox
from bank_node.state.round_log import RoundLog
from bank_node.state.round_record import RoundRecord, protection_of
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import roster_digest
from fraudfed.dtypes import Int64Array
from fraudfed.errors import (
    CohortChangedError,
    CohortError,
    FraudFedError,
    RunFailedError,
    StateError,
    SumError,
)
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.wire import frames
from fraudfed.wire.messages import AbortReason, FrameKind

pytestmark = pytest.mark.e2e


FACTS = b"what every bank was told"


class Cohort:
    """Banks as threads, each with a communicator of its own."""

    def __init__(self, aggregator, make_spec, package: KeyPackage, size: int, root: Path) -> None:
        self.aggregator, self.package, self.root = aggregator, package, root
        self.members: list[Member] = aggregator.members(size)
        self.key_epoch = aggregator.active_epoch(package, self.members)
        self.run_id = aggregator.create_run(make_spec(self.key_epoch.epoch))
        self.roster = tuple(member.name for member in self.members)
        for member in self.members:
            member.join(self.run_id, self.key_epoch.epoch)
        self.banks = [self.bank(index) for index in range(size)]

    def bank(self, index: int, **changes) -> SecureCommunicator:
        """Make the communicator of a bank, as the program does when it starts."""
        member = self.members[index]
        session_package = changes.pop("package", self.package)
        session = SecureSum(
            session_package,
            bank=member.name,
            roster=self.roster,
            roster_digest=changes.pop("digest", roster_digest(self.key_epoch.roster)),
            pairwise={
                other.name: member.identity.exchange(other.keys.agreement_key)
                for other in self.members
                if other is not member
            },
            signer=member.identity,
            signing_keys={other.name: other.keys.signing_key for other in self.members},
        )
        facts = changes.pop("facts", FACTS)
        gate = changes.pop("gate", OpenGate())
        start = StartingPoint(
            round_number=0,
            step=0,
            transcript=Transcript.begin(session_package.expose_secret(), facts),
            **changes.pop("at", {}),
        )
        known = {
            "key_epoch": changes.pop("epoch", self.key_epoch),
            "outbox": Outbox(self.outbox(index)),
            "log": RoundLog(self.root / f"{member.name}.rounds"),
            "round_timeout_seconds": 20,
            **changes,
        }
        context = make_context(member.name, member.client, run=self.run_id, **known)
        return SecureCommunicator(context, session, roster=self.roster, start=start, gate=gate)

    def outbox(self, index: int) -> Path:
        return self.root / f"{self.members[index].name}.sealed"

    def records(self, index: int) -> list[RoundRecord]:
        """Return what is on record of a bank's rounds."""
        log = RoundLog(self.root / f"{self.members[index].name}.rounds")
        return [one.record for one in log.read(before_round=99)]

    def each(self, work: Callable[[int, SecureCommunicator], Int64Array]) -> list[Int64Array]:
        with ThreadPoolExecutor(len(self.banks)) as pool:
            return list(pool.map(work, range(len(self.banks)), self.banks))


@pytest.fixture
def make_cohort(aggregator, make_spec, small_package, tmp_path):
    def make(size: int = 3) -> Cohort:
        return Cohort(aggregator, make_spec, small_package, size, tmp_path)

    return make


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
        alone._noise = noise
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


def refused_at_each(cohort: Cohort, *, error: type[FraudFedError], match: str) -> None:
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


ONES = np.ones(40, dtype=np.int64)


class Seals:
    """Counts what is sealed and opened, at every bank of the process."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sealed = self.opened = 0
        seal, open_shard = SecureSum.seal, SecureSum.open_shard

        def counted_seal(session: SecureSum, *arguments, **named):
            self.sealed += 1
            return seal(session, *arguments, **named)

        def counted_open(session: SecureSum, *arguments, **named):
            self.opened += 1
            return open_shard(session, *arguments, **named)

        patch.setattr(SecureSum, "seal", counted_seal)
        patch.setattr(SecureSum, "open_shard", counted_open)


@pytest.fixture
def seals(monkeypatch: pytest.MonkeyPatch) -> Seals:
    return Seals(monkeypatch)


@pytest.fixture
def as_a_new_process() -> Callable[[], None]:
    """Forget what only a process knows: what stays is on disk."""
    return session_module._USED_CONTEXTS._used.clear


def in_threads(*work: Callable[[], Int64Array]) -> list[Int64Array]:
    with ThreadPoolExecutor(len(work)) as pool:
        return [each.result(60) for each in [pool.submit(one) for one in work]]


def summed(bank: SecureCommunicator, *, label: str = "histogram:0") -> Int64Array:
    return bank.sum(ONES, bound=9, label=label)


def sent_bodies(cohort: Cohort, index: int, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect the frames that a bank sends from now on."""
    client, found = cohort.members[index].client, []
    for name in ("contribute", "send_opening"):
        original = getattr(client, name)

        def watched(frame: bytes, *, wait_seconds: float, original=original):
            found.append(frame)
            return original(frame, wait_seconds=wait_seconds)

        monkeypatch.setattr(client, name, watched)
    return found


def test_a_bank_that_is_started_again_sends_the_same_bytes_again(
    make_cohort, seals, as_a_new_process, monkeypatch
) -> None:
    cohort = make_cohort(3)
    bodies = sent_bodies(cohort, 0, monkeypatch)
    with pytest.raises(CohortError, match="not complete"):
        summed(cohort.bank(0, round_timeout_seconds=0.1))
    assert (len(bodies), seals.sealed) == (1, 1)
    before = cohort.aggregator.status(cohort.run_id)
    assert before.contributed == (cohort.roster[0],)
    as_a_new_process()
    again = cohort.bank(0, at={"contributed": True}, round_timeout_seconds=0.1)
    with pytest.raises(CohortError, match="not complete"):
        # Not even other numbers make another contribution.
        again.sum(0 * ONES, bound=9, label="histogram:0")
    assert bodies == [bodies[0]] * 2
    assert seals.sealed == 1
    assert cohort.aggregator.status(cohort.run_id).ciphertexts == before.ciphertexts
    as_a_new_process()
    cohort.banks[0] = cohort.bank(0, at={"contributed": True})
    for total in cohort.each(lambda _, bank: summed(bank)):
        np.testing.assert_array_equal(total, 3 * ONES)
    assert seals.sealed == 3


def test_an_opening_that_was_made_is_sent_again_byte_for_byte(
    make_cohort, seals, as_a_new_process, monkeypatch
) -> None:
    cohort = make_cohort(3)
    bodies = sent_bodies(cohort, 0, monkeypatch)
    # Bank 2 contributes and then opens nothing: the round stays open at its second half.
    monkeypatch.setattr(
        cohort.members[2].client, "send_opening", lambda *_, **__: (_ for _ in ()).throw(killed)
    )
    killed = KeyboardInterrupt()

    def stopped(bank: SecureCommunicator) -> Int64Array:
        with pytest.raises((CohortError, KeyboardInterrupt)):
            summed(bank)
        return ONES

    banks = [cohort.bank(index, round_timeout_seconds=4.0) for index in range(3)]
    in_threads(*(lambda bank=bank: stopped(bank) for bank in banks))
    monkeypatch.undo()
    bodies_after = sent_bodies(cohort, 0, monkeypatch)
    counted = Seals(monkeypatch)
    as_a_new_process()
    cohort.banks = [cohort.bank(index, at={"contributed": True}) for index in range(3)]
    for total in cohort.each(lambda _, bank: summed(bank)):
        np.testing.assert_array_equal(total, 3 * ONES)
    assert bodies_after == bodies
    assert len(bodies) == 2
    assert (counted.sealed, counted.opened) == (0, 0)


def test_an_opening_that_an_older_directory_lacks_is_read_from_the_others(
    make_cohort, seals, as_a_new_process, monkeypatch
) -> None:
    """It was sent, and its copy is gone: a second box is refused, and the first one read."""
    cohort = make_cohort(3)
    before_opening: list[bytes] = []
    keep_opening = Outbox.keep_opening

    def spied(outbox: Outbox, digest: str, frame: bytes, **options) -> None:
        if outbox._path == cohort.outbox(0):
            before_opening.append(outbox._path.read_bytes())
        keep_opening(outbox, digest, frame, **options)

    monkeypatch.setattr(Outbox, "keep_opening", spied)
    monkeypatch.setattr(
        cohort.members[2].client, "send_opening", lambda *_, **__: (_ for _ in ()).throw(killed)
    )
    killed = KeyboardInterrupt()

    def stopped(bank: SecureCommunicator) -> Int64Array:
        with pytest.raises((CohortError, KeyboardInterrupt)):
            summed(bank)
        return ONES

    banks = [cohort.bank(index, round_timeout_seconds=4.0) for index in range(3)]
    in_threads(*(lambda bank=bank: stopped(bank) for bank in banks))
    monkeypatch.undo()
    (without_opening,) = before_opening
    cohort.outbox(0).write_bytes(without_opening)
    counted = Seals(monkeypatch)
    as_a_new_process()
    bodies = sent_bodies(cohort, 0, monkeypatch)
    cohort.banks = [cohort.bank(index, at={"contributed": True}) for index in range(3)]

    def in_turn(index: int, bank: SecureCommunicator) -> Int64Array:
        # The last bank's opening closes the round: not before the first has offered its own.
        deadline = time.monotonic() + 60
        while index == 2 and len(bodies) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return summed(bank)

    for total in cohort.each(in_turn):
        np.testing.assert_array_equal(total, 3 * ONES)
    # The lost one is made again, offered, and not taken.
    assert (counted.sealed, counted.opened, len(bodies)) == (0, 1, 2)


def test_closed_rounds_are_only_read(make_cohort, seals, as_a_new_process, monkeypatch) -> None:
    cohort = make_cohort(3)
    for label in ("cuts", "histogram:0"):
        cohort.each(lambda _, bank, label=label: summed(bank, label=label))
    assert seals.sealed == 6
    sent = cohort.aggregator.status(cohort.run_id).bytes_received
    as_a_new_process()
    bodies = sent_bodies(cohort, 0, monkeypatch)
    # As from a checkpoint before both rounds: what stands in the log of them is dropped first.
    log = RoundLog(cohort.root / f"{cohort.roster[0]}.rounds")
    log.read(before_round=0)
    again = cohort.bank(0, at={"closed_rounds": 2}, log=log)
    for label in ("cuts", "histogram:0"):
        np.testing.assert_array_equal(summed(again, label=label), 3 * ONES)
    assert (seals.sealed, bodies) == (6, [])
    assert cohort.aggregator.status(cohort.run_id).bytes_received == sent
    assert again.transcript == cohort.banks[1].transcript
    # The next round is one like any other.
    cohort.banks[0] = again
    for total in cohort.each(lambda _, bank: summed(bank, label="histogram:1")):
        np.testing.assert_array_equal(total, 3 * ONES)
    assert [record.number for record in cohort.records(0)] == [0, 1, 2]


def test_a_round_that_was_closed_meanwhile_is_read(make_cohort, seals, as_a_new_process) -> None:
    """The status was asked for before the others closed the round with what was sent to it."""
    cohort = make_cohort(3)
    cohort.each(lambda _, bank: summed(bank))
    as_a_new_process()
    log = RoundLog(cohort.root / f"{cohort.roster[0]}.rounds")
    log.read(before_round=0)
    again = cohort.bank(0, at={"contributed": True}, log=log)
    np.testing.assert_array_equal(summed(again), 3 * ONES)
    assert seals.sealed == 3


def test_sums_that_are_no_longer_kept_end_an_older_state_directory(
    make_cohort, seals, as_a_new_process, monkeypatch
) -> None:
    cohort = make_cohort(3)
    cohort.each(lambda _, bank: summed(bank, label="cuts"))
    # Two steps further the aggregator forgets the first.
    for step in (1, 2, 3):
        for bank in cohort.banks:
            bank.step = step
        cohort.each(lambda _, bank, step=step: summed(bank, label=f"histogram:{step}"))
    as_a_new_process()
    for catches_up, error in ((False, StateError), (True, CohortChangedError)):
        log = RoundLog(cohort.root / "other.rounds")
        old = cohort.bank(0, at={"closed_rounds": 4, "catches_up": catches_up}, log=log)
        with pytest.raises(error, match="no longer kept"):
            summed(old, label="cuts")
    assert seals.sealed == 12


def test_a_bank_that_catches_up_seals_nothing(make_cohort, seals, as_a_new_process) -> None:
    cohort = make_cohort(3)
    cohort.each(lambda _, bank: summed(bank, label="cuts"))
    as_a_new_process()
    log = RoundLog(cohort.root / "other.rounds")
    late = cohort.bank(0, at={"closed_rounds": 1, "catches_up": True}, log=log)
    np.testing.assert_array_equal(summed(late, label="cuts"), 3 * ONES)
    with pytest.raises(CohortChangedError, match="round 1 was not closed by the banks"):
        summed(late)
    assert seals.sealed == 3
    assert cohort.aggregator.status(cohort.run_id).contributed == ()


def test_a_contribution_that_only_the_aggregator_knows_is_never_made_again(
    make_cohort, seals, as_a_new_process
) -> None:
    cohort = make_cohort(3)
    with pytest.raises(CohortError, match="not complete"):
        summed(cohort.bank(0, round_timeout_seconds=0.1))
    cohort.outbox(0).unlink()
    as_a_new_process()
    with pytest.raises(StateError, match="does not know"):
        summed(cohort.bank(0, at={"contributed": True}))
    assert seals.sealed == 1


def test_a_payload_that_was_forgotten_is_never_made_again(
    make_cohort, seals, as_a_new_process
) -> None:
    cohort = make_cohort(3)
    with pytest.raises(CohortError, match="not complete"):
        summed(cohort.bank(0, round_timeout_seconds=0.1))
    Outbox(cohort.outbox(0)).forget_payloads()
    as_a_new_process()
    with pytest.raises(StateError, match="no longer holds what it sealed"):
        summed(cohort.bank(0, at={"contributed": True}))
    assert seals.sealed == 1


def test_nothing_is_sent_that_could_not_be_kept(make_cohort, tmp_path) -> None:
    cohort = make_cohort(3)
    lost = Outbox(tmp_path / "none" / "sealed")
    with pytest.raises(StateError, match="cannot be written"):
        summed(cohort.bank(0, outbox=lost))
    assert cohort.aggregator.status(cohort.run_id).ciphertexts == 0


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
