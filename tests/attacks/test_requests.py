"""Requests that a bank, a viewer, a stranger or a machine in between should not get through.

Each is sent to a real aggregator over real HTTP. Each refusal must have the right status, change
nothing, and stand in the audit log.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from attack_kit.api_fuzz import stored
from attack_kit.requests import contribution, operator_work, unsigned
from federations.fake_banks import Answer, FakeBank, make_acknowledgement, make_spec
from federations.live import LiveFederation, served

from aggregator.consortium.replay import Nonces
from aggregator.guards import auth
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import FIRST_PREVIOUS_HASH, verify_audit_entry
from fraudfed.consortium.public.signatures import MAX_SKEW_SECONDS, VerifiedRequest
from fraudfed.errors import ProtocolError
from fraudfed.wire.messages import AuditStatus, FrameKind

Patch = pytest.MonkeyPatch

UNAUTHENTICATED = (401, "authentication")
FORBIDDEN = (403, "forbidden")


@pytest.fixture
def live(tmp_path: Path, package: KeyPackage) -> Iterator[LiveFederation]:
    """Three banks, an active key epoch and a run that they have joined."""
    with served(tmp_path / "aggregator", package, "bank-a", "bank-b", "bank-c") as consortium:
        yield consortium


@pytest.fixture
def run_id(live: LiveFederation) -> str:
    return live.start_run(1)


@pytest.fixture
def bank(live: LiveFederation) -> FakeBank:
    return live["bank-a"]


def refused(live: LiveFederation, expected: tuple[int, str], act: Callable[[], Answer]) -> str:
    """Do it; assert the refusal, that nothing changed, and the entry in the log. Return why."""
    before, n_entries = stored(live.state), len(live.audit_entries())
    answer = act()
    assert answer.problem() == expected, answer.body
    assert stored(live.state) == before
    new = [
        entry for entry in live.audit_entries()[n_entries:] if entry.status is AuditStatus.REFUSED
    ]
    assert len(new) == 1, "the refusal is not in the audit log, or more than once"
    assert f"{expected[0]} {expected[1]}" in new[0].detail
    detail: str = answer.json()["detail"]
    return detail


def test_a_good_request_passes(live: LiveFederation, bank: FakeBank, run_id: str) -> None:
    """Or all the refusals below would prove nothing."""
    assert live.send(contribution(live, bank)).status == 202


# Signatures


def test_an_unsigned_request_is_refused(live: LiveFederation, bank: FakeBank, run_id: str) -> None:
    request = unsigned(contribution(live, bank))
    refused(live, UNAUTHENTICATED, lambda: live.send(request))
    for path in ("/v1/roster", "/v1/runs", f"/v1/runs/{run_id}", "/v1/epochs/1", "/v1/audit"):
        refused(live, UNAUTHENTICATED, lambda path=path: live.send(live.request("GET", path)))


def test_any_change_of_a_signed_request_is_refused(
    live: LiveFederation, bank: FakeBank, run_id: str
) -> None:
    """Method, path, query, body, digest, media type, name, nonce and time: all are covered."""
    path = f"/v1/runs/{run_id}/rounds/0/contributions"
    other = bank.contribution(0, [1, 2, 3])

    def changed(method: str, target: str, body: bytes, **headers: str) -> httpx.Request:
        good = contribution(live, bank)
        kept = {
            name: value
            for name, value in good.headers.items()
            if name in ("signature", "signature-input", "content-digest", "content-type")
        }
        return live.request(method, target, body=body, headers={**kept, **headers})

    def retyped(request: httpx.Request) -> httpx.Request:
        request.headers["content-type"] = "application/json"
        return request

    def resigned_input(old: str, new: str) -> httpx.Request:
        request = contribution(live, bank)
        text = request.headers["signature-input"]
        assert old in text
        request.headers["signature-input"] = text.replace(old, new)
        return request

    good = contribution(live, bank)
    requests = {
        "method": changed("PUT", path, good.content),
        "path": changed("POST", f"/v1/runs/{run_id}/rounds/1/contributions", good.content),
        "query": changed("POST", path + "?x=1", good.content),
        "body": changed("POST", path, other),
        "body cut off": changed("POST", path, good.content[:-1]),
        "media type": retyped(contribution(live, bank)),
        "keyid": resigned_input('keyid="bank-a"', 'keyid="bank-b"'),
        "unknown keyid": resigned_input('keyid="bank-a"', 'keyid="bank-z"'),
        "created": resigned_input("created=", "created=1"),
        "no body covered": resigned_input('"content-digest" ', ""),
        "algorithm": resigned_input('alg="ed25519"', 'alg="hmac-sha256"'),
        "label": resigned_input("fraudfed=(", "other=("),
    }
    for what, request in requests.items():
        answer = live.send(request)
        # A method that the address does not know is refused as that, with any signature.
        expected = {405} if what == "method" else {401}
        assert answer.status in expected, (what, answer.body)
    assert live.status(run_id)["ciphertexts"] == 0


def test_a_replayed_request_is_refused(
    live: LiveFederation, bank: FakeBank, run_id: str, package: KeyPackage
) -> None:
    request = contribution(live, bank)
    assert live.send(request).status == 202
    assert "replayed" in refused(live, UNAUTHENTICATED, lambda: live.send(request))
    question = live.signed(bank, "GET", f"/v1/runs/{run_id}")
    assert live.send(question).status == 200
    refused(live, UNAUTHENTICATED, lambda: live.send(question))
    # Nonces outlive the process.
    with served(live.state, package) as restarted:
        again = httpx.Request(
            request.method, restarted.url + request.url.path, content=request.content
        )
        again.headers.update(
            {
                name: value
                for name, value in request.headers.items()
                if name not in ("host", "content-length")
            }
        )
        assert restarted.send(again).problem() == UNAUTHENTICATED


def test_a_repetition_signed_anew_is_harmless(
    live: LiveFederation, bank: FakeBank, run_id: str
) -> None:
    body = bank.contribution(0, [1, 2, 3])
    first = bank.post_contribution(0, body)
    again = bank.post_contribution(0, body)
    assert first.body == again.body
    assert live.status(run_id)["ciphertexts"] == 3


def test_a_request_signed_by_another_bank_is_refused(
    live: LiveFederation, bank: FakeBank, run_id: str
) -> None:
    """As itself it may not send another's work; as another its signature is wrong."""
    other = live["bank-b"]
    request = contribution(live, bank, signer=other)
    refused(live, FORBIDDEN, lambda: live.send(request))
    forged = contribution(live, bank, signer=other, keyid="bank-a")
    refused(live, UNAUTHENTICATED, lambda: live.send(forged))
    stranger = contribution(live, bank, signer=live.stranger("bank-z"))
    refused(live, UNAUTHENTICATED, lambda: live.send(stranger))


@pytest.mark.parametrize("age", [MAX_SKEW_SECONDS + 30, -MAX_SKEW_SECONDS - 30])
def test_a_stale_request_is_refused(
    live: LiveFederation, bank: FakeBank, run_id: str, age: int
) -> None:
    created = int(time.time()) - age
    request = live.signed(bank, "GET", f"/v1/runs/{run_id}", created=created)
    why = refused(live, UNAUTHENTICATED, lambda: live.send(request))
    shown = time.strftime("%Y-%m-%d %H:%M", time.gmtime(created))
    assert shown in why
    assert "clock" in why


# Runs and epochs


def test_a_contribution_of_another_run_is_refused(
    live: LiveFederation, bank: FakeBank, run_id: str
) -> None:
    """Frame and address must name the same run and round, and the same sender."""
    other = live.start_run(1)
    bank.run_id = run_id
    for body in (
        bank.contribution(0, [1, 2, 3], run_id=other),
        bank.contribution(1, [1, 2, 3]),
        bank.contribution(0, [1, 2, 3], bank="bank-b"),
        bank.contribution(0, [1, 2, 3], kind=FrameKind.OPENING),
    ):
        before = stored(live.state)
        answer = bank.post_contribution(0, body)
        assert answer.status in (400, 403, 422), answer.body
        assert stored(live.state) == before
    # The same bytes, at the other run's address.
    body = bank.contribution(0, [1, 2, 3])
    assert bank.request("POST", f"/v1/runs/{other}/rounds/0/contributions", body=body).status == 400


def test_a_second_contribution_is_refused(
    live: LiveFederation, bank: FakeBank, run_id: str
) -> None:
    assert bank.post_contribution(0, bank.contribution(0, [1, 2, 3])).status == 202
    other = bank.contribution(0, [1, 2, 3])
    refused(live, (409, "conflict"), lambda: bank.post_contribution(0, other))


def test_a_run_under_an_old_epoch_is_refused(live: LiveFederation) -> None:
    live.make_epoch()
    spec = make_spec(1)
    refused(live, (409, "conflict"), lambda: live.operate("POST", "/v1/runs", json=spec))
    unknown = make_spec(7)
    refused(live, (404, "not-found"), lambda: live.operate("POST", "/v1/runs", json=unknown))


def test_an_epoch_that_is_not_the_next_is_refused(live: LiveFederation) -> None:
    for number in (1, 3):
        steward = live["bank-b"]
        document = live.draft_epoch(number, steward=steward).model_dump(mode="json")
        refused(
            live,
            (409, "conflict"),
            lambda d=document, s=steward: s.request("POST", "/v1/epochs", json=d),
        )


def test_an_epoch_that_its_steward_did_not_sign_is_refused(
    live: LiveFederation, bank: FakeBank
) -> None:
    made = live.draft_epoch(2)
    altered = made.model_copy(update={"public_key": made.public_key, "epoch": 2})
    forged = altered.model_copy(update={"signature": "00" * 64}).model_dump(mode="json")
    refused(live, (422, "key"), lambda: bank.request("POST", "/v1/epochs", json=forged))
    document = made.model_dump(mode="json")
    other = live["bank-b"]
    refused(live, FORBIDDEN, lambda: other.request("POST", "/v1/epochs", json=document))


def test_an_acknowledgement_of_another_bank_or_epoch_is_refused(live: LiveFederation) -> None:
    made = live.make_epoch()
    bank, other = live["bank-a"], live["bank-b"]
    document = make_acknowledgement(bank, made).model_dump(mode="json")
    path = "/v1/epochs/2/acknowledgements"
    refused(live, FORBIDDEN, lambda: other.request("POST", path, json=document))
    refused(
        live,
        (400, "protocol"),
        lambda: bank.request("POST", "/v1/epochs/1/acknowledgements", json=document),
    )


# Invites and members


def test_an_invite_works_once_and_in_time(live: LiveFederation, monkeypatch: Patch) -> None:
    code = live.invite("bank-d")
    first = live.stranger("bank-d")
    assert first.register(code).status == 201
    # The lost answer may be asked for again; another key may not.
    assert first.register(code).status == 201
    # A thief, another name, and a code that was made up.
    for name, shown in (("bank-d", code), ("bank-e", code), ("bank-f", "x" * 43)):
        refused(live, FORBIDDEN, lambda n=name, c=shown: live.stranger(n).register(c))
    late = live.invite("bank-g", valid_seconds=1)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 2)
    expired = live.stranger("bank-g")
    assert "expired" in refused(live, FORBIDDEN, lambda: expired.register(late))


def test_keys_are_announced_by_their_owner_only(live: LiveFederation) -> None:
    code = live.invite("bank-d")
    bank, thief = live.stranger("bank-d"), live.stranger("bank-x")
    # Signed by somebody else than the key it announces.
    forged = bank.registration(code)
    refused(
        live,
        UNAUTHENTICATED,
        lambda: thief.request("POST", "/v1/banks", json=forged, keyid="bank-d"),
    )
    # Keys of small order identify nobody.
    refused(live, (422, "key"), lambda: bank.register(code, agreement_key="00" * 32))
    # Another member's keys under a new name.
    taken = live["bank-a"].keys.agreement_key
    refused(live, (409, "conflict"), lambda: bank.register(code, agreement_key=taken))


def test_a_removed_bank_is_refused_everywhere(live: LiveFederation, run_id: str) -> None:
    bank = live["bank-c"]
    assert live.operate("DELETE", "/v1/banks/bank-c").status == 200
    for path in ("/v1/roster", "/v1/runs", f"/v1/runs/{run_id}", "/v1/epochs/current"):
        refused(live, FORBIDDEN, lambda path=path: bank.request("GET", path))
    body = bank.contribution(0, [1, 2, 3])
    refused(live, FORBIDDEN, lambda: bank.post_contribution(0, body))
    refused(live, (409, "conflict"), lambda: live.operate("POST", "/v1/runs", json=make_spec(1)))


# Roles


def test_a_viewer_changes_nothing(live: LiveFederation, run_id: str) -> None:
    for method, path, json in operator_work(run_id):
        refused(
            live,
            FORBIDDEN,
            lambda m=method, p=path, j=json: live.operate(m, p, token=live.viewer_token, json=j),
        )
    for path in ("/v1/roster", "/v1/runs", f"/v1/runs/{run_id}", "/v1/audit", "/v1/epochs/1"):
        assert live.operate("GET", path, token=live.viewer_token).status == 200


def test_a_bank_does_no_operators_work(live: LiveFederation, bank: FakeBank, run_id: str) -> None:
    for method, path, json in operator_work(run_id)[:3]:
        refused(live, FORBIDDEN, lambda m=method, p=path, j=json: bank.request(m, p, json=j))


def test_an_operator_does_no_banks_work(live: LiveFederation, bank: FakeBank, run_id: str) -> None:
    body = bank.contribution(0, [1, 2, 3])
    path = f"/v1/runs/{run_id}/rounds/0/contributions"
    refused(live, FORBIDDEN, lambda: live.operate("POST", path, body=body))
    run = f"/v1/runs/{run_id}/members"
    refused(live, FORBIDDEN, lambda: live.operate("POST", run))


@pytest.mark.parametrize("token", ["y", "x" * 43, "Basic eDp5"])
def test_an_unknown_token_is_refused(live: LiveFederation, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}" if " " not in token else token}
    request = live.request("GET", "/v1/runs", headers=headers)
    refused(live, UNAUTHENTICATED, lambda: live.send(request))


def test_a_bank_cannot_read_another_run(live: LiveFederation, run_id: str) -> None:
    """A bank that was not in the cohort knows that there is an aggregator, and no more."""
    outsider = live.register("bank-d")
    outsider.run_id = run_id
    for path in ("", "/rounds", "/model", "/model/signatures"):
        refused(
            live,
            FORBIDDEN,
            lambda p=path: outsider.request("GET", f"/v1/runs/{run_id}{p}"),
        )
    for path in ("/product?shard=0", "/openings"):
        refused(
            live,
            FORBIDDEN,
            lambda p=path: outsider.request("GET", f"/v1/runs/{run_id}/rounds/0{p}"),
        )
    body = outsider.contribution(0, [1, 2, 3])
    refused(live, FORBIDDEN, lambda: outsider.post_contribution(0, body))
    refused(live, FORBIDDEN, lambda: outsider.request("GET", f"/v1/audit?run={run_id}"))
    refused(live, FORBIDDEN, lambda: outsider.request("GET", "/v1/audit"))
    abort = f"/v1/runs/{run_id}/abort"
    refused(live, FORBIDDEN, lambda: outsider.request("POST", abort, json={"reason": "x"}))
    assert outsider.request("GET", "/v1/runs").json()["runs"] == []


# Ciphertexts


def bad_vectors(live: LiveFederation) -> dict[str, bytes]:
    """Return what is no vector of three ciphertexts, by what it is."""
    key, good = live.package.public_key, live.key.encrypt([1, 2, 3]).data
    width, n = key.ciphertext_bytes, key.n
    parts = live.package.private_key.expose_secret_parts().values()
    prime = next(part for part in parts if 1 < part < n and n % part == 0)
    values = {
        "zero": 0,
        "n": n,
        "a prime": prime,
        "a multiple of a prime": 77 * prime,
        "n squared": n * n,
        "above n squared": n * n + 2,
        "all ones": (1 << 8 * width) - 1,
    }
    vectors = {what: value.to_bytes(width, "big") + good[width:] for what, value in values.items()}
    return {
        **vectors,
        "cut off": good[:-1],
        "too long": good + b"\0",
        "one too many for its header": good + good[:width],
        "empty": b"",
    }


def test_what_is_no_ciphertext_is_refused(
    live: LiveFederation, bank: FakeBank, run_id: str
) -> None:
    for payload in bad_vectors(live).values():
        body = bank.frame(0, payload, count=3)
        refused(live, (422, "ciphertext"), lambda body=body: bank.post_contribution(0, body))
    good = live.key.encrypt([1, 2, 3]).data
    for changes in ({"item_bytes": 1}, {"item_bytes": 0}, {"item_bytes": 10**9}, {"count": 0}):
        body = bank.frame(0, good, **{"count": 3, **changes})
        before = stored(live.state)
        assert bank.post_contribution(0, body).status in (400, 422)
        assert stored(live.state) == before
    assert bank.post_contribution(0, bank.contribution(0, [1, 2, 3])).status == 202


def test_a_vector_of_another_length_ends_the_run_and_says_who(
    live: LiveFederation, run_id: str
) -> None:
    first, second = live["bank-a"], live["bank-b"]
    body = first.contribution(0, [1, 2, 3])
    assert first.post_contribution(0, body).status == 202
    answer = second.post_contribution(0, second.contribution(0, [1, 2, 3, 4]))
    assert answer.status == 409
    status = live.status(run_id)
    assert status["state"] == "failed"
    assert "bank-b" in status["failure"]


# The log itself


def test_every_refusal_is_in_the_audit_log(
    live: LiveFederation, bank: FakeBank, run_id: str
) -> None:
    """In order, each chained and signed; and everything that was accepted as well."""
    request = contribution(live, bank)
    live.send(request)
    live.send(request)
    live.send(unsigned(contribution(live, bank)))
    live.operate("DELETE", "/v1/banks/bank-a", token=live.viewer_token)
    entries = live.audit_entries()
    key = live.operate("GET", "/v1/audit/key").json()["audit_key"]
    previous = None
    for entry in entries:
        verify_audit_entry(entry, key, previous=previous)
        previous = entry
    assert entries[0].previous_hash == FIRST_PREVIOUS_HASH
    accepted, replayed, anonymous, viewer = entries[-4:]
    assert (accepted.kind, accepted.actor) == ("contribution", "bank:bank-a")
    assert accepted.status is AuditStatus.ACCEPTED
    assert accepted.subject == f"run/{run_id}/round/0"
    assert {replayed.status, anonymous.status, viewer.status} == {AuditStatus.REFUSED}
    assert "replayed" in replayed.detail
    assert anonymous.actor == "anonymous"
    assert (viewer.kind, viewer.actor) == ("removal", "viewer:auditor")


def test_a_changed_audit_log_does_not_verify(live: LiveFederation, run_id: str) -> None:
    entries = live.audit_entries()
    key = live.operate("GET", "/v1/audit/key").json()["audit_key"]
    for field, value in (
        ("detail", "nothing happened"),
        ("actor", "bank:bank-b"),
        ("time", 0),
        ("status", AuditStatus.REFUSED),
        ("body_sha256", "00" * 32),
    ):
        changed = entries[3].model_copy(update={field: value})
        with pytest.raises(ProtocolError, match="altered"):
            verify_audit_entry(changed, key, previous=entries[2])
    with pytest.raises(ProtocolError, match="taken out"):
        verify_audit_entry(entries[5], key, previous=entries[3])
    with pytest.raises(ProtocolError):
        verify_audit_entry(entries[3], "ab" * 32, previous=entries[2])


@pytest.mark.parametrize("path", ["/v1/runs/x%0Aforged/abort", "/v1/%0Aforged", "/v1/banks/%0Ax"])
def test_a_line_break_in_an_address_breaks_no_line(live: LiveFederation, path: str) -> None:
    """Neither of the answer nor of the audit log."""
    method = "DELETE" if "banks" in path else "POST"
    answer = live.operate(method, path, **({} if method == "DELETE" else {"json": {"reason": "x"}}))
    assert answer.status == 404
    assert "\n" not in answer.json()["detail"]
    assert not [entry for entry in live.audit_entries() if "\n" in entry.detail]


# Controls


def test_control_without_nonces_a_replay_passes(
    live: LiveFederation, bank: FakeBank, run_id: str, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(Nonces, "use", lambda self, *args, **options: None)
    request = live.signed(bank, "GET", f"/v1/runs/{run_id}")
    assert [live.send(request).status for _ in range(3)] == [200] * 3


def test_control_without_the_clock_a_stale_request_passes(
    live: LiveFederation, bank: FakeBank, run_id: str, monkeypatch: Patch
) -> None:
    original = auth.verify_request
    monkeypatch.setattr(
        auth,
        "verify_request",
        lambda *args, **options: original(*args, **{**options, "max_skew_seconds": 10**9}),
    )
    day_ago = int(time.time()) - 86_400
    request = live.signed(bank, "GET", f"/v1/runs/{run_id}", created=day_ago)
    assert live.send(request).status == 200


def test_control_without_signatures_anyone_is_a_bank(
    live: LiveFederation, bank: FakeBank, run_id: str, monkeypatch: Patch
) -> None:
    """A caller that names a bank would be that bank."""
    monkeypatch.setattr(
        auth,
        "verify_request",
        lambda *args, now, **options: VerifiedRequest("bank-a", f"{time.time_ns():022d}", now),
    )
    forged = contribution(live, bank, signer=live.stranger("bank-z"))
    assert live.send(forged).status == 202
