"""Noise is made while the bank waits, no more than is wanted, and never otherwise."""

import signal
import threading

import pytest

from bank_node.run.sums.noise_ahead import NoiseAhead


class Maker:
    """Counts; tells when it was asked."""

    def __init__(self) -> None:
        self.noise_ready = 0
        self.asked = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def precompute(self, count: int) -> None:
        self.asked.release()
        assert self.may_go_on.wait(30)
        self.noise_ready += count


def made_within(maker: Maker, at_least: int) -> bool:
    while maker.noise_ready < at_least:
        if not maker.asked.acquire(timeout=30):
            return False
    return True


def test_fills_up_to_the_largest_round_while_waiting() -> None:
    maker = Maker()
    with NoiseAhead(maker) as ahead:
        ahead.used(100)
        ahead.used(40)
        with ahead.while_waiting():
            assert made_within(maker, 100)
    # Whole chunks, and not one more than needed.
    assert 100 <= maker.noise_ready < 100 + 32


def test_makes_nothing_unless_it_waits_or_before_it_knows_how_much() -> None:
    maker = Maker()
    with NoiseAhead(maker) as ahead:
        ahead.used(100)
        assert not maker.asked.acquire(timeout=0.1)
    with NoiseAhead(maker) as ahead, ahead.while_waiting():
        assert not maker.asked.acquire(timeout=0.1)
    assert maker.noise_ready == 0


def test_stops_after_the_chunk_at_hand_when_the_answer_is_there() -> None:
    maker = Maker()
    with NoiseAhead(maker) as ahead:
        ahead.used(1000)
        maker.may_go_on.clear()
        with ahead.while_waiting():
            assert maker.asked.acquire(timeout=30)
        maker.may_go_on.set()
    assert maker.noise_ready == 32


def test_a_huge_round_does_not_fill_the_memory() -> None:
    maker = Maker()
    with NoiseAhead(maker) as ahead:
        ahead.used(10**9)
        with ahead.while_waiting():
            assert made_within(maker, 1024)
    assert maker.noise_ready == 1024


def test_an_error_while_waiting_ends_the_thread() -> None:
    maker = Maker()
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), NoiseAhead(maker) as ahead, ahead.while_waiting():
        raise ZeroDivisionError
    assert threading.active_count() == before


def wait_until_interrupted(ahead: NoiseAhead, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    while True:
        with ahead.while_waiting():
            pass


@pytest.mark.timeout(120)
def test_an_interrupt_at_any_point_lets_the_thread_end() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        for turn in range(1000):
            with NoiseAhead(Maker()) as ahead:
                ahead.used(1)
                # Another moment each time: the kernel's clock decides which.
                with pytest.raises(KeyboardInterrupt):
                    wait_until_interrupted(ahead, 1e-4 * (1 + turn % 10))
            assert not any(thread.name == "noise-ahead" for thread in threading.enumerate())
    finally:
        signal.signal(signal.SIGVTALRM, before)
