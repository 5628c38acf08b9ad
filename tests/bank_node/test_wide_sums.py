"""Sums too wide for one round: the same sums in pieces, also at a bank that is started again."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from federations.summing_banks import sent_bodies

import fraudfed.secure_sum.session as session_module
from bank_node.run.sums.secure_communicator import SecureCommunicator
from bank_node.run.sums.under_way import UnderWay
from bank_node.state.outbox import Outbox
from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError, RunFailedError
from fraudfed.secure_sum import pieces
from fraudfed.secure_sum.session import SecureSum
from fraudfed.wire import frames
from fraudfed.wire.messages import AbortReason, FrameKind

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


@pytest.fixture
def as_a_new_process() -> Callable[[], None]:
    """Forget what only a process knows: what stays is on disk."""
    return session_module._USED_CONTEXTS._used.clear


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
def test_a_bank_that_is_started_again_amid_a_wide_sum_continues_it(
    make_cohort, as_a_new_process: Callable[[], None]
) -> None:
    cohort = make_cohort(N_BANKS)
    mine = parts()
    alone = cohort.banks[0]
    told = alone._boxes_of
    done: list[int] = []

    def stops(turn, settle):
        if done:
            raise KeyboardInterrupt
        done.append(turn.values.size)
        return told(turn, settle)

    alone._boxes_of = stops
    running = []

    def take_part(index: int, bank) -> Int64Array:
        if index:
            return bank.sum(mine[index], bound=BOUND, label="histogram:0")
        with pytest.raises(KeyboardInterrupt):
            bank.sum(mine[0], bound=BOUND, label="histogram:0")
        # One piece is summed; a new process begins at its checkpoint, which is before all of them.
        as_a_new_process()
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


@pytest.mark.usefixtures("six_ciphertexts")
def test_all_pieces_follow_on_the_history_before_the_first(make_cohort, monkeypatch) -> None:
    """No piece needs the sum of another; the next sum's context holds the sums of all of them."""
    cohort = make_cohort(N_BANKS)
    contexts = []
    told = SecureCommunicator._close

    def watched(bank, turn, found, total, **named):
        if bank is cohort.banks[0]:
            contexts.append((turn.context, total))
        return told(bank, turn, found, total, **named)

    monkeypatch.setattr(SecureCommunicator, "_close", watched)
    before, mine = cohort.banks[0]._transcript, parts()
    cohort.each(lambda i, bank: bank.sum(mine[i], bound=BOUND, label="histogram:0"))
    cohort.each(lambda i, bank: bank.sum(mine[i][0, :1], bound=BOUND, label="metric"))
    assert [one.round_number for one, _ in contexts] == [0, 1, 2, 3]
    assert {one.previous for one, _ in contexts[:3]} == {before.digest}
    after = before
    for context, total in contexts[:3]:
        after = after.advance(context, total, began=before)
    assert contexts[3][0].previous == after.digest
    assert len({bank.transcript for bank in cohort.banks}) == 1


class Killed(BaseException):
    """The program ends here, whatever it is in."""


#: Where a program can be killed: what it was about to do, and whether that was done before.
STEPS = [
    (Outbox, "keep", False),
    (Outbox, "keep", True),
    (None, "contribute", True),
    (Outbox, "keep_opening", False),
    (Outbox, "keep_opening", True),
    (None, "send_opening", True),
]


@pytest.mark.usefixtures("six_ciphertexts")
@pytest.mark.parametrize(("owner", "name", "is_done"), STEPS)
def test_a_bank_that_is_killed_at_any_step_of_a_piece_sends_the_same_bytes(
    make_cohort, as_a_new_process, monkeypatch, owner: type | None, name: str, is_done: bool
) -> None:
    cohort = make_cohort(N_BANKS)
    mine, calls, sent = parts(), [], sent_bodies(cohort, 0, monkeypatch)
    client, outbox = cohort.members[0].client, cohort.banks[0]._outbox
    holder = client if owner is None else outbox
    original = getattr(holder, name)

    def kills(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 2 and not is_done:
            raise Killed
        result = original(*arguments, **named)
        if len(calls) == 2:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(holder, name, kills)
        # It cannot write down what it has sealed ahead, as a program that is only interrupted does.
        patch.setattr(cohort.banks[0], "_keep_unsent", lambda _: None)

        def take_part(index: int, bank) -> Int64Array:
            if index:
                return bank.sum(mine[index], bound=BOUND, label="histogram:0")
            with pytest.raises(Killed):
                bank.sum(mine[0], bound=BOUND, label="histogram:0")
            patch.setattr(holder, name, original)
            as_a_new_process()
            state = cohort.aggregator.status(cohort.run_id)
            at = {
                "closed_rounds": state.round_number,
                "contributed": cohort.roster[0] in state.contributed,
            }
            again = cohort.bank(0, at=at)
            again._log.read(before_round=0)
            return again.sum(mine[0], bound=BOUND, label="histogram:0")

        for total in cohort.each(take_part):
            np.testing.assert_array_equal(total, sum(mine))
    by_context: dict[tuple[str, FrameKind], set[bytes]] = {}
    for body in sent:
        header = frames.decode(body, source="test")[0]
        by_context.setdefault((header.context, header.kind), set()).add(body)
    assert len(by_context) == 6
    assert all(len(bodies) == 1 for bodies in by_context.values())


def revealed_after_a_fault(cohort, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the first piece of bank 0 not combine; return the pieces that it revealed."""
    told, mine = SecureSum.combine, parts()
    faulty = cohort.banks[0]._session
    opened: list[int] = []
    send = cohort.members[0].client.send_opening

    def combine(session, boxes, layout, context, **named):
        if session is faulty and context.round_number == 0:
            boxes = [boxes[0], boxes[2], boxes[1]]
        return told(session, boxes, layout, context, **named)

    def watched(frame: bytes, *, wait_seconds: float):
        opened.append(frames.decode(frame, source="test")[0].round_number)
        return send(frame, wait_seconds=wait_seconds)

    monkeypatch.setattr(SecureSum, "combine", combine)
    monkeypatch.setattr(cohort.members[0].client, "send_opening", watched)

    def take_part(index: int, bank) -> Int64Array:
        with contextlib.suppress(FraudFedError):
            bank.sum(mine[index], bound=BOUND, label="histogram:0")
        if index == 0:
            cohort.members[0].client.abort(cohort.run_id, AbortReason.SUM)
        return mine[index]

    cohort.each(take_part)
    return opened


@pytest.mark.usefixtures("six_ciphertexts")
def test_nothing_of_a_piece_is_revealed_after_a_fault_in_the_one_before(
    make_cohort, monkeypatch
) -> None:
    """Its ciphertexts may have left, which are noise without a seed."""
    assert revealed_after_a_fault(make_cohort(N_BANKS), monkeypatch) == [0]


@pytest.mark.usefixtures("six_ciphertexts")
def test_control_a_bank_that_does_not_settle_first_reveals_after_a_fault(
    make_cohort, monkeypatch
) -> None:
    settle = UnderWay.settle
    monkeypatch.setattr(UnderWay, "settle", lambda _: None)
    monkeypatch.setattr(UnderWay, "__exit__", lambda self, *_: settle(self))
    assert revealed_after_a_fault(make_cohort(N_BANKS), monkeypatch)[:2] == [0, 1]
