"""The operator's pages, without a browser: sessions, forms, roles, headers, errors."""

import re
from typing import Any

import pytest
from federations.fake_banks import Federation
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from aggregator.audit.log import AuditTrail
from aggregator.caller import Role
from aggregator.config import ServiceConfig
from aggregator.pages.progress import progress_of
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.store import Store
from fraudfed.errors import StateError
from fraudfed.http.pages.sessions import IDLE_SECONDS, LONGEST_SECONDS, Sessions
from fraudfed.wire.messages import RoundSummary, RunStatus, parse


def field(answer: TestResponse) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', answer.text)
    assert found is not None, answer.text
    return found[1]


def sign_in(client: FlaskClient, token: str, **fields: str) -> TestResponse:
    form = {"form_token": field(client.get("/pages/sign-in")), "token": token, **fields}
    return client.post("/pages/sign-in", data=form)


def send(client: FlaskClient, run_id: str, **fields: str) -> TestResponse:
    ask = client.get(f"/pages/change?id={run_id}")
    form = {"form_token": field(ask), "id": run_id, "reason": "because"} | fields
    return client.post("/pages/change", data=form)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_without_a_session_every_page_leads_to_the_sign_in_and_back(
    client: FlaskClient, federation: Federation
) -> None:
    run_id = federation.start()[0].run_id
    first = client.get("/")
    assert (first.status_code, first.location) == (303, "pages/")
    refused = client.get(f"/pages/run?id={run_id}")
    assert refused.status_code == 303
    assert refused.location == f"sign-in?next=run%3Fid%3D{run_id}"
    back = sign_in(client, federation.operator_token, next=f"run?id={run_id}")
    assert (back.status_code, back.location) == (303, f"run?id={run_id}")
    assert run_id in client.get(f"/pages/{back.location}").text


@pytest.mark.parametrize("away", ["https://evil.example/", "//evil.example", "../x", "a/../../b"])
def test_the_sign_in_leads_nowhere_else(
    client: FlaskClient, federation: Federation, away: str
) -> None:
    assert sign_in(client, federation.operator_token, next=away).location == "./"


def test_a_wrong_token_is_refused_and_written_down(
    client: FlaskClient, federation: Federation, store: Store
) -> None:
    answer = sign_in(client, "wrong")
    assert answer.status_code == 401
    assert "the token is unknown" in answer.text
    assert client.get("/pages/consortium").status_code == 303
    last = store.audit.entries()[-1]
    assert (last.kind, last.status.value, last.actor) == ("sign-in", "refused", "anonymous")
    sign_in(client, federation.operator_token)
    last = store.audit.entries()[-1]
    assert (last.kind, last.status.value, last.actor) == (
        "sign-in",
        "accepted",
        "operator:operator",
    )


def test_the_cookie_is_for_these_pages_alone(client: FlaskClient, federation: Federation) -> None:
    plain = sign_in(client, federation.operator_token).headers["Set-Cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=Strict" in plain
    assert "Path" not in plain
    assert "Secure" not in plain
    form = {"form_token": field(client.get("/pages/sign-in")), "token": federation.operator_token}
    # A browser says in its origin that it came by https, through a proxy in front.
    by_https = client.post("/pages/sign-in", data=form, headers={"Origin": "https://fed.example"})
    assert by_https.headers["Set-Cookie"].startswith("__Secure-fraudfed-aggregator=")
    assert "; Secure" in by_https.headers["Set-Cookie"]


def test_sessions_end_by_rest_by_age_by_sign_out_and_with_the_token(
    client: FlaskClient, federation: Federation, store: Store
) -> None:
    now = 1_000_000.0
    sessions = Sessions(bytes(32), clock=lambda: now)
    session = sessions.open("operator")
    cookie = sessions.write(session)
    now += IDLE_SECONDS - 1
    assert sessions.read(cookie) is not None
    now += 1
    assert sessions.read(cookie) is None
    now = 1_000_000.0 + LONGEST_SECONDS - 1
    cookie = sessions.write(session)
    assert sessions.read(cookie) is not None
    now += 1
    assert sessions.read(cookie) is None
    assert Sessions(b"x" * 32).read(sessions.write(sessions.open("operator"))) is None

    sign_in(client, federation.operator_token)
    copied = client.get_cookie("fraudfed-aggregator", path="/pages")
    assert copied is not None
    out = client.post("/pages/sign-out", data={"form_token": field(client.get("/pages/"))})
    assert out.location == "sign-in"
    client.set_cookie("fraudfed-aggregator", copied.value, path="/pages")
    assert client.get("/pages/").status_code == 303

    sign_in(client, store.tokens.create("short", Role.VIEWER))
    assert client.get("/pages/").status_code == 200
    store.tokens.revoke("short")
    assert client.get("/pages/").status_code == 303


@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({"form_token": ""}, {}, 403),
        ({"form_token": "é" * 64}, {}, 403),
        ({}, {"Sec-Fetch-Site": "cross-site"}, 403),
        ({}, {"Sec-Fetch-Site": "same-site"}, 403),
        ({}, {"Content-Type": "text/plain"}, 400),
        ({"reason": "x" * 70_000}, {}, 413),
        ({"reason": ""}, {}, 400),
        ({"id": "nosuch"}, {}, 404),
    ],
)
def test_a_form_of_another_site_or_session_changes_nothing(
    client: FlaskClient,
    federation: Federation,
    fields: dict[str, str],
    headers: dict[str, str],
    status: int,
) -> None:
    run_id = federation.start()[0].run_id
    sign_in(client, federation.operator_token)
    form = {"form_token": field(client.get(f"/pages/change?id={run_id}")), "id": run_id}
    form |= {"reason": "r", **fields}
    answer = client.post("/pages/change", data=form, headers=headers)
    assert answer.status_code == status
    assert federation.operate("GET", f"/v1/runs/{run_id}").json()["state"] == "training"
    # The same form of this session is taken: it was not refused for anything else.
    assert send(client, run_id).status_code == 303
    assert federation.operate("GET", f"/v1/runs/{run_id}").json()["failure"] == "operator: because"


def test_a_viewer_looks_and_changes_nothing(
    client: FlaskClient, federation: Federation, store: Store
) -> None:
    run_id = federation.start()[0].run_id
    sign_in(client, store.tokens.create("eyes", Role.VIEWER))
    page = client.get(f"/pages/run?id={run_id}")
    assert page.status_code == 200
    assert "End the run" not in page.text
    assert client.get(f"/pages/change?id={run_id}").status_code == 403
    form = {"form_token": field(page), "id": run_id, "reason": "r"}
    assert client.post("/pages/change", data=form).status_code == 403


def test_a_drop_takes_two_operators_by_page_or_program(
    store: Store, waiters: Waiters, federation: Federation
) -> None:
    banks = federation.start(cohort_size=4)
    config = ServiceConfig(insecure_allow_small_keys=True, two_operators=True)
    app = create_app(config, store, waiters)
    run_id = banks[0].run_id
    first, second = app.test_client(), app.test_client()
    sign_in(first, federation.operator_token)
    other = store.tokens.create("second", Role.OPERATOR)
    sign_in(second, other)
    drop: dict[str, Any] = {"bank": banks[3].name, "reason": "gone"}
    for _ in range(2):
        answer = send(first, run_id, **drop)
        assert answer.status_code == 403
        assert "another operator has to confirm" in answer.text
    headers = {"Authorization": f"Bearer {other}"}
    done = second.post(f"/v1/runs/{run_id}/drops", json=drop, headers=headers)
    assert done.status_code == 200
    assert banks[3].name not in done.json["generation"]["banks"]


def test_text_of_others_is_text(client: FlaskClient, federation: Federation) -> None:
    federation.start()
    evil = "<script>alert(1)</script>\"'\u202e"
    run_id = federation.create_run(1, name=evil)
    federation.operate("POST", f"/v1/runs/{run_id}/abort", json={"reason": evil})
    sign_in(client, federation.operator_token)
    for page in ("./", f"run?id={run_id}", f"progress?id={run_id}", f"audit?run={run_id}"):
        text = client.get(f"/pages/{page}").text
        assert "<script>alert" not in text
        assert "\u202e" not in text


def test_every_answer_has_the_headers_and_no_inline_code(
    client: FlaskClient, federation: Federation
) -> None:
    run_id = federation.start()[0].run_id
    sign_in(client, federation.operator_token)
    pages = ("", f"run?id={run_id}", "consortium", "models", "audit", f"change?id={run_id}")
    for page in (*pages, "style.css", "live.js", "run?id=none", "audit?before=x", "sign-in"):
        answer = client.get(f"/pages/{page}")
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] in ("no-store", "no-cache")
        if answer.mimetype == "text/html":
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>|https?://", answer.text)
            assert not re.search(r'(?:href|src|action)="/', answer.text)


def test_the_audit_page_says_when_the_chain_is_broken(
    client: FlaskClient,
    federation: Federation,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    federation.start()
    sign_in(client, federation.operator_token)
    assert "The chain is whole" in client.get("/pages/audit").text
    app = create_app(ServiceConfig(), store, Waiters())

    def broken(_self: AuditTrail) -> None:
        raise StateError("audit log does not verify: entry 2 was altered")

    monkeypatch.setattr(AuditTrail, "verify", broken)
    fresh = app.test_client()
    sign_in(fresh, federation.operator_token)
    assert "The chain is broken" in fresh.get("/pages/audit").text


def test_progress_names_the_bank_that_is_waited_for_and_since_when(federation: Federation) -> None:
    banks = federation.start()

    def now() -> Any:
        answer = federation.operate("GET", f"/v1/runs/{banks[0].run_id}")
        status = parse(RunStatus, answer.body, source="test")
        listed = federation.operate("GET", f"/v1/runs/{banks[0].run_id}/rounds").json()["rounds"]
        rounds = [RoundSummary.model_validate(each) for each in listed]
        return progress_of(status, rounds[-1] if rounds else None, None)

    assert now().awaited == ()
    for bank in banks[:-1]:
        assert bank.contribute(0, [1, 2], label="histogram:tree 4 step 2").status == 202
    found = now()
    assert found.awaited == (banks[-1].name,)
    assert found.to_do == "to send its numbers for round 0"
    assert found.since is not None
    assert (found.tree, found.trees) == (5, 100)
    marks = {one.name: one.doing for one in found.banks}
    assert marks[banks[-1].name] == "waited for"
    assert marks[banks[0].name] == "has sent its numbers"
