"""Invitations, registration with proof of possession, and the law that a name means one key."""

import time
from typing import Any

import pytest
from federations.fake_banks import Answer, FakeBank, Federation
from sqlalchemy import update

from aggregator.service.store import Store
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import InviteRow
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.signatures import sign_request

#: See conftest.py.
STORES = ("sqlite", "postgresql")


def roster(federation: Federation) -> list[str]:
    answer = federation.operate("GET", "/v1/roster")
    assert answer.status == 200
    return [member["name"] for member in answer.json()["members"]]


def assert_refused(
    federation: Federation, answer: Answer, expected: tuple[int, str], *words: str
) -> None:
    assert answer.problem() == expected
    entry = federation.refusals()[-1]
    assert (entry["kind"], entry["actor"]) == ("registration", "anonymous")
    for word in words:
        assert word in answer.json()["detail"]
        assert word in entry["detail"]


def test_an_invited_bank_registers_once_and_again_without_effect(federation: Federation) -> None:
    bank = federation.stranger("bank-a")
    code = federation.invite("bank-a")
    first = bank.register(code)
    assert first.status == 201
    assert first.json() == bank.keys.model_dump(mode="json")
    entries = len(federation.audit())
    assert bank.register(code).json() == first.json()
    assert len(federation.audit()) == entries
    assert roster(federation) == ["bank-a"]


def test_the_roster_is_sorted_and_the_same_for_all(federation: Federation) -> None:
    for name in ("bank-c", "bank-a", "bank-b"):
        federation.register(name)
    expected = sorted((bank.keys for bank in federation.banks), key=lambda keys: keys.name)
    for bank in federation.banks:
        found = bank.request("GET", "/v1/roster").json()["members"]
        assert found == [keys.model_dump(mode="json") for keys in expected]


def test_an_invitation_tells_its_end_and_is_stored_as_a_hash(
    federation: Federation, store: Store
) -> None:
    answer = federation.operate("POST", "/v1/invites", json={"name": "bank-a", "valid_seconds": 60})
    assert abs(answer.json()["expires_at"] - time.time() - 60) < 30
    code = answer.json()["code"]
    rows = store.database.transaction(
        "test",
        Kind.READ,
        lambda read: read.connection.exec_driver_sql("SELECT * FROM invites").fetchall(),
    )
    assert code not in str(rows)
    # Not even the log knows it.
    assert code not in str(federation.audit())


def test_an_expired_invitation_is_refused(federation: Federation, store: Store) -> None:
    bank = federation.stranger("bank-a")
    code = federation.invite("bank-a")
    expired = update(InviteRow).values(expires_at=int(time.time()) - 5)
    store.database.transaction(
        "test", Kind.WRITE, lambda written: written.connection.execute(expired)
    )
    assert_refused(federation, bank.register(code), (403, "forbidden"), "expired")
    assert roster(federation) == []


def test_a_reused_invitation_is_refused(federation: Federation) -> None:
    code = federation.invite("bank-a")
    assert federation.stranger("bank-a").register(code).status == 201
    thief = federation.stranger("bank-a")
    assert_refused(federation, thief.register(code), (403, "forbidden"), "used before")


def test_an_unknown_invitation_or_one_of_another_bank_is_refused(federation: Federation) -> None:
    code = federation.invite("bank-a")
    assert_refused(
        federation, federation.stranger("bank-b").register(code), (403, "forbidden"), "not one of"
    )
    unknown = federation.stranger("bank-a").register("A" * 43)
    assert_refused(federation, unknown, (403, "forbidden"), "not one of")
    # The right one still has its chance.
    assert federation.stranger("bank-a").register(code).status == 201


def test_a_member_is_not_invited_again(federation: Federation) -> None:
    federation.register("bank-a")
    answer = federation.operate("POST", "/v1/invites", json={"name": "bank-a"})
    assert answer.problem() == (409, "conflict")


def test_two_invitations_of_one_name_admit_one_bank(federation: Federation) -> None:
    codes = [federation.invite("bank-a") for _ in range(2)]
    first, second = federation.stranger("bank-a"), federation.stranger("bank-a")
    assert first.register(codes[0]).status == 201
    assert_refused(federation, second.register(codes[1]), (409, "conflict"), "other keys")


def test_a_removed_bank_returns_with_its_keys_and_a_new_invitation_only(
    federation: Federation,
) -> None:
    bank = federation.stranger("bank-a")
    code = federation.invite("bank-a")
    bank.register(code)
    federation.operate("DELETE", "/v1/banks/bank-a")
    assert roster(federation) == []
    assert_refused(federation, bank.register(code), (403, "forbidden"), "used before")
    fresh = federation.invite("bank-a")
    other = federation.stranger("bank-a")
    assert_refused(federation, other.register(fresh), (409, "conflict"), "other keys")
    assert bank.register(fresh).status == 201
    assert roster(federation) == ["bank-a"]


@pytest.mark.parametrize("which", ["signing_key", "agreement_key"])
def test_a_key_belongs_to_one_bank(federation: Federation, which: str) -> None:
    """One bank under two names would count as two of a cohort."""
    first = federation.register("bank-a")
    second = federation.stranger("bank-b")
    if which == "signing_key":
        second.identity = first.identity
        changes = {"agreement_key": Identity.generate().public.agreement_key}
    else:
        changes = {"agreement_key": first.keys.agreement_key}
    answer = second.register(federation.invite("bank-b"), **changes)
    assert_refused(federation, answer, (409, "conflict"), "belongs to bank 'bank-a'")


@pytest.mark.parametrize("key", ["00" * 32, "01" + "00" * 31])
def test_keys_that_identify_nobody_are_refused(federation: Federation, key: str) -> None:
    bank = federation.stranger("bank-a")
    answer = bank.register(federation.invite("bank-a"), agreement_key=key)
    assert_refused(federation, answer, (422, "key"), "small order")


def registration(bank: FakeBank, code: str) -> dict[str, Any]:
    return {
        "name": bank.name,
        "invite": code,
        "signing_key": bank.keys.signing_key,
        "agreement_key": bank.keys.agreement_key,
    }


def test_a_registration_proves_possession_of_the_key_it_announces(federation: Federation) -> None:
    victim, thief = federation.stranger("bank-a"), federation.stranger("bank-a")
    code = federation.invite("bank-a")
    # With somebody else's public key, which anybody may know.
    answer = thief.request("POST", "/v1/banks", json=registration(victim, code))
    assert_refused(federation, answer, (401, "authentication"), "not that of the bank's key")
    # Without any signature.
    answer = federation.call("POST", "/v1/banks", json=registration(victim, code))
    assert_refused(federation, answer, (401, "authentication"), "signature-input")
    # Under another name than the signature's.
    answer = victim.request("POST", "/v1/banks", json=registration(victim, code), keyid="bank-b")
    assert_refused(federation, answer, (401, "authentication"), "bank-b")
    answer = federation.operate("POST", "/v1/banks", json=registration(victim, code))
    assert_refused(federation, answer, (401, "authentication"), "without a token")
    assert roster(federation) == []
    assert victim.register(code).status == 201


def test_a_replayed_registration_is_refused(federation: Federation) -> None:
    bank = federation.stranger("bank-a")
    body = b'{"name": "bank-a", "invite": "%s", "signing_key": "%s", "agreement_key": "%s"}' % (
        federation.invite("bank-a").encode(),
        bank.keys.signing_key.encode(),
        bank.keys.agreement_key.encode(),
    )
    headers = {"Content-Type": "application/json"}
    headers |= sign_request(
        bank.identity,
        keyid="bank-a",
        method="POST",
        url="/v1/banks",
        headers=headers,
        body=body,
        created=int(time.time()),
    )
    assert federation.call("POST", "/v1/banks", body=body, headers=headers).status == 201
    again = federation.call("POST", "/v1/banks", body=body, headers=headers)
    assert_refused(federation, again, (401, "authentication"), "replayed")


def test_without_the_invitation_check_anybody_could_register(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: it is the invitation that keeps strangers out."""
    stranger = federation.stranger("bank-a")
    assert stranger.register("A" * 43).status == 403
    free = InviteRow(bank="bank-a", used_at=None, expires_at=int(time.time()) + 60)
    monkeypatch.setattr("aggregator.consortium.members._invite", lambda *_: free)
    assert stranger.register("A" * 43).status == 201
