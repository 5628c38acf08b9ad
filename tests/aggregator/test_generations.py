"""Generations over the API: banks are dropped, agree to go on, come back and hand over."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from federations.fake_banks import MODEL, Answer, FakeBank, Federation, sum_round
from flask import Flask

from aggregator.api.services import Services
from aggregator.runs.deadlines import Deadlines
from aggregator.service.store import Store
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import HandoverRow, HandoverSignatureRow
from fraudfed.consortium.ephemeral import EphemeralKey
from fraudfed.consortium.public.generations import sign_handover
from fraudfed.wire.handovers import decode
from fraudfed.wire.messages import PROTOCOL_VERSION

CHANGED = (409, "cohort-changed")


def start(federation: Federation, *, cohort_size: int = 3, **changes: Any) -> list[FakeBank]:
    """Start a run that two banks are enough for."""
    return federation.start(cohort_size=cohort_size, **{"min_cohort": 2, **changes})


def begin(banks: list[FakeBank], generation: int, *, step: int = 0) -> None:
    """Let banks agree to a generation, all with the same step."""
    for bank in banks:
        assert bank.agree(generation, step=step).status == 200


def generation_of(federation: Federation, bank: FakeBank) -> tuple[str, int, list[str], list[str]]:
    """Return the run's state, number of its generation, banks and entrants."""
    status = federation.status(bank.run_id)
    found = status["generation"]
    return status["state"], found["number"], found["banks"], found["entrants"]


def rounds_of(federation: Federation, bank: FakeBank) -> list[dict[str, Any]]:
    rounds: list[dict[str, Any]] = federation.operate(
        "GET", f"/v1/runs/{bank.run_id}/rounds"
    ).json()["rounds"]
    return rounds


def let_in(federation: Federation, there: list[FakeBank], back: FakeBank, *, step: int) -> int:
    """Go on without a bank that was dropped, and let it in when step ``step`` begins.

    Return the number of the generation that is formed with it.
    """
    run_id = there[0].run_id
    number: int = federation.status(run_id)["generation"]["number"]
    begin(there, number, step=step - 1)
    opened = federation.status(run_id)["round_number"]
    sum_round(there, opened, [[1]] * len(there), step=step - 1)
    assert back.join(run_id).json()["waiting"] == [back.name]
    following = federation.status(run_id)["round_number"]
    assert there[0].contribute(following, [1], step=step).problem() == CHANGED
    return number + 1


def handovers(store: Store) -> tuple[int, int]:
    """Return the number of handovers that are kept, and of signatures over them."""
    return store.database.transaction(
        "test",
        Kind.READ,
        lambda read: (
            read.session.query(HandoverRow).count(),
            read.session.query(HandoverSignatureRow).count(),
        ),
    )


def handed(answer: Answer) -> tuple[list[str], bytes]:
    """Return who has signed a handover, and the handover."""
    assert answer.status == 200, answer.body
    signatures, content = decode(answer.body, source="test")
    return [one.bank for one in signatures.signatures], content


def test_the_others_go_on_without_a_dropped_bank(federation: Federation, store: Store) -> None:
    banks = start(federation)
    first, gone, last = banks
    sum_round(banks, 0, [[1], [2], [3]])
    sum_round(banks, 1, [[1], [2], [3]], step=1)
    first.contribute(2, [1], step=1)
    last.contribute(2, [1], step=1)
    status = federation.status(first.run_id)
    assert status["contributed"] == [first.name, last.name]
    assert status["waits_for"] | {"protocol_version": 0} == {
        "protocol_version": 0,
        "what": "contribution",
        "banks": [gone.name],
    }

    answer = federation.drop(gone, "power\ncut").json()
    assert answer == federation.status(first.run_id)
    assert (answer["state"], answer["round_number"]) == ("gathering", 3)
    assert answer["generation"]["banks"] == [first.name, last.name]
    assert (answer["generation"]["entrants"], answer["generation"]["ready"]) == ([], [])
    assert (answer["contributed"], answer["waiting"], answer["waits_for"]) == ([], [], None)
    assert answer["members"] == [bank.name for bank in banks]
    # One of them has finished a step that the other has not.
    assert first.agree(1, step=2).json()["state"] == "gathering"
    status = federation.status(first.run_id)
    assert (status["waits_for"]["what"], status["waits_for"]["banks"]) == ("ready", [last.name])
    assert [(one["bank"], one["step"]) for one in status["generation"]["ready"]] == [
        (first.name, 2)
    ]
    begun = last.agree(1, step=1).json()
    assert (begun["state"], begun["waits_for"]) == ("training", None)
    assert (begun["generation"]["first_step"], begun["generation"]["first_round"]) == (1, 3)
    assert sum_round([first, last], 3, [[10, 20], [1, 2]], step=1) == [11, 22]

    assert [
        (one["number"], one["generation"], one["step"]) for one in rounds_of(federation, first)
    ] == [
        (0, 0, 0),
        (1, 0, 1),
        (2, 0, 1),
        (3, 1, 1),
    ]
    abandoned = [one["number"] for one in rounds_of(federation, first) if one["abandoned_at"]]
    assert abandoned == [2]
    for bank in (first, last):
        assert bank.submit_model().status == 200
    assert federation.status(first.run_id)["state"] == "finished"
    signatures = first.run_request("GET", "/model/signatures").json()["signatures"]
    assert [one["bank"] for one in signatures] == [first.name, last.name]
    # Who was left out reads the model as everybody of the cohort.
    assert gone.run_request("GET", "/model").body == MODEL
    store.audit.verify()


def test_nobody_is_dropped_where_too_few_would_be_left(federation: Federation) -> None:
    banks = start(federation)
    stranger = federation.register("stranger")
    stranger.run_id = banks[0].run_id
    before = federation.status(banks[0].run_id)
    answer = federation.drop(stranger)
    assert answer.problem() == (409, "conflict")
    assert "does not take part" in answer.json()["detail"]
    assert federation.status(banks[0].run_id) == before

    assert federation.drop(banks[1]).status == 200
    assert federation.drop(banks[1]).problem() == (409, "conflict")
    before = federation.status(banks[0].run_id)
    answer = federation.drop(banks[2])
    assert answer.problem() == (409, "conflict")
    assert "fewer than 2 banks" in answer.json()["detail"]
    assert federation.status(banks[0].run_id) == before
    # One that comes back makes them enough again.
    banks[1].join(banks[0].run_id)
    assert federation.drop(banks[2]).status == 200
    assert generation_of(federation, banks[0]) == (
        "gathering",
        3,
        [banks[0].name, banks[1].name],
        [banks[1].name],
    )
    # But not one that knows no tree.
    banks[2].join(banks[0].run_id)
    answer = federation.drop(banks[0])
    assert answer.problem() == (409, "conflict")
    assert "knows the trees" in answer.json()["detail"]


@pytest.mark.parametrize("ended", ["finished", "failed"])
def test_nobody_is_dropped_from_a_run_that_has_ended(federation: Federation, ended: str) -> None:
    banks = start(federation)
    if ended == "finished":
        for bank in banks:
            bank.submit_model()
        assert federation.drop(banks[0]).problem() == (409, "conflict")
    else:
        banks[0].abort()
        assert federation.drop(banks[0]).problem() == (409, "run-failed")
    assert banks[0].run_request("POST", "/drops", json={"bank": "x", "reason": "y"}).status == 403


def test_a_run_starts_without_a_bank_that_never_joined(federation: Federation) -> None:
    banks = [federation.register(f"bank-{index}") for index in range(3)]
    run_id = federation.open_run(min_cohort=2)
    for bank in banks[:2]:
        bank.join(run_id)
    banks[2].run_id = run_id
    status = federation.drop(banks[2]).json()
    assert (status["state"], status["generation"]["number"]) == ("training", 0)
    # It needs no agreement: nothing was summed yet.
    assert sum_round(banks[:2], 0, [[1], [2]]) == [3]
    assert banks[2].contribute(1, [1]).problem() == (403, "forbidden")
    # It was never there, so it may come as if it had not been dropped.
    assert banks[2].join(run_id).json()["waiting"] == [banks[2].name]
    assert banks[2].contribute(1, [1]).problem() == CHANGED


def test_what_is_sent_for_an_earlier_generation_is_refused(
    federation: Federation, store: Store
) -> None:
    banks = start(federation)
    first, gone, last = banks
    sum_round(banks, 0, [[1], [2], [3]])
    for bank in banks:
        bank.contribute(1, [1])
    first.open(1, 0, 1)
    federation.drop(gone)
    before = federation.status(first.run_id)

    def all_calls() -> list[Answer]:
        return [
            last.open(1, 2, 0),
            last.product(1, 2),
            last.openings(1),
            last.contribute(2, [1]) if gathering else last.contribute(1, [1], label="other"),
            gone.contribute(2, [1]),
            gone.open(1, 1, 0),
            gone.submit_model(),
            gone.agree(1, step=0),
            gone.product(2, 0),
            last.agree(0, step=0),
            last.submit_model() if gathering else last.agree(0, step=1),
        ]

    gathering = True
    assert [answer.problem() for answer in all_calls()] == [CHANGED] * 11
    # The round that was closed before can be read by all who were in it.
    kept = {bank.openings(0).body for bank in banks}
    assert len(kept) == 1
    assert federation.status(first.run_id) == before
    begin([first, last], 1)
    gathering = False
    before = federation.status(first.run_id)
    answers = all_calls()
    # Another contribution than the one that was accepted is another one in any generation.
    assert answers.pop(3).problem() == (409, "conflict")
    assert [answer.problem() for answer in answers] == [CHANGED] * 10
    assert {bank.openings(0).body for bank in banks} == kept
    assert federation.status(first.run_id) == before
    assert store.runs.product(first.run_id, 1) is None
    # A later agreement than to what is formed is a mistake.
    assert first.agree(2, step=0).problem() == (409, "conflict")
    # The same agreement again changes nothing, another one is refused.
    assert first.agree(1, step=0).status == 200
    assert first.agree(1, step=1).problem() == (409, "conflict")
    assert federation.status(first.run_id) == before
    assert {entry["detail"].split(": ")[1] for entry in federation.refusals()} >= {
        "409 cohort-changed"
    }
    store.audit.verify()


def test_a_bank_that_comes_back_while_others_gather_comes_in_at_once(
    federation: Federation, store: Store
) -> None:
    banks = start(federation)
    first, back, last = banks
    federation.drop(back)
    assert first.agree(1, step=4).status == 200
    status = back.join(first.run_id).json()
    # Nothing was summed without it.
    assert (status["state"], status["generation"]["number"]) == ("gathering", 2)
    assert (status["waiting"], status["generation"]["banks"]) == ([], [bank.name for bank in banks])
    assert status["generation"]["ready"] == []
    assert back.join(first.run_id).json() == status
    assert last.agree(1, step=4).problem() == CHANGED
    # The step is that of those who never left.
    assert back.agree(2, step=0, more_rows=2**20).status == 200
    assert first.agree(2, step=5).status == 200
    begun = last.agree(2, step=6).json()
    assert (begun["state"], begun["generation"]["first_step"]) == ("training", 5)
    assert begun["generation"]["entrants"] == [back.name]
    assert {one["bank"]: one["more_rows"] for one in begun["generation"]["ready"]} == {
        first.name: 0,
        back.name: 2**20,
        last.name: 0,
    }
    assert sum_round(banks, begun["generation"]["first_round"], [[1], [2], [3]], step=5) == [6]
    store.audit.verify()


def test_banks_that_were_not_there_before_are_turned_away_by_one_that_was(
    federation: Federation, store: Store
) -> None:
    banks = [federation.register(f"bank-{index}") for index in range(4)]
    run_id = federation.open_run(min_cohort=2)
    banks[3].run_id = run_id
    federation.drop(banks[3])
    for bank in banks[:3]:
        bank.join(run_id)
    assert banks[3].join(run_id).json()["generation"]["banks"] == [bank.name for bank in banks]
    assert banks[0].agree(1, step=0).status == 200
    answer = banks[1].decline(1)
    assert answer.status == 200
    assert generation_of(federation, banks[0]) == (
        *("gathering", 2),
        *([bank.name for bank in banks[:3]], []),
    )
    entry = [one for one in federation.audit() if one["kind"] == "decline"][-1]
    assert (entry["actor"], entry["detail"]) == (f"bank:{banks[1].name}", "generation 1")
    # Without effect where nobody can be turned away; and never of another generation.
    before = federation.status(run_id)
    assert banks[2].decline(2).json() == before
    assert banks[2].decline(1).problem() == CHANGED
    assert banks[2].decline(3).problem() == (409, "conflict")
    begin(banks[:3], 2)
    assert sum_round(banks[:3], before["round_number"], [[1], [2], [3]]) == [6]
    store.audit.verify()


def test_a_bank_that_comes_back_later_waits_for_the_next_step(federation: Federation) -> None:
    banks = start(federation)
    first, back, last = banks
    sum_round(banks, 0, [[1], [2], [3]])
    federation.drop(back)
    begin([first, last], 1)
    assert sum_round([first, last], 2, [[1], [2]]) == [3]
    status = back.join(first.run_id).json()
    assert (status["state"], status["waiting"]) == ("training", [back.name])
    assert back.join(first.run_id).json() == status
    assert back.agree(1, step=0).problem() == CHANGED
    # The step continues without it.
    assert sum_round([first, last], 3, [[1], [2]]) == [3]
    before = federation.status(first.run_id)
    with ThreadPoolExecutor() as pool:
        path = f"/v1/runs/{first.run_id}?wait=30&state=training"
        waiting = pool.submit(back.request, "GET", path)
        answer = first.contribute(4, [1], step=1)
        assert answer.problem() == CHANGED
        assert "agree to it" in answer.json()["detail"]
        assert waiting.result(timeout=25).json()["generation"]["number"] == 2
    status = federation.status(first.run_id)
    assert generation_of(federation, first) == (
        "gathering",
        2,
        [bank.name for bank in banks],
        [back.name],
    )
    assert status["waiting"] == []
    # Nothing of the contribution was stored, and nobody will use its number.
    for field in ("ciphertexts", "bytes_received", "contributed"):
        assert status[field] == before[field]
    assert status["round_number"] == before["round_number"] + 1
    assert [one["number"] for one in rounds_of(federation, first)] == [0, 2, 3]
    contributions = [one for one in federation.audit() if one["kind"] == "contribution"]
    assert contributions[-1]["status"] == "refused"
    begin(banks, 2, step=1)
    assert sum_round(banks, 5, [[1], [2], [4]], step=1) == [7]


def test_one_that_waits_comes_in_with_the_next_drop(federation: Federation) -> None:
    banks = start(federation)
    federation.drop(banks[1])
    begin([banks[0], banks[2]], 1)
    sum_round([banks[0], banks[2]], 1, [[1], [2]])
    banks[1].join(banks[0].run_id)
    # Two would be too few without the one that waits.
    assert federation.drop(banks[2]).status == 200
    assert generation_of(federation, banks[0]) == (
        "gathering",
        2,
        [banks[0].name, banks[1].name],
        [banks[1].name],
    )


@pytest.mark.parametrize("max_rejoins", [0, 2])
def test_a_bank_comes_back_as_often_as_the_run_allows(
    federation: Federation, store: Store, max_rejoins: int
) -> None:
    banks = start(federation, max_rejoins=max_rejoins)
    run_id = banks[0].run_id
    for turn in range(max_rejoins):
        federation.drop(banks[1])
        begin(banks, let_in(federation, [banks[0], banks[2]], banks[1], step=turn + 1))
    federation.drop(banks[1])
    answer = banks[1].join(run_id)
    assert answer.problem() == (403, "forbidden")
    assert f"may come back {max_rejoins} times" in answer.json()["detail"]
    # Others are not counted with it.
    status = federation.status(run_id)
    begin([banks[0], banks[2]], status["generation"]["number"])
    assert sum_round([banks[0], banks[2]], status["round_number"], [[1], [2]]) == [3]
    store.audit.verify()


def test_a_late_bank_comes_in_after_the_deadline_for_joining(
    federation: Federation, app: Flask, store: Store
) -> None:
    banks = [federation.register(f"bank-{index}") for index in range(3)]
    run_id = federation.open_run(min_cohort=2, join_deadline_seconds=60, deadline_seconds=10)
    now = [0.0]
    services: Services = app.extensions["fraudfed"]
    deadlines = Deadlines(services.generations, clock=lambda: now[0])
    for bank in banks[:2]:
        bank.join(run_id)
    deadlines.look()
    now[0] = 59.9
    deadlines.look()
    status = federation.status(run_id)
    assert (status["state"], status["waits_for"]["what"]) == ("open", "join")
    assert status["waits_for"]["banks"] == [banks[2].name]
    now[0] = 60.0
    deadlines.look()
    assert generation_of(federation, banks[0])[:3] == (
        "training",
        0,
        [banks[0].name, banks[1].name],
    )
    entries = [one for one in federation.audit() if one["kind"] == "generation"]
    assert [(one["actor"], one["subject"]) for one in entries] == [
        ("service:deadline", f"run/{run_id}")
    ]
    assert "bank-2 did not join in time" in entries[0]["detail"]
    sum_round(banks[:2], 0, [[1], [2]])
    assert banks[2].join(run_id).json()["waiting"] == [banks[2].name]
    assert banks[0].contribute(1, [1], step=1).problem() == CHANGED
    begin(banks, 1, step=1)
    assert sum_round(banks, 2, [[1], [2], [3]], step=1) == [6]
    store.audit.verify()


def test_a_drop_ends_every_wait_at_once(federation: Federation) -> None:
    banks = start(federation)
    first, gone, last = banks
    sum_round(banks, 0, [[1], [2], [3]])
    first.contribute(1, [1])
    body = last.contribution(1, [1])
    with ThreadPoolExecutor() as pool:
        path = f"/v1/runs/{first.run_id}?wait=30&state=training"
        waiting = [
            pool.submit(first.product, 1, 0, wait=30),
            pool.submit(first.openings, 1, wait=30),
            pool.submit(gone.openings, 1, wait=30),
        ]
        status = pool.submit(last.request, "GET", path)
        exchange = pool.submit(last.post_contribution, 1, body, wait=30)
        while len(federation.status(first.run_id)["contributed"]) < 2:
            time.sleep(0.01)
        federation.drop(gone)
        assert [one.result(timeout=25).problem() for one in waiting] == [CHANGED] * 3
        assert status.result(timeout=25).json()["state"] == "gathering"
        # What was accepted is not answered by a refusal.
        assert exchange.result(timeout=25).status == 202
        # While others agree, one waits for the next generation or for this one to begin.
        first.agree(1, step=0)
        path = f"/v1/runs/{first.run_id}?wait=30&state=gathering&generation=1"
        waiting = [pool.submit(first.request, "GET", path) for _ in range(2)]
        last.agree(1, step=0)
        found = {one.result(timeout=25).json()["state"] for one in waiting}
    assert found == {"training"}


def test_waiting_for_a_generation_ends_when_another_is_formed(federation: Federation) -> None:
    banks = start(federation, cohort_size=4)
    federation.drop(banks[0])
    path = f"/v1/runs/{banks[1].run_id}?wait=30&state=gathering&generation=1"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(banks[1].request, "GET", path)
        federation.drop(banks[2])
        status = waiting.result(timeout=25).json()
    assert (status["state"], status["generation"]["number"]) == ("gathering", 2)


def test_the_training_is_handed_to_those_that_enter(federation: Federation, store: Store) -> None:
    banks = start(federation)
    first, back, last = banks
    sum_round(banks, 0, [[1], [2], [3]])
    federation.drop(back)
    assert let_in(federation, [first, last], back, step=1) == 2
    sealed, other = b"sealed to the members", b"something else"
    # Before all have agreed nobody knows from where they go on.
    assert first.put_handover(2, sealed).problem() == CHANGED
    assert back.handover(2).problem() == CHANGED
    begin(banks, 2)
    assert back.handover(2).status == 204
    assert back.put_handover(2, sealed).problem() == (403, "forbidden")
    assert first.put_handover(1, sealed).problem() == CHANGED
    assert first.put_handover(3, sealed).problem() == CHANGED
    assert back.handover(1).problem() == CHANGED
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(back.handover, 2, wait=30)
        receipt = first.put_handover(2, sealed)
        assert receipt.status == 200
        # One that stays has not signed it yet.
        assert back.handover(2).status == 204
        answer = last.put_handover(2, other)
        assert answer.problem() == (409, "conflict")
        assert first.name in answer.json()["detail"]
        assert back.handover(2).status == 204
        assert last.put_handover(2, sealed).json() == receipt.json()
        assert handed(waiting.result(timeout=25)) == ([first.name, last.name], sealed)
    before = len(federation.audit())
    for bank in (first, last):
        assert bank.put_handover(2, sealed).json() == receipt.json()
    assert len(federation.audit()) == before
    assert handed(back.handover(2))[1] == sealed
    outsider = federation.register("outsider")
    outsider.run_id = first.run_id
    assert outsider.handover(2).problem() == (403, "forbidden")
    assert outsider.put_handover(2, sealed).problem() == (403, "forbidden")
    assert (
        federation.operate("GET", f"/v1/runs/{first.run_id}/generations/2/handover").status == 403
    )

    # That of a later generation takes its place.
    federation.drop(last)
    assert let_in(federation, [first, back], last, step=1) == 4
    begin(banks, 4)
    assert back.handover(4).status == 204
    for bank in (first, back):
        assert bank.put_handover(4, other).status == 200
    assert handed(last.handover(4)) == ([first.name, back.name], other)
    assert handovers(store) == (1, 2)
    for bank in banks:
        assert bank.submit_model().status == 200
    assert handovers(store) == (0, 0)
    assert first.put_handover(4, other).problem() == (409, "conflict")
    assert handovers(store) == (0, 0)
    kinds = [
        (one["actor"], one["status"]) for one in federation.audit() if one["kind"] == "handover"
    ]
    assert kinds.count((f"bank:{first.name}", "accepted")) == 2
    assert kinds.count((f"bank:{last.name}", "refused")) == 1
    store.audit.verify()


def test_a_handover_is_signed_by_the_bank_that_sends_it(
    federation: Federation, store: Store
) -> None:
    banks = start(federation)
    first, back, last = banks
    federation.drop(back)
    begin(banks, let_in(federation, [first, last], back, step=1), step=1)
    place: dict[str, Any] = {"run_id": first.run_id, "epoch": 1, "generation": 2, "step": 1}
    sha256 = hashlib.sha256(b"sealed").hexdigest()
    wrong = [
        sign_handover(last.identity, **place, sha256=sha256),
        sign_handover(first.identity, **place, sha256="0" * 64),
        *(
            sign_handover(first.identity, **{**place, **other}, sha256=sha256)
            for other in ({"run_id": "r"}, {"epoch": 2}, {"generation": 1}, {"step": 0})
        ),
    ]
    for signature in wrong:
        answer = first.put_handover(2, b"sealed", signature=signature)
        assert answer.problem() == (401, "authentication"), answer.body
    for signature in ("", "0", "G" * 128):
        assert first.put_handover(2, b"sealed", signature=signature).status == 400
    assert handovers(store) == (0, 0)
    assert first.put_handover(2, b"sealed", step=1).status == 200
    assert handovers(store) == (1, 1)


# Keys of a generation

LOW_ORDER = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"


def test_a_bank_agrees_with_one_signed_key_of_its_own(federation: Federation) -> None:
    """Before the start with the request to join, afterwards with every agreement."""
    banks = [federation.register(f"bank-{index}") for index in range(3)]
    first, second, third = banks
    run_id = federation.open_run(min_cohort=2)
    for bank in banks:
        bank.run_id = run_id

    def wrong(generation: int) -> list[dict[str, str]]:
        mine = first.signed_key(generation)
        return [
            {"signature": second.signed_key(generation, key=mine["key"])["signature"]},
            {"key": second.signed_key(generation)["key"]},
            {"signature": first.signed_key(generation + 1, key=mine["key"])["signature"]},
        ]

    for changes in wrong(0):
        assert first.join(run_id, **changes).problem() == (401, "authentication")
    for key in ("00" * 32, LOW_ORDER, "ff" * 32):
        answer = first.join(run_id, **first.signed_key(0, key=key))
        assert answer.problem() == (422, "key"), answer.body
    for changes in ({"key": None, "signature": None}, {"key": None}, {"key": "0"}):
        assert first.join(run_id, **changes).status == 400
    assert federation.status(run_id)["members"] == []
    assert first.join(run_id).status == 200
    assert first.join(run_id).status == 200
    other = first.signed_key(0, key=EphemeralKey.generate(b"").public)
    assert first.join(run_id, **other).problem() == (409, "conflict")
    (ready,) = federation.status(run_id)["generation"]["ready"]
    assert ready == {
        "protocol_version": PROTOCOL_VERSION,
        "step": 0,
        "more_rows": 0,
        **first.signed_key(0),
        "bank": first.name,
    }
    # One that is dropped before the start takes its key with it.
    second.join(run_id)
    federation.drop(second)
    assert len(federation.status(run_id)["generation"]["ready"]) == 1
    second.join(run_id)
    begun = third.join(run_id).json()
    assert begun["state"] == "training"
    assert [(one["bank"], one["key"]) for one in begun["generation"]["ready"]] == [
        (bank.name, bank.signed_key(0)["key"]) for bank in banks
    ]
    assert first.join(run_id, **other).problem() == (409, "conflict")

    federation.drop(third)
    assert federation.status(run_id)["generation"]["ready"] == []
    for changes in wrong(1):
        assert first.agree(1, step=0, **changes).problem() == (401, "authentication")
    assert first.agree(1, step=0).status == 200
    other = first.signed_key(1, key=EphemeralKey.generate(b"").public)
    assert first.agree(1, step=0, **other).problem() == (409, "conflict")
    begun = second.agree(1, step=0).json()
    assert [one["key"] for one in begun["generation"]["ready"]] == [
        bank.signed_key(1)["key"] for bank in (first, second)
    ]
    # One that comes while the others sum has no generation yet, and sends no key.
    assert first.contribute(begun["round_number"], [1]).status == 202
    assert third.join(run_id, key=None, signature=None).json()["waiting"] == [third.name]


def test_a_run_that_fails_forgets_its_handover(federation: Federation, store: Store) -> None:
    banks = start(federation)
    federation.drop(banks[1])
    begin(banks, let_in(federation, [banks[0], banks[2]], banks[1], step=1))
    banks[0].put_handover(2, b"sealed")
    assert handovers(store) == (1, 1)
    banks[0].abort()
    assert handovers(store) == (0, 0)


def test_a_handover_that_comes_too_late_is_not_stored(
    federation: Federation, app: Flask, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on between the check and the writing."""
    banks = start(federation)
    federation.drop(banks[1])
    begin(banks, let_in(federation, [banks[0], banks[2]], banks[1], step=1))
    original = store.handovers.put

    def overtaken(*arguments: Any) -> bool:
        federation.drop(banks[1])
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store.handovers, "put", overtaken)
        assert banks[0].put_handover(2, b"sealed").problem() == CHANGED
    assert handovers(store) == (0, 0)


def test_votes_of_an_earlier_generation_do_not_count(federation: Federation) -> None:
    banks = start(federation)
    first, gone, last = banks
    first.submit_model(b'{"trees": 3}')
    status = federation.status(first.run_id)
    assert (status["waits_for"]["what"], status["waits_for"]["banks"]) == (
        "model",
        [gone.name, last.name],
    )
    federation.drop(gone)
    begin([first, last], 1)
    assert first.submit_model().json()["votes"] == 1
    assert last.submit_model().json()["accepted"]


def test_a_bank_that_was_dropped_cannot_end_the_run(federation: Federation) -> None:
    banks = start(federation)
    federation.drop(banks[1])
    answer = banks[1].abort()
    assert answer.problem() == (403, "forbidden")
    assert federation.status(banks[0].run_id)["state"] == "gathering"
    assert banks[0].abort().json()["state"] == "failed"


def test_the_log_tells_who_took_part_when_and_why(federation: Federation, store: Store) -> None:
    banks = start(federation)
    first, back, last = banks
    before = len(federation.audit())
    federation.drop(back, "power cut")
    begin([first, last], 1)
    back.join(first.run_id)
    begin(banks, 2, step=1)
    entries = [one for one in federation.audit()[before:] if one["status"] == "accepted"]
    run = f"run/{first.run_id}"
    assert {one["subject"] for one in entries} == {run}
    names = ", ".join(bank.name for bank in banks)
    operator = next(one["actor"] for one in federation.audit() if one["kind"] == "run-created")
    assert [(one["kind"], one["actor"], one["detail"]) for one in entries] == [
        ("drop", operator, back.name),
        (
            "generation",
            operator,
            f"generation 1 of {first.name}, {last.name}: operator dropped {back.name}: power cut",
        ),
        ("ready", f"bank:{first.name}", "generation 1, step 0"),
        ("ready", f"bank:{last.name}", "generation 1, step 0"),
        (
            "generation-begun",
            f"bank:{last.name}",
            f"generation 1 of {first.name}, {last.name} from step 0 and round 1 on",
        ),
        ("join", f"bank:{back.name}", "3 of 3 banks have joined"),
        ("generation", f"bank:{back.name}", f"generation 2 of {names}: {back.name} joined"),
        ("ready", f"bank:{first.name}", "generation 2, step 1"),
        ("ready", f"bank:{back.name}", "generation 2, step 1"),
        ("ready", f"bank:{last.name}", "generation 2, step 1"),
        (
            "generation-begun",
            f"bank:{last.name}",
            f"generation 2 of {names} from step 1 and round 2 on",
        ),
    ]
    # What was sent is on record where it was sent, and only there.
    signed = [one["kind"] for one in entries if one["body_sha256"] is not None]
    assert signed == ["drop", "ready", "ready", "join", "ready", "ready", "ready"]
    store.audit.verify()
