"""A bank that was started again within a round: the same bytes, or what was closed, or nothing."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from federations.summing_banks import SummingBanks, sent_bodies

import fraudfed.secure_sum.session as session_module
from bank_node.run.sums.secure_communicator import SecureCommunicator
from bank_node.state.outbox import Outbox
from bank_node.state.round_log import RoundLog
from fraudfed.dtypes import Int64Array
from fraudfed.errors import (
    CohortChangedError,
    CohortError,
    StateError,
)
from fraudfed.secure_sum.session import SecureSum

pytestmark = pytest.mark.e2e


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


def stop_half_way(cohort: SummingBanks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bank 2 contribute and then open nothing: the round stays open at its second half."""
    killed = KeyboardInterrupt()

    def dies(*_: object, **__: object) -> None:
        raise killed

    monkeypatch.setattr(cohort.members[2].client, "send_opening", dies)

    def stopped(bank: SecureCommunicator) -> Int64Array:
        with pytest.raises((CohortError, KeyboardInterrupt)):
            summed(bank)
        return ONES

    banks = [cohort.bank(index, round_timeout_seconds=4.0) for index in range(3)]
    in_threads(*(lambda bank=bank: stopped(bank) for bank in banks))
    monkeypatch.undo()


def test_an_opening_that_was_made_is_sent_again_byte_for_byte(
    make_cohort, seals, as_a_new_process, monkeypatch
) -> None:
    cohort = make_cohort(3)
    bodies = sent_bodies(cohort, 0, monkeypatch)
    stop_half_way(cohort, monkeypatch)
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
    stop_half_way(cohort, monkeypatch)
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


def test_the_gate_is_asked_again_before_a_box_is_sent_again(
    make_cohort, seals, as_a_new_process, monkeypatch
) -> None:
    """What was allowed when the box was made may no longer be."""

    class Gate:
        asked = 0
        is_open = True

        def require(self) -> None:
            self.asked += 1
            if not self.is_open:
                raise CohortError("this bank does not reveal to these banks")

    cohort, gate = make_cohort(3), Gate()
    bodies = sent_bodies(cohort, 0, monkeypatch)
    with pytest.raises(CohortError, match="not complete"):
        in_threads(
            lambda: summed(cohort.bank(0, gate=gate, round_timeout_seconds=2.0)),
            *(lambda i=i: contributed_only(cohort, i) for i in (1, 2)),
        )
    assert (gate.asked, len(bodies)) == (1, 2)
    gate.is_open = False
    as_a_new_process()
    with pytest.raises(CohortError, match="does not reveal"):
        summed(cohort.bank(0, gate=gate, at={"contributed": True}))
    assert (gate.asked, len(bodies)) == (2, 3)
    # The contribution alone.
    assert bodies[2] == bodies[0]


def contributed_only(cohort: SummingBanks, index: int) -> Int64Array:
    """Let a bank contribute, and stop before it reveals."""

    class Stopped:
        def require(self) -> None:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        summed(cohort.bank(index, gate=Stopped()))
    return ONES
