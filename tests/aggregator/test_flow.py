"""A run over the API: sums, replays, waiting, failure, counters, models."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from federations.fake_banks import MODEL, MODEL_SHA256, FakeBank, Federation, sum_round

from aggregator.runs.waiters import Waiters
from aggregator.service.store import Store
from fraudfed.consortium.public.documents import verify_model_signature
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames
from fraudfed.wire.messages import AbortReason

#: See conftest.py.
STORES = ("sqlite", "postgresql")


def test_rounds_sum_exactly_and_the_agreed_model_is_published(federation: Federation) -> None:
    banks = federation.start()
    run_id = banks[0].run_id
    status = federation.status(run_id)
    assert status["state"] == "training"
    assert status["members"] == sorted(bank.name for bank in banks)
    parts = [[1, 20, 300, 4000], [5, 60, 700, 8000], [9, 0, 2**100, 7]]
    assert sum_round(banks, 0, parts) == [15, 80, 1000 + 2**100, 12007]
    assert sum_round(banks, 1, [[1], [2], [3]]) == [6]

    for votes, bank in enumerate(banks, start=1):
        assert bank.run_request("GET", "/model").problem() == (404, "not-found")
        receipt = bank.submit_model().json()
        assert (receipt["votes"], receipt["accepted"]) == (votes, votes == 3)
    answer = banks[0].run_request("GET", "/model")
    assert answer.body == MODEL
    assert answer.headers["etag"] == f'"{MODEL_SHA256}"'
    known = {"If-None-Match": answer.headers["etag"]}
    assert banks[1].run_request("GET", "/model", headers=known).status == 304

    status = federation.status(run_id)
    assert status["state"] == "finished"
    assert status["round_number"] == 2
    assert status["model_sha256"] == MODEL_SHA256
    assert status["ciphertexts"] == 3 * 4 + 3 * 1
    rounds = federation.operate("GET", f"/v1/runs/{run_id}/rounds").json()["rounds"]
    assert [(one["number"], one["label"], one["ciphertexts"]) for one in rounds] == [
        (0, "hist", 4),
        (1, "hist", 1),
    ]
    assert status["bytes_received"] == sum(one["bytes_received"] for one in rounds)
    assert all(one["opened_at"] <= one["completed_at"] <= one["closed_at"] for one in rounds)
    later = banks[0].run_request("GET", "/rounds?start=1&limit=5").json()["rounds"]
    assert later == rounds[1:]


def test_the_same_bytes_again_change_nothing(federation: Federation) -> None:
    banks = federation.start()
    first = banks[0].contribute(0, [1, 2])
    before = federation.status(banks[0].run_id)
    assert banks[0].post_contribution(0, banks[0].sent[0]).json() == first.json()
    assert federation.status(banks[0].run_id) == before
    for bank in banks[1:]:
        bank.contribute(0, [10, 20])
    opening = banks[0].opening(0, 0, 1)
    first = banks[0].post_opening(0, opening)
    before = federation.status(banks[0].run_id)
    assert banks[0].post_opening(0, opening).json() == first.json()
    assert federation.status(banks[0].run_id) == before
    banks[1].open(0, 1, 1)
    banks[2].open(0, 2, 0)
    # A closed round still acknowledges what it accepted, and refuses anything else.
    assert banks[0].post_contribution(0, banks[0].sent[0]).json()["received"] == 3
    assert banks[0].post_opening(0, opening).json()["received"] == 3
    assert banks[0].contribute(0, [1, 2]).problem() == (409, "conflict")
    assert banks[0].open(0, 0, 1).problem() == (409, "conflict")
    first = banks[0].submit_model()
    assert banks[0].submit_model().json() == first.json()
    assert banks[0].submit_model(b"{}").problem() == (409, "conflict")
    assert banks[0].join(banks[0].run_id).status == 200


def test_a_product_comes_with_the_commitments_of_all_banks(
    federation: Federation, store: Store
) -> None:
    """In the order of the banks, whatever the order of arrival, and to every bank the same."""
    banks = federation.start()
    run_id = banks[0].run_id
    for number in range(2):
        for bank in (banks[2], banks[0], banks[1]):
            assert bank.product(number, 0).status == 204
            bank.contribute(number, [1, 2, 3])
            # The same again changes nothing.
            assert bank.post_contribution(number, bank.sent[number]).status == 202
        expected = tuple(bank.commitment(number) for bank in banks)
        for bank in banks:
            for shard in range(3):
                header, _ = frames.decode(bank.product(number, shard).body, source="test")
                assert header.commitments == expected
                assert header.commitment is None
        for shard, bank in enumerate(banks):
            bank.open(number, shard, 1)
        assert store.runs.commitments(run_id, number) == expected
    for bank in banks:
        bank.contribute(2, [1], step=1)
    # The round before is the last that a bank can still ask for.
    assert store.runs.commitments(run_id, 0) is None
    for shard, bank in enumerate(banks):
        bank.open(2, shard, len(range(shard, 1, 3)))


def test_another_commitment_is_another_contribution(federation: Federation) -> None:
    banks = federation.start()
    banks[0].contribute(0, [1])
    header, payload = frames.decode(banks[0].sent[0], source="test")
    other = header.model_copy(update={"commitment": "f" * 64})
    answer = banks[0].post_contribution(0, frames.encode(other, bytes(payload)))
    assert answer.problem() == (409, "conflict")
    for bank in banks[1:]:
        bank.contribute(0, [1])
    read, _ = frames.decode(banks[1].product(0, 1).body, source="test")
    assert read.commitments is not None
    assert read.commitments[0] == banks[0].commitment(0)


def test_products_are_deleted_when_their_round_is_closed(
    federation: Federation, store: Store
) -> None:
    banks = federation.start()
    run_id = banks[0].run_id
    for bank in banks:
        bank.contribute(0, [1])
    for shard, bank in enumerate(banks):
        assert bank.product(0, shard).status == 200
        assert store.runs.product(run_id, 0) is not None
        bank.open(0, shard, len(range(shard, 1, 3)))
    # Every bank has opened its shard, which it could not without having read it.
    assert banks[2].product(0, 0).problem() == (404, "not-found")
    assert store.runs.product(run_id, 0) is None
    assert banks[0].post_contribution(0, banks[0].sent[0]).json()["received"] == 3


def test_openings_are_deleted_when_every_bank_has_begun_the_next_step(
    federation: Federation, store: Store
) -> None:
    """A bank that is started again replays the rounds of its step from the openings."""
    banks = federation.start()
    run_id = banks[0].run_id
    for number in (0, 1):
        sum_round(banks, number, [[1], [2], [3]])
    kept = [banks[2].openings(number).body for number in (0, 1)]
    for bank in banks[:2]:
        bank.contribute(2, [1], step=1)
        assert [banks[2].openings(number).body for number in (0, 1)] == kept
        # Who sent what is kept as long.
        assert banks[2].post_contribution(0, banks[2].sent[0]).status == 202
    assert banks[2].contribute(2, [1], step=1).status == 202
    for number in (0, 1):
        assert banks[2].openings(number).problem() == (404, "not-found")
        assert store.runs.openings(run_id, number) is None
        assert banks[2].post_contribution(number, banks[2].sent[number]).problem() == (
            409,
            "conflict",
        )
    for shard, bank in enumerate(banks):
        bank.open(2, shard, len(range(shard, 1, 3)))
    # Only the first round of a step lets go of anything.
    sum_round(banks, 3, [[1], [2], [3]], step=1)
    assert banks[0].openings(2).status == 200


def test_a_contribution_of_an_earlier_step_is_refused(federation: Federation) -> None:
    banks = federation.start()
    sum_round(banks, 0, [[1], [2], [3]], step=2)
    answer = banks[0].contribute(1, [1], step=1)
    assert answer.problem() == (409, "conflict")
    assert "restore the newest state directory" in answer.json()["detail"]
    assert banks[0].contribute(1, [1], step=2).status == 202


def test_contributions_from_many_threads_are_all_counted_once(federation: Federation) -> None:
    banks = federation.start(cohort_size=12)
    bodies = [bank.contribution(0, [1, index]) for index, bank in enumerate(banks)]
    with ThreadPoolExecutor(max_workers=24) as pool:
        # Each twice: the second may meet the first on its way.
        answers = list(
            pool.map(
                lambda pair: pair[0].post_contribution(0, pair[1]),
                [*zip(banks, bodies, strict=True)] * 2,
            )
        )
    assert [answer.status for answer in answers] == [202] * 24
    assert federation.status(banks[0].run_id)["ciphertexts"] == 24
    key = federation.key
    opened = []
    for shard in (0, 1):
        _, payload = frames.decode(banks[0].product(0, shard).body, source="test")
        opened.append(int.from_bytes(payload, "big"))
    assert [key.phe_private.raw_decrypt(c) for c in opened] == [12, sum(range(12))]


def test_waiting_ends_when_the_round_completes(federation: Federation) -> None:
    banks = federation.start()
    for bank in banks[:2]:
        bank.contribute(0, [1])
    assert banks[0].product(0, 0).status == 204
    assert banks[0].openings(0, wait=0.05).status == 204
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(banks[0].product, 0, 0, wait=30)
        banks[2].contribute(0, [1])
        assert waiting.result(timeout=25).status == 200


def test_a_round_takes_two_exchanges(federation: Federation) -> None:
    banks = federation.start()
    bodies = [bank.contribution(0, [1, 10 * index, 7]) for index, bank in enumerate(banks)]
    with ThreadPoolExecutor() as pool:
        products = list(
            pool.map(lambda i: banks[i].post_contribution(0, bodies[i], wait=30), range(3))
        )
        assert [answer.status for answer in products] == [200] * 3
        # Each bank is sent the shard that it opens, as when it asks for it.
        assert [answer.body for answer in products] == [
            bank.product(0, shard).body for shard, bank in enumerate(banks)
        ]
        opened = [
            federation.key.decrypt(
                CiphertextVector(
                    federation.key.public,
                    bytes(frames.decode(answer.body, source="test")[1]),
                )
            )
            for answer in products
        ]
        assert opened == [[3], [30], [21]]
        openings = [bank.opening(0, shard, 1) for shard, bank in enumerate(banks)]
        answers = list(pool.map(lambda i: banks[i].post_opening(0, openings[i], wait=30), range(3)))
    assert [answer.status for answer in answers] == [200] * 3
    assert {answer.body for answer in answers} == {frames.encode_many(openings)}
    assert federation.status(banks[0].run_id)["round_number"] == 1
    # The same bytes again, as long as anybody may need the answer; then they are only confirmed.
    before = federation.audit()
    assert banks[1].post_contribution(0, bodies[1], wait=30).status == 202
    for bank in banks:
        assert banks[1].post_opening(0, openings[1], wait=30).body == answers[1].body
        bank.contribute(1, [1])
    assert banks[1].post_contribution(0, bodies[1], wait=30).status == 202
    assert banks[1].post_opening(0, openings[1], wait=30).body == answers[1].body
    assert len(federation.audit()) == len(before) + 3


def test_the_answer_to_a_contribution_can_be_had_again_until_the_round_is_closed(
    federation: Federation,
) -> None:
    banks = federation.start()
    for bank in banks:
        bank.contribute(0, [1])
    first = banks[1].post_contribution(0, banks[1].sent[0], wait=30)
    banks[1].open(0, 1, 0)
    assert banks[1].post_contribution(0, banks[1].sent[0], wait=30).body == first.body
    banks[0].open(0, 0, 1)
    banks[2].open(0, 2, 0)
    assert banks[1].post_contribution(0, banks[1].sent[0], wait=30).status == 202


def test_an_exchange_that_is_not_answered_in_time_is_accepted(federation: Federation) -> None:
    banks = federation.start()
    body = banks[0].contribution(0, [1])
    answer = banks[0].post_contribution(0, body, wait=0.05)
    assert answer.status == 202
    assert (answer.json()["received"], answer.json()["expected"]) == (1, 3)
    assert federation.status(banks[0].run_id)["ciphertexts"] == 1
    for bank in banks[1:]:
        bank.contribute(0, [1])
    answer = banks[0].post_opening(0, banks[0].opening(0, 0, 1), wait=0.05)
    assert (answer.status, answer.json()["received"]) == (202, 1)
    # Who does not wait is not sent the answer, even if it is there.
    assert banks[0].post_contribution(0, body).status == 202
    assert banks[0].post_contribution(0, body, wait=31).problem() == (400, "protocol")


def test_a_run_that_fails_during_an_exchange_leaves_what_was_accepted(
    federation: Federation, store: Store
) -> None:
    """The contribution is on record as accepted, and nothing as refused: it was not."""
    banks = federation.start()
    body = banks[0].contribution(0, [1])
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(banks[0].post_contribution, 0, body, wait=30)
        while federation.status(banks[0].run_id)["ciphertexts"] == 0:
            time.sleep(0.01)
        banks[2].abort()
        answer = waiting.result(timeout=25)
    assert answer.status == 202
    assert "contribution" not in {entry["kind"] for entry in federation.refusals()}
    accepted = [entry for entry in federation.audit() if entry["kind"] == "contribution"]
    assert [entry["actor"] for entry in accepted] == [f"bank:{banks[0].name}"]
    assert AbortReason.STOPPED in banks[0].product(0, 0, wait=30).json()["detail"]
    store.audit.verify()


def test_waiting_for_the_start_ends_when_the_cohort_is_complete(federation: Federation) -> None:
    bank = federation.register("bank-a")
    run_id = federation.open_run()
    path = f"/v1/runs/{run_id}?wait=30&state=open"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(bank.request, "GET", path)
        bank.join(run_id)
        assert waiting.result(timeout=25).json()["state"] == "training"
    assert bank.request("GET", f"/v1/runs/{run_id}?wait=0.05&state=training").status == 200


def test_a_failed_run_wakes_waiting_banks_with_its_cause(federation: Federation) -> None:
    banks = federation.start()
    banks[0].contribute(0, [1])
    with ThreadPoolExecutor() as pool:
        waiting = [
            pool.submit(banks[0].product, 0, 0, wait=30),
            pool.submit(banks[1].openings, 0, wait=30),
            pool.submit(banks[1].run_request, "GET", "?wait=30&state=training"),
        ]
        assert banks[2].abort(AbortReason.SUM).json()["state"] == "failed"
        for one in waiting:
            answer = one.result(timeout=25)
            assert answer.problem() == (409, "run-failed")
            assert f"{banks[2].name}: sum-failed" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("options", "values"),
    [({"label": "leaf"}, [1]), ({"context": "d" * 64}, [1]), ({}, [1, 2])],
    ids=["label", "context", "count"],
)
def test_banks_that_disagree_fail_the_run(
    federation: Federation, options: dict[str, str], values: list[int]
) -> None:
    banks = federation.start()
    banks[0].contribute(0, [1])
    answer = banks[1].contribute(0, values, **options)
    assert answer.problem() == (409, "run-failed")
    status = federation.status(banks[0].run_id)
    assert status["state"] == "failed"
    assert banks[0].name in status["failure"]
    assert banks[1].name in status["failure"]
    # The refused contribution is not counted.
    assert status["ciphertexts"] == 1
    every_call = [
        banks[2].contribute(0, [1]),
        banks[2].open(0, 2, 0),
        banks[2].product(0, 0),
        banks[2].openings(0),
        banks[2].submit_model(),
        banks[2].join(banks[2].run_id),
        banks[2].run_request("GET", ""),
        banks[2].run_request("GET", "/model"),
        banks[2].run_request("GET", "/rounds"),
        banks[2].abort(),
    ]
    assert {answer.problem() for answer in every_call} == {(409, "run-failed")}


def test_different_models_fail_the_run(federation: Federation) -> None:
    banks = federation.start()
    banks[0].submit_model()
    answer = banks[1].submit_model(b"{}")
    assert answer.problem() == (409, "run-failed")
    assert MODEL_SHA256 in answer.json()["detail"]
    assert federation.operate("GET", f"/v1/runs/{banks[0].run_id}/model").status == 404


@pytest.mark.parametrize(
    "reason",
    [
        "disk full",
        "sum-failed: row 7 holds 312 frauds",
        "Sum-failed",
        " stopped",
        "stopped\n",
        "SumError: bound 512 exceeded",
    ],
)
def test_a_bank_has_no_words_of_its_own_for_why_it_stops(
    federation: Federation, reason: str
) -> None:
    banks = federation.start()
    assert banks[0].abort(reason).problem() == (400, "protocol")
    status = federation.status(banks[0].run_id)
    assert (status["state"], status["failure"]) == ("training", None)
    if reason.strip() not in frozenset(AbortReason):
        assert reason.strip() not in str(federation.refusals())
    assert banks[0].abort(AbortReason.KEY).json()["failure"] == f"{banks[0].name}: key-unusable"


def test_the_operator_has_words_of_its_own(federation: Federation) -> None:
    banks = federation.start()
    answer = federation.operate(
        "POST", f"/v1/runs/{banks[0].run_id}/abort", json={"reason": "wrong\ncontract"}
    )
    assert answer.json()["failure"] == "operator: wrong contract"


def test_operator_ends_a_run_and_sees_why_it_failed(federation: Federation) -> None:
    federation.register("bank-a")
    run_id = federation.open_run()
    path = f"/v1/runs/{run_id}/abort"
    answer = federation.operate("POST", path, json={"reason": "wrong parameters"})
    assert answer.json()["failure"] == "operator: wrong parameters"
    assert federation.operate("POST", path, json={"reason": "again"}).json() == answer.json()


def test_lists_show_a_bank_the_runs_of_its_cohorts(federation: Federation) -> None:
    members = federation.start()
    newcomer = federation.register("newcomer")
    open_run = federation.open_run()

    def listed(bank: FakeBank) -> list[str]:
        return [run["run_id"] for run in bank.request("GET", "/v1/runs").json()["runs"]]

    assert listed(members[0]) == [open_run, members[0].run_id]
    assert listed(newcomer) == [open_run]
    everything = federation.operate("GET", "/v1/runs").json()["runs"]
    assert [run["run_id"] for run in everything] == [open_run, members[0].run_id]


def test_a_run_is_bound_to_the_roster_and_key_of_its_epoch(federation: Federation) -> None:
    banks = federation.start()
    status = federation.status(banks[0].run_id)
    assert status["spec"]["key_epoch"] == 1
    assert status["cohort"] == [bank.name for bank in banks]
    assert status["public_key"]["fingerprint"] == federation.key.public.fingerprint
    # Who comes later is in later runs; this one goes on with its key.
    federation.register("newcomer")
    federation.make_epoch()
    assert sum_round(banks, 0, [[1], [2], [3]]) == [6]
    assert federation.status(banks[0].run_id)["cohort"] == status["cohort"]


def test_the_signatures_of_all_banks_are_kept_with_the_model(federation: Federation) -> None:
    banks = federation.start()
    run_id = banks[0].run_id
    path = f"/v1/runs/{run_id}/model/signatures"
    assert federation.operate("GET", path).problem() == (404, "not-found")
    for bank in banks:
        bank.submit_model()
    found = banks[1].request("GET", path).json()
    assert (found["sha256"], found["plain_sha256"]) == (MODEL_SHA256, MODEL_SHA256)
    assert [one["bank"] for one in found["signatures"]] == [bank.name for bank in banks]
    for bank, one in zip(banks, found["signatures"], strict=True):
        verify_model_signature(
            bank.keys.signing_key,
            one["signature"],
            bank=bank.name,
            run_id=run_id,
            plain_sha256=MODEL_SHA256,
        )


def test_a_model_for_members_is_kept_sealed(federation: Federation) -> None:
    banks = federation.start(model_visibility="members")
    sealed = b"sealed to the members"
    assert banks[0].submit_model().problem() == (400, "protocol")
    for bank in banks:
        assert bank.submit_model(sealed, plain=MODEL_SHA256).status == 200
    answer = federation.operate("GET", f"/v1/runs/{banks[0].run_id}/model")
    assert answer.body == sealed
    assert answer.headers["content-type"] == "application/octet-stream"
    found = federation.operate("GET", f"/v1/runs/{banks[0].run_id}/model/signatures").json()
    assert found["plain_sha256"] == MODEL_SHA256
    assert found["sha256"] == hashlib.sha256(sealed).hexdigest()


def test_stopping_ends_every_wait_at_once(federation: Federation, waiters: Waiters) -> None:
    banks = federation.start()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(banks[0].product, 0, 0, wait=30)
        body = banks[1].contribution(0, [1])
        exchanging = pool.submit(banks[1].post_contribution, 0, body, wait=30)
        time.sleep(0.05)
        waiters.stop()
        assert waiting.result(timeout=25).status == 204
        assert exchanging.result(timeout=25).status == 202
    assert banks[0].product(0, 0, wait=30).status == 204


def test_waiters_miss_no_change_between_reading_and_waiting(waiters: Waiters) -> None:
    reads = []

    def read() -> str | None:
        reads.append(1)
        if len(reads) == 1:
            # The change comes from another thread, after this read has found nothing.
            thread = threading.Thread(target=waiters.changed, args=("run",))
            thread.start()
            thread.join()
            return None
        return "found"

    assert waiters.wait("run", read, seconds=30) == "found"
    assert len(reads) == 2
