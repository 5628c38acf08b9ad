"""Every refusal of the API: one problem document, nothing stored."""

from dataclasses import replace
from typing import Any

import pytest
from federations.fake_banks import (
    CONTEXT,
    MODEL,
    MODEL_SHA256,
    DocumentedClient,
    Federation,
    TestKey,
    make_acknowledgement,
    make_epoch,
)
from flask import Flask
from gmpy2 import mpz

from aggregator.config import ServiceConfig
from aggregator.runs.service import RunService
from aggregator.runs.store import RunStore
from fraudfed.errors import UnavailableError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames
from fraudfed.wire.messages import MODEL_SIGNATURE_HEADER, FrameHeader, FrameKind

#: See conftest.py.
STORES = ("sqlite", "postgresql")

ABORT = {"reason": "stop"}


def frame(sender: Any, **changes: Any) -> bytes:
    """Return a contribution with some header fields changed."""
    header, payload = frames.decode(sender.contribution(0, [1, 2]), source="test")
    return frames.encode(header.model_copy(update=changes), bytes(payload))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/runs"),
        ("GET", "/v1/runs"),
        ("GET", "/v1/runs/x"),
        ("POST", "/v1/runs/x/members"),
        ("POST", "/v1/runs/x/abort"),
        ("GET", "/v1/runs/x/rounds"),
        ("POST", "/v1/runs/x/rounds/0/contributions"),
        ("GET", "/v1/runs/x/rounds/0/product?shard=0"),
        ("POST", "/v1/runs/x/rounds/0/openings"),
        ("GET", "/v1/runs/x/rounds/0/openings"),
        ("PUT", "/v1/runs/x/models/" + "0" * 64),
        ("GET", "/v1/runs/x/model"),
        ("GET", "/v1/runs/x/model/signatures"),
        ("POST", "/v1/invites"),
        ("GET", "/v1/roster"),
        ("DELETE", "/v1/banks/bank-a"),
        ("POST", "/v1/epochs"),
        ("GET", "/v1/epochs/current"),
        ("GET", "/v1/epochs/1"),
        ("POST", "/v1/epochs/1/acknowledgements"),
        ("GET", "/v1/audit"),
        ("GET", "/v1/audit/key"),
    ],
)
def test_no_or_unknown_token_is_401(federation: Federation, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer unknown"}):
        answer = federation.call(method, path, headers=headers)
        assert answer.problem() == (401, "authentication")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["accept-signature"].startswith('fraudfed=("@method" "@path" "@query"')


def test_a_non_member_is_403_and_an_unknown_run_404(federation: Federation) -> None:
    members = federation.start()
    outsider = federation.register("outsider")
    for run_id, expected in ((members[0].run_id, (403, "forbidden")), ("x", (404, "not-found"))):
        outsider.run_id = run_id
        answers = [
            outsider.contribute(0, [1]),
            outsider.open(0, 0, 1),
            outsider.product(0, 0),
            outsider.openings(0),
            outsider.submit_model(),
            outsider.run_request("GET", ""),
            outsider.run_request("GET", "/rounds"),
            outsider.run_request("GET", "/model"),
            outsider.run_request("GET", "/model/signatures"),
            outsider.request("GET", f"/v1/audit?run={run_id}"),
            outsider.run_request("POST", "/abort", json=ABORT),
        ]
        assert {answer.problem() for answer in answers} == {expected}
    assert outsider.join("x").problem() == (404, "not-found")
    assert outsider.join(members[0].run_id).problem() == (403, "forbidden")


def test_roles_are_kept_apart(federation: Federation, spec: dict[str, Any]) -> None:
    bank = federation.register("bank-a")
    operators = [
        bank.request("POST", "/v1/runs", json=spec),
        bank.request("POST", "/v1/invites", json={"name": "bank-b"}),
        bank.request("DELETE", "/v1/banks/bank-a"),
        bank.request("GET", "/v1/audit"),
    ]
    run_id = federation.open_run()
    epoch = make_epoch(federation.key, 2, bank, [bank.keys])
    acknowledgement = make_acknowledgement(bank, epoch).model_dump(mode="json")
    banks = [
        federation.operate("POST", f"/v1/runs/{run_id}/members"),
        federation.operate("POST", "/v1/epochs", json=epoch.model_dump(mode="json")),
        federation.operate("POST", "/v1/epochs/1/acknowledgements", json=acknowledgement),
        federation.operate("PUT", f"/v1/runs/{run_id}/models/{MODEL_SHA256}", body=MODEL),
    ]
    assert {answer.problem() for answer in operators + banks} == {(403, "forbidden")}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "protocol")),
        (b"", (400, "protocol")),
        (b"[]", (400, "protocol")),
        (b'{"name": "Bank A"}', (400, "protocol")),
        (b'{"name": "bank-a"}', (400, "protocol")),
        (b'{"name": "bank-a", "colour": "red"}', (400, "protocol")),
        (b'{"name": "bank-a", "protocol_version": 9}', (400, "version")),
        (b'{"name": "' + b"a" * 20_000 + b'"}', (413, "body-too-large")),
    ],
)
def test_malformed_json(federation: Federation, body: bytes, expected: tuple[int, str]) -> None:
    assert federation.call("POST", "/v1/banks", body=body).problem() == expected


def test_wrong_media_type_is_415(federation: Federation) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = federation.call("POST", "/v1/banks", body=b'{"name": "a"}', headers=headers)
    assert answer.problem() == (415, "protocol")


def test_unknown_address_and_method(federation: Federation) -> None:
    assert federation.call("GET", "/nowhere").problem() == (404, "not-found")
    assert federation.call("GET", f"/v1/runs/x/rounds/{10**30}/product").status == 404
    answer = federation.call("DELETE", "/v1/health")
    assert answer.problem() == (405, "protocol")
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/audit?start=0", "/v1/audit?limit=1001", "/v1/roster?x=1"])
def test_wrong_query_of_lists(federation: Federation, path: str) -> None:
    assert federation.operate("GET", path).problem() == (400, "protocol")


@pytest.mark.parametrize(
    "query",
    ["wait=31", "wait=-1", "wait=nan", "wait=x", "state=over", "colour=red", "wait=1&wait=2"],
)
def test_wrong_query(federation: Federation, query: str) -> None:
    federation.register("bank-a")
    run_id = federation.open_run()
    assert federation.operate("GET", f"/v1/runs/{run_id}?{query}").problem() == (400, "protocol")


def test_unwanted_query_and_body(federation: Federation) -> None:
    assert federation.call("GET", "/v1/health?x=1").problem() == (400, "protocol")
    bank = federation.register("bank-a")
    path = f"/v1/runs/{federation.open_run()}"
    assert bank.request("GET", path, body=b"x").problem() == (400, "protocol")


def test_transfer_encoding_is_refused(federation: Federation) -> None:
    headers = {"Transfer-Encoding": "chunked"}
    answer = federation.call("POST", "/v1/banks", headers=headers)
    assert answer.problem() == (400, "protocol")


@pytest.mark.parametrize(
    "change",
    [{"fingerprint": "0" * 64}, {"n": "4"}, {"n": "f" * 4096}, {"alpha_bits": 64}],
)
def test_a_damaged_public_key_is_refused(federation: Federation, change: dict[str, Any]) -> None:
    bank = federation.register("bank-a")
    body = make_epoch(federation.key, 1, bank, [bank.keys]).model_dump(mode="json")
    body["public_key"] |= change
    assert bank.request("POST", "/v1/epochs", json=body).problem() == (422, "key")
    assert bank.request("GET", "/v1/epochs/current").status == 404


def test_contributions_at_the_wrong_time(federation: Federation) -> None:
    first, second = federation.register("bank-a"), federation.register("bank-b")
    run_id = federation.open_run()
    first.join(run_id)
    assert first.contribute(0, [1]).problem() == (409, "conflict")
    second.join(run_id)
    assert first.contribute(1, [1]).problem() == (409, "conflict")
    assert first.open(0, 0, 1).problem() == (409, "conflict")
    assert first.product(0, 0).status == 204
    assert first.product(1, 0).problem() == (404, "not-found")
    assert first.product(0, 2).problem() == (400, "protocol")
    assert first.run_request("GET", "/rounds/0/product").problem() == (400, "protocol")
    assert federation.status(run_id)["ciphertexts"] == 0


def test_frames_that_are_malformed_or_out_of_place(federation: Federation) -> None:
    banks = federation.start()
    bank = banks[0]
    good = bank.contribution(0, [1, 2])
    refused = {
        good[:5]: (400, "protocol"),
        good[:40]: (400, "protocol"),
        b"": (400, "protocol"),
        b"XXXX" + good[4:]: (400, "protocol"),
        good[:4] + b"\x09" + good[5:]: (400, "version"),
        good[:-1]: (422, "ciphertext"),
        good + b"\0": (422, "ciphertext"),
        frame(bank, run_id="other"): (400, "protocol"),
        frame(bank, round_number=1): (400, "protocol"),
        frame(bank, kind=FrameKind.PRODUCT): (400, "protocol"),
        frame(bank, commitment=None): (400, "protocol"),
        frame(bank, commitment="A" * 64): (400, "protocol"),
        frame(bank, commitments=("1" * 64,)): (400, "protocol"),
        frame(bank, bank=banks[1].name): (403, "forbidden"),
        frame(bank, bank=None): (403, "forbidden"),
        frame(bank, item_bytes=0): (422, "ciphertext"),
        frame(bank, item_bytes=32, count=4): (422, "ciphertext"),
    }
    for body, expected in refused.items():
        assert bank.post_contribution(0, body).problem() == expected
    bad_opening = bank.opening(0, 0, 1)
    assert bank.post_opening(0, bad_opening[:9]).problem() == (400, "protocol")
    assert bank.post_opening(0, good).problem() == (400, "protocol")
    status = federation.status(bank.run_id)
    assert (status["state"], status["ciphertexts"], status["bytes_received"]) == ("training", 0, 0)


@pytest.mark.parametrize("value", ["zero", "n", "n_squared", "multiple of p", "all ones"])
def test_values_that_are_no_ciphertexts(federation: Federation, key: TestKey, value: str) -> None:
    n, p = key.public.n, key.phe_private.p
    width = key.public.ciphertext_bytes
    number = {
        "zero": 0,
        "n": n,
        "n_squared": n * n,
        "multiple of p": 3 * p,
        "all ones": 2 ** (8 * width) - 1,
    }[value]
    bank = federation.start()[0]
    good = CiphertextVector.of_integers(key.public, [mpz(n + 1)]).data
    header = FrameHeader(
        kind=FrameKind.CONTRIBUTION,
        run_id=bank.run_id,
        round_number=0,
        label="hist",
        context=CONTEXT,
        bank=bank.name,
        count=2,
        item_bytes=width,
        commitment=bank.commitment(0),
    )
    body = frames.encode(header, good + number.to_bytes(width, "big"))
    assert bank.post_contribution(0, body).problem() == (422, "ciphertext")
    assert federation.status(bank.run_id)["ciphertexts"] == 0


def test_openings_that_do_not_fit_the_round(federation: Federation) -> None:
    banks = federation.start()
    for bank in banks:
        bank.contribute(0, [1, 2, 3, 4])
    assert banks[0].open(0, 1, 1).problem() == (400, "protocol")
    assert banks[0].open(0, 0, 4).problem() == (400, "protocol")
    assert banks[0].open(0, 0, 2, label="leaf").problem() == (409, "conflict")
    assert banks[0].open(0, 0, 2, context="d" * 64).problem() == (409, "conflict")
    assert banks[0].openings(0).status == 204
    assert federation.status(banks[0].run_id)["state"] == "training"
    assert banks[0].open(0, 0, 2).status == 202


def test_body_too_large_is_413_and_closes_the_connection(federation: Federation) -> None:
    bank = federation.start()[0]
    answer = bank.post_contribution(0, b"x" * (64 * 1024 + 1))
    assert answer.problem() == (413, "body-too-large")
    assert answer.headers["connection"] == "close"


def test_models_under_a_wrong_hash(federation: Federation) -> None:
    bank = federation.start()[0]
    signed = {MODEL_SIGNATURE_HEADER: "0" * 128}
    for address in ("0" * 64, "xyz"):
        wrong = bank.run_request("PUT", f"/models/{address}", body=b"{}", headers=signed)
        assert wrong.problem() == (400, "protocol")
    assert federation.status(bank.run_id)["state"] == "training"


def test_a_small_key_is_refused_by_default(app: Flask, federation: Federation) -> None:
    strict = replace(app.extensions["fraudfed"], config=ServiceConfig())
    app.extensions["fraudfed"] = strict
    bank = federation.register("bank-a")
    answer = bank.announce(make_epoch(federation.key, 1, bank, [bank.keys]))
    assert answer.problem() == (422, "key")


def test_an_unexpected_failure_tells_the_request_id_and_no_more(
    app: Flask, federation: Federation, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(_self: RunService, _caller: object) -> None:
        raise RuntimeError("internal detail")

    monkeypatch.setattr(RunService, "list_runs", fail)
    headers = {"X-Request-Id": "request-7"}
    answer = federation.operate("GET", "/v1/runs", headers=headers)
    assert answer.problem() == (500, "server")
    assert b"internal detail" not in answer.body
    assert b"request-7" in answer.body
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert "request-7" in logged[0].getMessage()


def test_what_cannot_be_stored_now_is_worth_another_attempt(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    banks = federation.start()
    body = banks[0].contribution(0, [1])

    def fail(*_: object) -> None:
        raise UnavailableError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "commit", fail)
        answer = banks[0].post_contribution(0, body)
    # A bank repeats what is answered so, and an abort would not come through either.
    assert answer.problem() == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert federation.status(banks[0].run_id)["ciphertexts"] == 0
    assert banks[0].post_contribution(0, body).json()["received"] == 1


def test_request_ids_are_echoed_or_made_up(federation: Federation) -> None:
    given = federation.call("GET", "/v1/health", headers={"X-Request-Id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    forged = federation.call("GET", "/v1/health", headers={"X-Request-Id": "a b=c"})
    assert forged.headers["x-request-id"] != "a b=c"


def test_the_request_log_names_the_caller_and_holds_no_secret(
    federation: Federation, caplog: Any
) -> None:
    caplog.set_level("INFO")
    bank = federation.start()[0]
    bank.contribute(0, [1])
    bank.request("GET", "/v1/runs/a%0Aforged")
    text = caplog.text
    assert f"caller=bank:{bank.name}" in text
    assert "status=200" in text
    assert "\nforged" not in text
    assert federation.operator_token not in text


def test_documented_client_notices_an_undocumented_answer(app: Flask) -> None:
    client = DocumentedClient(app)
    answer = client("GET", "/v1/health")
    with pytest.raises(AssertionError):
        client._check("POST", "/v1/banks", answer)
