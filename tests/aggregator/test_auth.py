"""Who is let in: signatures, replays, clocks, tokens and roles; each refusal is on record."""

import base64
import hashlib
import time
from collections.abc import Callable
from json import dumps
from typing import Any

import pytest
from federations.fake_banks import Answer, FakeBank, Federation, TestKey
from federations.server_process import ServerProcess
from sqlalchemy import func, select

from aggregator.caller import Role
from aggregator.consortium.replay import Nonces
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import NonceRow
from fraudfed.consortium.public.signatures import MAX_SKEW_SECONDS
from fraudfed.errors import AuthError

RUNS = "/v1/runs"


def nonces(store: Store) -> int:
    query = select(func.count()).select_from(NonceRow)
    return store.database.transaction(
        "test", Kind.READ, lambda read: read.connection.scalar(query) or 0
    )


@pytest.fixture
def bank(federation: Federation) -> FakeBank:
    return federation.register("bank-a")


def assert_refused(federation: Federation, answer: Answer, *words: str, actor: str) -> None:
    """Check that a request was refused as not authenticated and that the log says so, last."""
    assert answer.problem() == (401, "authentication")
    entry = federation.refusals()[-1]
    assert entry["actor"] == actor
    for word in words:
        assert word in answer.json()["detail"]
        assert word in entry["detail"]


def test_a_signed_request_is_let_in(bank: FakeBank) -> None:
    assert bank.request("GET", RUNS).status == 200
    assert bank.request("GET", "/v1/roster").json()["members"] == [
        bank.keys.model_dump(mode="json")
    ]


def test_an_unsigned_request_is_refused(federation: Federation, bank: FakeBank) -> None:
    answer = bank.call("GET", RUNS)
    assert_refused(federation, answer, "not signed and has no token", actor="anonymous")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_replayed_request_is_refused(federation: Federation, bank: FakeBank, method: str) -> None:
    run_id = federation.open_run()
    path = f"/v1/runs/{run_id}" if method == "GET" else f"/v1/runs/{run_id}/members"
    bank.run_id, body, given = run_id, None, {}
    if method == "POST":
        body, given = dumps(bank.signed_key(0)).encode(), {"Content-Type": "application/json"}
    headers = bank.signed_headers(method, path, body=body, headers=given)
    assert bank.call(method, path, body=body, headers=headers).status == 200
    before = federation.status(run_id)
    for _ in range(2):
        # Who replays it is not the bank, and must not use up the bank's share of the log.
        answer = bank.call(method, path, body=body, headers=headers)
        assert_refused(federation, answer, "replayed", "bank-a", actor="anonymous")
    assert federation.status(run_id) == before


def test_a_replayed_contribution_is_refused_and_signed_anew_it_is_taken(
    federation: Federation,
) -> None:
    banks = federation.start()
    body = banks[0].contribution(0, [1, 2])
    path = f"/v1/runs/{banks[0].run_id}/rounds/0/contributions"
    headers = banks[0].signed_headers("POST", path, body=body)
    receipt = banks[0].call("POST", path, body=body, headers=headers)
    assert receipt.status == 202
    again = banks[0].call("POST", path, body=body, headers=headers)
    assert_refused(federation, again, "replayed", actor="anonymous")
    assert banks[0].post_contribution(0, body).json() == receipt.json()


@pytest.mark.parametrize("offset", [-MAX_SKEW_SECONDS - 5, MAX_SKEW_SECONDS + 5])
def test_a_wrong_clock_is_named_with_both_times(
    federation: Federation, bank: FakeBank, offset: int
) -> None:
    created = int(time.time()) + offset
    answer = bank.request("GET", RUNS, created=created)
    shown = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(created))
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    assert_refused(federation, answer, "bank-a was signed at", shown, "clock", actor="anonymous")
    assert now in answer.json()["detail"]


@pytest.mark.parametrize("offset", [10 - MAX_SKEW_SECONDS, MAX_SKEW_SECONDS - 10])
def test_clocks_may_differ_a_little(bank: FakeBank, offset: int) -> None:
    assert bank.request("GET", RUNS, created=int(time.time()) + offset).status == 200


def test_a_request_signed_by_another_bank_is_refused(
    federation: Federation, bank: FakeBank
) -> None:
    other = federation.register("bank-b")
    answer = other.request("GET", RUNS, keyid=bank.name)
    assert_refused(federation, answer, "not that of the bank's key", actor="anonymous")
    # Re-signed with the other's own name it is the other's, and only of what that may do.
    run_id = federation.open_run()
    assert bank.join(run_id).status == 200
    stolen = bank.contribution(0, [1])
    other.run_id = run_id
    other.join(run_id)
    assert other.post_contribution(0, stolen).problem() == (403, "forbidden")
    assert federation.refusals()[-1]["actor"] == "bank:bank-b"


def test_an_unknown_bank_is_refused(federation: Federation, bank: FakeBank) -> None:
    answer = federation.stranger("bank-x").request("GET", RUNS)
    assert_refused(federation, answer, "bank-x", "no member", actor="anonymous")


def change_path(path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], Any]:
    return path.replace("rounds/0", "rounds/1"), headers, body


def change_run(path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], Any]:
    return path.replace("/v1/runs/", "/v1/runs/0"), headers, body


def change_query(
    path: str, headers: dict[str, str], body: bytes
) -> tuple[str, dict[str, str], Any]:
    return path + "?x=1", headers, body


def change_body(path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], Any]:
    return path, headers, body[:-1] + bytes([body[-1] ^ 1])


def change_body_and_digest(
    path: str, headers: dict[str, str], body: bytes
) -> tuple[str, dict[str, str], Any]:
    changed = body[:-1] + bytes([body[-1] ^ 1])
    digest = base64.b64encode(hashlib.sha256(changed).digest()).decode()
    return path, headers | {"Content-Digest": f"sha-256=:{digest}:"}, changed


def drop_body(path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], Any]:
    return path, headers, None


def drop_digest(path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], Any]:
    return path, {k: v for k, v in headers.items() if k != "Content-Digest"}, body


def change_type(path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], Any]:
    return path, headers | {"Content-Type": "application/json"}, body


def add_header(path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], Any]:
    return path, headers | {"Fraudfed-Model-Plain": "0" * 64}, body


@pytest.mark.parametrize(
    "change",
    [
        change_path,
        change_run,
        change_query,
        change_body,
        change_body_and_digest,
        drop_body,
        drop_digest,
        change_type,
        add_header,
    ],
)
def test_a_request_that_was_altered_on_its_way_is_refused(
    federation: Federation, change: Callable[..., tuple[str, dict[str, str], Any]]
) -> None:
    bank = federation.start(cohort_size=1)[0]
    body = bank.contribution(0, [1])
    path = f"/v1/runs/{bank.run_id}/rounds/0/contributions"
    headers = bank.signed_headers("POST", path, body=body)
    path, headers, body = change(path, headers, body)
    answer = bank.call("POST", path, body=body, headers=headers)
    assert answer.problem() == (401, "authentication")
    assert federation.refusals()[-1]["kind"] == "contribution"
    assert federation.status(bank.run_id)["ciphertexts"] == 0


def test_a_body_that_is_not_the_signed_one_is_refused(federation: Federation) -> None:
    """The signature over the announced digest is good, but the body is another."""
    bank = federation.start(cohort_size=1)[0]
    body, other = bank.contribution(0, [1]), bank.contribution(0, [2])
    path = f"/v1/runs/{bank.run_id}/rounds/0/contributions"
    headers = bank.signed_headers("POST", path, body=body)
    answer = bank.call("POST", path, body=other, headers=headers)
    assert_refused(federation, answer, "content-digest", "altered", actor="bank:bank-00")
    # The log holds what the bank did send and what came instead of it.
    entry = federation.refusals()[-1]
    assert entry["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert base64.b64encode(hashlib.sha256(other).digest()).decode() in entry["detail"]


def test_nothing_is_read_from_a_stranger(federation: Federation, bank: FakeBank) -> None:
    """A body above the limit is 413; an unauthenticated caller learns only that."""
    large = b"x" * (64 * 1024 + 1)
    path = "/v1/runs/x/rounds/0/contributions"
    assert federation.call("POST", path, body=large).problem() == (401, "authentication")
    assert bank.request("POST", path, body=large).problem() == (413, "body-too-large")
    assert federation.refusals()[-1]["body_sha256"] == hashlib.sha256(large).hexdigest()


def test_token_and_signature_together_are_refused(federation: Federation, bank: FakeBank) -> None:
    headers = bank.signed_headers("GET", RUNS)
    answer = bank.call("GET", RUNS, token=federation.operator_token, headers=headers)
    assert_refused(federation, answer, "send the one that is yours", actor="anonymous")


def test_a_removed_bank_is_forbidden(federation: Federation) -> None:
    banks = federation.start()
    gone = banks[1]
    left = federation.operate("DELETE", f"/v1/banks/{gone.name}").json()["members"]
    assert [member["name"] for member in left] == [banks[0].name, banks[2].name]
    for answer in (gone.request("GET", RUNS), gone.contribute(0, [1]), gone.submit_model()):
        assert answer.problem() == (403, "forbidden")
        assert "was removed" in answer.json()["detail"]
    # Without its key nobody learns that it ever was a member.
    assert federation.stranger(gone.name).request("GET", RUNS).status == 401
    # Nobody waits for it.
    assert f"{gone.name} was removed" in federation.status(banks[0].run_id)["failure"]
    again = federation.operate("DELETE", f"/v1/banks/{gone.name}")
    assert again.json()["members"] == left
    assert federation.operate("DELETE", "/v1/banks/bank-x").problem() == (404, "not-found")


def test_a_viewer_reads_and_does_nothing_else(
    federation: Federation, store: Store, spec: dict[str, Any]
) -> None:
    banks = federation.start()
    token = store.tokens.create("auditor", Role.VIEWER)
    for path in (
        RUNS,
        f"{RUNS}/{banks[0].run_id}",
        f"{RUNS}/{banks[0].run_id}/rounds",
        "/v1/roster",
        "/v1/epochs/current",
        "/v1/epochs/1",
        "/v1/audit",
        "/v1/audit/key",
    ):
        assert federation.call("GET", path, token=token).status == 200
    before = len(federation.audit())
    refused = [
        ("POST", RUNS, spec),
        ("POST", "/v1/invites", {"name": "bank-x"}),
        ("DELETE", f"/v1/banks/{banks[0].name}", None),
        ("POST", f"{RUNS}/{banks[0].run_id}/abort", {"reason": "stop"}),
        ("POST", f"{RUNS}/{banks[0].run_id}/members", None),
        ("POST", f"{RUNS}/{banks[0].run_id}/rounds/0/contributions", None),
        ("GET", f"{RUNS}/{banks[0].run_id}/rounds/0/product?shard=0", None),
        ("POST", "/v1/epochs", {}),
    ]
    for method, path, json in refused:
        answer = federation.call(method, path, token=token, json=json)
        assert answer.problem() == (403, "forbidden")
    entries = federation.audit(f"?start={before + 1}")
    assert [entry["actor"] for entry in entries] == ["viewer:auditor"] * len(refused)
    assert {entry["status"] for entry in entries} == {"refused"}
    assert federation.status(banks[0].run_id)["state"] == "training"
    store.tokens.revoke("auditor")
    assert federation.call("GET", RUNS, token=token).problem() == (401, "authentication")


def test_a_bank_cannot_read_another_ones_run(federation: Federation) -> None:
    members = federation.start()
    other = federation.register("other")
    path = f"{RUNS}/{members[0].run_id}"
    paths = ["", "/rounds", "/rounds/0/product?shard=0", "/rounds/0/openings", "/model"]
    for one in paths:
        answer = other.request("GET", path + one)
        assert answer.problem() == (403, "forbidden")
        entry = federation.refusals()[-1]
        assert entry["actor"] == "bank:other"
        assert entry["subject"].startswith(f"run/{members[0].run_id}")
    assert other.request("GET", f"/v1/audit?run={members[0].run_id}").status == 403
    assert other.request("GET", RUNS).json()["runs"] == []


@pytest.mark.e2e
def test_replays_are_refused_by_a_restarted_service(state: StateDirectory, key: TestKey) -> None:
    with ServerProcess(state.path) as server:
        bank = server.federation(state.path, key).register("bank-a")
        headers = bank.signed_headers("GET", RUNS)
        assert server("GET", RUNS, headers=headers).status == 200
        server.kill()
    with ServerProcess(state.path) as server:
        answer = server("GET", RUNS, headers=headers)
        assert answer.problem() == (401, "authentication")
        assert "replayed" in answer.json()["detail"]
        bank.call = server
        assert bank.request("GET", RUNS).status == 200


def test_a_nonce_is_one_banks_and_is_kept_until_its_signature_is_stale(store: Store) -> None:
    store.nonces.use("bank-a", "n1", expires_at=100, now=50)
    store.nonces.use("bank-b", "n1", expires_at=100, now=50)
    with pytest.raises(AuthError, match="bank-a has used nonce n1"):
        store.nonces.use("bank-a", "n1", expires_at=100, now=50)
    # A fresh instance purges at once: what is stale is gone, what is not has stayed.
    Nonces(store.database).use("bank-a", "n2", expires_at=300, now=101)
    assert nonces(store) == 1


def test_refused_requests_store_no_nonce(
    federation: Federation, store: Store, bank: FakeBank
) -> None:
    before = nonces(store)
    bank.request("GET", RUNS, created=1)
    federation.stranger("bank-a").request("GET", RUNS)
    stranger = federation.stranger("bank-x")
    stranger.register("A" * 43)
    assert nonces(store) == before
    bank.request("GET", RUNS)
    assert nonces(store) == before + 1


def test_without_the_nonce_store_a_replay_would_be_taken(
    federation: Federation, bank: FakeBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: it is this defence that refuses, and no other."""
    monkeypatch.setattr(Nonces, "use", lambda *_, **__: None)
    headers = bank.signed_headers("GET", RUNS)
    answers = [bank.call("GET", RUNS, headers=headers) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
