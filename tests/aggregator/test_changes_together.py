"""What queues up for a round is one transaction, and the same as if it came one by one."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from federations.fake_banks import Answer, FakeBank, Federation, TestKey, sum_round
from flask import Flask

from aggregator.runs import changes as changes_module
from aggregator.runs.combine import Factors
from aggregator.runs.store import StaleError
from aggregator.service.store import Store
from fraudfed.errors import DamagedError, UnavailableError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames

N_BANKS = 7


@pytest.fixture
def banks(federation: Federation) -> list[FakeBank]:
    return federation.start(cohort_size=N_BANKS)


class Counted:
    """The transactions that change runs, as the store makes them."""

    def __init__(self, store: Store) -> None:
        self.together: list[int] = []
        self.raises: list[Exception] = []
        self._real = store.runs.commit
        store.runs.commit = self.commit  # type: ignore[method-assign]

    def commit(self, before, accepted) -> None:
        if self.raises:
            raise self.raises.pop()
        self._real(before, accepted)
        self.together.append(len(accepted))


@pytest.fixture
def counted(store: Store, banks: list[FakeBank]) -> Counted:
    return Counted(store)


def at_once(app: Flask, run_id: str, requests: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Send requests that all wait for their turn before the first has it, in their order."""
    line = app.extensions["fraudfed"].runs._changes._line_of(run_id)
    with ThreadPoolExecutor(len(requests)) as pool:
        sent: list[Future[Answer]] = []
        with line.turn:
            for request in requests:
                sent.append(pool.submit(request))
                deadline = time.monotonic() + 60
                while len(line.waiting) < len(sent):
                    assert time.monotonic() < deadline
                    time.sleep(0.002)
        return [one.result() for one in sent]


def contributing(bank: FakeBank, values: list[int], **changes) -> Callable[[], Answer]:
    body = bank.contribution(0, values, **changes)
    bank.sent[0] = body
    return lambda: bank.post_contribution(0, body)


def opened(bank: FakeBank, answer: Answer) -> list[int]:
    _, payload = frames.decode(answer.body, source="test")
    return bank.key.decrypt(CiphertextVector(bank.key.public, bytes(payload)))


def test_a_herd_of_contributions_and_openings_is_a_few_transactions(
    app: Flask, federation: Federation, banks: list[FakeBank], counted: Counted
) -> None:
    values = [[index] * N_BANKS for index in range(N_BANKS)]
    run_id = banks[0].run_id
    answers = at_once(
        app, run_id, [contributing(bank, own) for bank, own in zip(banks, values, strict=True)]
    )
    # Each is told how many were there with it, as if they had come one by one.
    assert [one.json()["received"] for one in answers] == [*range(1, N_BANKS + 1)]
    assert counted.together == [N_BANKS]
    for shard, bank in enumerate(banks):
        assert opened(bank, bank.product(0, shard)) == [sum(range(N_BANKS))]
    openings = [bank.opening(0, shard, 1) for shard, bank in enumerate(banks)]
    sent = [
        lambda bank=bank, body=body: bank.post_opening(0, body)
        for bank, body in zip(banks, openings, strict=True)
    ]
    assert [one.status for one in at_once(app, run_id, sent)] == [202] * N_BANKS
    assert counted.together == [N_BANKS, N_BANKS]
    assert frames.decode_many(banks[0].openings(0).body, source="test")
    # Nothing is missing in the log or in what is counted.
    told = [one for one in federation.audit() if one["kind"] in ("contribution", "opening")]
    assert len(told) == 2 * N_BANKS
    status = federation.status(run_id)
    assert (status["round_number"], status["ciphertexts"]) == (1, N_BANKS * N_BANKS)
    assert status["bytes_received"] == sum(len(bank.sent[0]) for bank in banks) + sum(
        map(len, openings)
    )
    assert sum_round(banks, 1, values) == [sum(range(N_BANKS))] * N_BANKS


def test_the_same_again_in_one_herd_counts_once(
    app: Flask, banks: list[FakeBank], counted: Counted
) -> None:
    twice = contributing(banks[0], [5])
    answers = at_once(app, banks[0].run_id, [twice, contributing(banks[1], [6]), twice, twice])
    assert [one.status for one in answers] == [202] * 4
    assert counted.together == [2]
    assert [one.json()["received"] for one in answers] == [1, 2, 2, 2]


def test_what_is_refused_in_a_herd_is_refused_alone(
    app: Flask, banks: list[FakeBank], counted: Counted
) -> None:
    first = contributing(banks[0], [5])
    other = contributing(banks[0], [7])
    requests = [first, contributing(banks[1], [6]), other, contributing(banks[2], [8])]
    answers = at_once(app, banks[0].run_id, requests)
    assert [one.status for one in answers] == [202, 202, 409, 202]
    assert sum(counted.together) == 3


def test_banks_that_disagree_in_a_herd_fail_the_run(
    app: Flask, federation: Federation, banks: list[FakeBank], counted: Counted
) -> None:
    """The one that shows it, and those behind it, are told; nothing is multiplied any more."""
    requests = [
        contributing(banks[0], [1]),
        contributing(banks[1], [1], label="another"),
        contributing(banks[2], [1]),
    ]
    answers = at_once(app, banks[0].run_id, requests)
    assert [one.status for one in answers] == [202, 409, 409]
    assert [one.problem()[1] for one in answers[1:]] == ["run-failed", "run-failed"]
    assert federation.status(banks[0].run_id)["state"] == "failed"
    assert counted.together == [2]


def test_a_herd_that_meets_another_process_starts_over_and_multiplies_little(
    app: Flask, banks: list[FakeBank], counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = []
    real = CiphertextVector.product

    def product(self: CiphertextVector, other: CiphertextVector) -> CiphertextVector:
        products.append(1)
        return real(self, other)

    banks[6].contribute(0, [100])
    counted.raises = [StaleError(), StaleError()]
    monkeypatch.setattr(CiphertextVector, "product", product)
    requests = [contributing(bank, [index]) for index, bank in enumerate(banks[:6])]
    assert [one.status for one in at_once(app, banks[0].run_id, requests)] == [202] * 6
    # Six of the herd: five among themselves, once; and one into the running product each time.
    assert len(products) == 5 + 3
    assert opened(banks[0], banks[0].product(0, 0)) == [100 + sum(range(6))]


def test_an_error_of_one_hits_one_and_a_database_that_is_away_all(
    app: Flask, banks: list[FakeBank], counted: Counted
) -> None:
    run_id = banks[0].run_id
    counted.raises = [DamagedError("one row"), DamagedError("found together")]
    requests = [contributing(bank, [1]) for bank in banks[:3]]
    assert [one.status for one in at_once(app, run_id, requests)] == [500, 202, 202]
    counted.raises = [UnavailableError("the disk is full")]
    requests = [contributing(bank, [1]) for bank in banks[3:6]]
    assert [one.status for one in at_once(app, run_id, requests)] == [503] * 3
    # Nothing of it is lost: the same again is taken.
    again = [
        lambda bank=bank: bank.post_contribution(0, bank.sent[0])
        for bank in (banks[0], *banks[3:6])
    ]
    assert [one.status for one in at_once(app, run_id, again)] == [202] * 4
    assert counted.together == [1, 1, 4]


def test_a_herd_is_bounded(
    app: Flask, banks: list[FakeBank], counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "_MOST_TOGETHER", 3)
    requests = [contributing(bank, [1]) for bank in banks]
    assert [one.status for one in at_once(app, banks[0].run_id, requests)] == [202] * N_BANKS
    assert counted.together == [3, 3, 1]


def test_factors_make_their_own_product_once(key: TestKey) -> None:
    vectors = [key.encrypt([number, 2 * number]) for number in (1, 2, 3)]
    factors = Factors()
    first = factors.into(None, vectors)
    assert key.decrypt(CiphertextVector(key.public, first)) == [6, 12]
    assert factors.into(None, vectors) is first
    running = key.encrypt([10, 20]).data
    assert key.decrypt(CiphertextVector(key.public, factors.into(running, vectors))) == [16, 32]
    # Another herd, because another process took one of them: it is made anew.
    assert key.decrypt(CiphertextVector(key.public, factors.into(running, vectors[:2]))) == [13, 26]
