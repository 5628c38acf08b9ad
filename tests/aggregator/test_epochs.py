"""Key epochs: announced by a steward, acknowledged by all, ended by any change of the members."""

from typing import Any

import pytest
from federations.fake_banks import FakeBank, Federation, make_acknowledgement, make_epoch, make_spec

from fraudfed.wire.messages import KeyEpoch

#: See conftest.py.
STORES = ("sqlite", "postgresql")


@pytest.fixture
def banks(federation: Federation) -> list[FakeBank]:
    return [federation.register(f"bank-{letter}") for letter in "abc"]


def state(federation: Federation, number: int = 1) -> str:
    answer = federation.operate("GET", f"/v1/epochs/{number}")
    assert answer.status == 200
    found: str = answer.json()["state"]
    return found


def create_run(federation: Federation, key_epoch: int) -> Any:
    return federation.operate("POST", "/v1/runs", json=make_spec(key_epoch))


def test_an_epoch_is_active_when_all_have_acknowledged(
    federation: Federation, banks: list[FakeBank]
) -> None:
    epoch = federation.announce_epoch()
    for count, bank in enumerate(banks):
        assert state(federation) == "pending"
        refused = create_run(federation, 1)
        assert refused.problem() == (409, "conflict")
        assert bank.name in refused.json()["detail"]
        status = bank.acknowledge(epoch).json()
        assert [one["bank"] for one in status["acknowledged"]] == [
            bank.name for bank in banks[: count + 1]
        ]
    assert state(federation) == "active"
    current = banks[1].request("GET", "/v1/epochs/current").json()
    assert KeyEpoch.model_validate(current["key_epoch"]) == epoch
    assert create_run(federation, 1).status == 201


def test_the_same_again_changes_nothing(federation: Federation, banks: list[FakeBank]) -> None:
    epoch = federation.announce_epoch()
    banks[1].acknowledge(epoch)
    entries = len(federation.audit())
    again = banks[0].announce(epoch)
    assert again.status == 201
    assert again.json() == banks[1].acknowledge(epoch).json()
    assert len(federation.audit()) == entries


def test_only_the_next_number_is_taken(federation: Federation, banks: list[FakeBank]) -> None:
    keys = [bank.keys for bank in banks]
    for number in (2, 7):
        answer = banks[0].announce(make_epoch(federation.key, number, banks[0], keys))
        assert answer.problem() == (409, "conflict")
        assert "next one is 1" in answer.json()["detail"]
    federation.make_epoch()
    # Another epoch under a number that is taken, by another steward.
    answer = banks[1].announce(make_epoch(federation.key, 1, banks[1], keys))
    assert answer.problem() == (409, "conflict")
    assert state(federation) == "active"
    assert banks[1].announce(make_epoch(federation.key, 2, banks[1], keys)).status == 201


def test_an_epoch_is_for_the_members_of_now(federation: Federation, banks: list[FakeBank]) -> None:
    keys = [bank.keys for bank in banks]
    forged = federation.stranger("bank-c")
    for roster in (keys[:2], [*keys, federation.stranger("bank-d").keys], [*keys[:2], forged.keys]):
        answer = banks[0].announce(make_epoch(federation.key, 1, banks[0], roster))
        assert answer.problem() == (409, "conflict")
        assert "another roster" in answer.json()["detail"]


def test_only_the_steward_announces_with_its_own_signature(
    federation: Federation, banks: list[FakeBank]
) -> None:
    keys = [bank.keys for bank in banks]
    epoch = make_epoch(federation.key, 1, banks[0], keys)
    assert banks[1].announce(epoch).problem() == (403, "forbidden")
    box = epoch.sealed[2].model_copy(update={"box": "AAAA"})
    altered = epoch.model_copy(update={"sealed": (*epoch.sealed[:2], box)})
    assert banks[0].announce(altered).problem() == (422, "key")
    assert federation.operate("GET", "/v1/epochs/current").problem() == (404, "not-found")
    assert [entry["kind"] for entry in federation.refusals()[-3:-1]] == ["key-epoch", "key-epoch"]


def test_acknowledgements_that_do_not_fit(federation: Federation, banks: list[FakeBank]) -> None:
    epoch = federation.announce_epoch()
    path = "/v1/epochs/1/acknowledgements"
    good = make_acknowledgement(banks[1], epoch).model_dump(mode="json")
    late = federation.stranger("bank-d")

    def send(sender: FakeBank, **changes: Any) -> tuple[int, str]:
        return sender.request("POST", path, json=good | changes).problem()

    assert send(banks[2]) == (403, "forbidden")
    assert send(banks[1], epoch=2) == (400, "protocol")
    assert send(banks[1], digest="0" * 64) == (422, "key")
    assert send(banks[1], signature="0" * 128) == (422, "key")
    assert banks[1].request(
        "POST", "/v1/epochs/9/acknowledgements", json=good | {"epoch": 9}
    ).problem() == (404, "not-found")
    assert late.register(federation.invite("bank-d")).status == 201
    # The newcomer is in no epoch's roster, and the others cannot acknowledge what is over.
    assert late.acknowledge(epoch).problem() == (403, "forbidden")
    assert banks[1].acknowledge(epoch).problem() == (409, "conflict")
    assert federation.operate("GET", "/v1/epochs/1").json()["acknowledged"] == []


@pytest.mark.parametrize("change", ["joins", "leaves", "rotates"])
def test_a_change_supersedes_the_epoch_for_new_runs(
    federation: Federation, banks: list[FakeBank], change: str
) -> None:
    federation.make_epoch()
    assert create_run(federation, 1).status == 201
    if change == "joins":
        federation.register("bank-d")
    elif change == "leaves":
        federation.operate("DELETE", "/v1/banks/bank-c")
        federation.banks.pop()
    else:
        federation.announce_epoch()
    assert state(federation) == "superseded"
    refused = create_run(federation, 1)
    assert refused.problem() == (409, "conflict")
    assert "superseded" in refused.json()["detail"]
    assert federation.refusals()[-1]["kind"] == "run-created"
    if change != "rotates":
        federation.make_epoch()
    else:
        for bank in banks:
            body = federation.operate("GET", "/v1/epochs/2").json()["key_epoch"]
            bank.acknowledge(KeyEpoch.model_validate(body))
    assert create_run(federation, 2).status == 201
    assert create_run(federation, 1).problem() == (409, "conflict")


def test_a_member_that_comes_back_revives_no_epoch(
    federation: Federation, banks: list[FakeBank]
) -> None:
    federation.make_epoch()
    federation.operate("DELETE", "/v1/banks/bank-c")
    assert banks[2].register(federation.invite("bank-c")).status == 201
    assert state(federation) == "superseded"


def test_a_run_of_an_unknown_epoch_is_refused(federation: Federation) -> None:
    assert create_run(federation, 1).problem() == (404, "not-found")


def test_a_request_for_a_run_of_another_epoch_is_refused(
    federation: Federation, banks: list[FakeBank]
) -> None:
    """Runs of two epochs side by side: what is of one cannot be used in the other."""
    old = federation.open_run()
    newcomer = federation.register("bank-d")
    new = federation.open_run()
    assert newcomer.join(old).problem() == (403, "forbidden")
    for bank in federation.banks:
        bank.join(new)
        if bank is not newcomer:
            bank.join(old)
    banks[0].run_id = old
    of_the_old = banks[0].contribution(0, [1])
    banks[0].run_id = new
    assert banks[0].post_contribution(0, of_the_old).problem() == (400, "protocol")
    assert federation.status(new)["ciphertexts"] == 0
