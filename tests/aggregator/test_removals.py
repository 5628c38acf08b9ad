"""Signed removals: stored and shown as they are, and without effect at the aggregator."""

from typing import Any

import pytest
from federations.fake_banks import Answer, FakeBank, Federation

from fraudfed.consortium.public.documents import sign_removal
from fraudfed.wire.messages import MemberKeys

#: See conftest.py.
STORES = ("sqlite", "postgresql")


@pytest.fixture
def banks(federation: Federation) -> list[FakeBank]:
    return [federation.register(name) for name in ("bank-a", "bank-b", "bank-c")]


def removes(
    bank: FakeBank, removed: MemberKeys, *, address: str | None = None, **changes: Any
) -> Answer:
    removal = sign_removal(bank.identity, removed=removed, signer=bank.name)
    body = removal.model_copy(update=changes).model_dump(mode="json")
    return bank.request("POST", f"/v1/banks/{address or removed.name}/removals", json=body)


def shown(federation: Federation) -> list[tuple[str, str]]:
    answer = federation.operate("GET", "/v1/roster").json()
    return [(one["removed"]["name"], one["signer"]) for one in answer["removals"]]


def test_a_signed_removal_is_shown_to_all_and_changes_nothing(
    federation: Federation, banks: list[FakeBank]
) -> None:
    first, second, leaving = banks
    epoch = federation.make_epoch()
    for bank in (second, first):
        assert removes(bank, leaving.keys).status == 201
    entries = len(federation.audit())
    assert removes(first, leaving.keys).status == 201
    assert len(federation.audit()) == entries, "the same again changes nothing"
    assert shown(federation) == [("bank-c", "bank-a"), ("bank-c", "bank-b")]
    found = [e for e in federation.audit() if e["kind"] == "member-removal"]
    assert [(e["actor"], e["subject"]) for e in found] == [
        ("bank:bank-b", "bank/bank-c"),
        ("bank:bank-a", "bank/bank-c"),
    ]
    # The bank is a member as before, sees it, and its key epochs stay.
    roster = leaving.request("GET", "/v1/roster").json()
    assert len(roster["members"]) == 3
    assert len(roster["removals"]) == 2
    current = leaving.request("GET", f"/v1/epochs/{epoch.epoch}").json()
    assert current["state"] == "active"


def test_a_removal_outlives_the_membership(federation: Federation, banks: list[FakeBank]) -> None:
    first, _, leaving = banks
    assert federation.operate("DELETE", "/v1/banks/bank-c").status == 200
    assert removes(first, leaving.keys).status == 201
    assert shown(federation) == [("bank-c", "bank-a")]
    # What a bank that is locked out says is not heard.
    assert removes(leaving, first.keys).status == 403


def test_a_removal_that_its_signer_did_not_make_is_refused(
    federation: Federation, banks: list[FakeBank]
) -> None:
    first, second, leaving = banks
    stranger = federation.stranger("bank-x")
    of_another = sign_removal(first.identity, removed=leaving.keys, signer=first.name).signature
    refusals = [
        (removes(first, leaving.keys, signer="bank-b"), 403),
        (removes(first, leaving.keys, address="bank-b"), 400),
        (removes(first, stranger.keys), 404),
        (removes(first, leaving.keys.model_copy(update={"signing_key": "1" * 64})), 409),
        (removes(first, leaving.keys, signature="0" * 128), 422),
        (removes(first, second.keys, signature=of_another), 422),
        (removes(first, first.keys), 422),
    ]
    assert [answer.status for answer, _ in refusals] == [status for _, status in refusals]
    assert shown(federation) == []


def test_only_a_bank_signs_a_removal(federation: Federation, banks: list[FakeBank]) -> None:
    first, _, leaving = banks
    removal = sign_removal(first.identity, removed=leaving.keys, signer=first.name)
    body = removal.model_dump(mode="json")
    assert federation.operate("POST", "/v1/banks/bank-c/removals", json=body).status == 403
    assert shown(federation) == []
