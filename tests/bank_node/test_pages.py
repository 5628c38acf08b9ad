"""A bank's pages: what left, consent by bytes, alerts with reasons; in a browser and without."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from browsers import PHONE, chromium, watched
from federations.bank_states import Banks
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser

from bank_node.approval_rules import ApprovalRules
from bank_node.audit.explain import FIELDS
from bank_node.config import BankConfig
from bank_node.decisions.decision import Decision
from bank_node.decisions.log import DecisionLog
from bank_node.service.pages.alerts import DECISIONS
from bank_node.service.pages.left import PLAIN
from bank_node.service.pages.server import create_app
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.identity import Identity
from fraudfed.lab.local_federation.kept import PAGES_LISTENING
from fraudfed.lab.local_federation.processes import ProgramGroup


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    identity = Identity.generate()
    member = identity.member("bank-a")
    config = BankConfig(
        name="bank-a",
        aggregator="http://127.0.0.1:1",
        signing_key=member.signing_key,
        agreement_key=member.agreement_key,
    )
    return StateDirectory.create(tmp_path / "bank-a", config, identity)


@pytest.fixture
def client(state: StateDirectory) -> FlaskClient:
    app: Flask = create_app(state, passphrase=None)
    client = app.test_client()
    token = (state.path / "serving" / "pages.token").read_text()
    answer = client.post("/pages/sign-in", data={"form_token": field(client), "token": token})
    assert answer.status_code == 303
    return client


def field(client: FlaskClient, page: str = "sign-in") -> str:
    found = re.search(
        r'name="form_token" value="([0-9a-f]{64})"', client.get(f"/pages/{page}").text
    )
    assert found is not None
    return found[1]


def sent(state: StateDirectory, kind: str, **facts: Any) -> None:
    state.audit_log(state.identity()).append(
        durable=False,
        **{
            **{"event": "sent", "kind": kind, "method": "POST", "path": "/v1/x"},
            **{"request_id": "r", "body_bytes": 10, **facts},
        },
    )


def test_every_kind_of_request_has_a_sentence() -> None:
    assert PLAIN.keys() == FIELDS.keys()


def test_what_left_today_is_said_in_plain_words(state: StateDirectory, client: FlaskClient) -> None:
    assert "Nothing so far" in client.get("/pages/").text
    for number in range(3):
        sent(
            state,
            "contribution",
            run_id="<b>run</b>",
            round_number=number,
            label="histogram:tree 0 step 1",
            body_bytes=1_000_000,
        )
    sent(state, "question", body_bytes=0)
    text = client.get("/pages/").text
    assert "What left this bank today" in text
    assert "4 requests with 3.0 MB" in text
    assert "nobody can read them alone" in text
    assert "splits of trees (3)" in text
    assert "<b>run" not in text
    assert "Nothing." in client.get("/pages/?day=2020-01-01").text
    assert client.get("/pages/?day=tomorrow").status_code == 400


def test_a_changed_log_is_no_page(state: StateDirectory, client: FlaskClient) -> None:
    sent(state, "question")
    path = state.audit_path
    path.write_bytes(path.read_bytes().replace(b'"question"', b'"nothing_"'))
    answer = client.get("/pages/")
    assert answer.status_code == 409
    assert "was changed after it was written" in answer.text


def test_nothing_is_shown_without_the_token(state: StateDirectory) -> None:
    client = create_app(state, passphrase=None).test_client()
    for page in ("", "runs", "run?id=x", "models", "alerts", "alert?id=x"):
        assert client.get(f"/pages/{page}").status_code == 303
    form = {"form_token": field(client), "token": "wrong"}
    assert client.post("/pages/sign-in", data=form).status_code == 401
    assert client.post("/pages/approve", data={"hash": "0" * 64}).status_code == 403
    path = state.path / "serving" / "pages.token"
    assert path.stat().st_mode & 0o077 == 0


def test_alerts_of_a_day_with_what_was_done(state: StateDirectory, client: FlaskClient) -> None:
    assert "has not decided about any payment yet" in client.get("/pages/alerts").text
    now = int(time.time())
    log = DecisionLog(state.path / DECISIONS, state.vault)
    for number, action in enumerate(("allow", "hold", "block")):
        log.append(
            Decision(
                transaction_id=f"<i>{number}",
                customer_id="c",
                event_time=now,
                decided_at=now,
                channel="web",
                direction="outbound",
                amount_minor=123456,
                currency="GBP",
                margin=None,
                score=None,
                probability=0.25,
                action=action,
                rule="threshold",
                step="fallback",
            )
        )
    log.commit()
    text = client.get(f"/pages/alerts?day={datetime.fromtimestamp(now, UTC):%Y-%m-%d}").text
    assert "3 payments decided about, 2 alerts shown" in text
    assert "&lt;i&gt;2" in text
    assert "GBP 1,234.56" in text
    assert "<i>" not in text
    one = client.get("/pages/alert", query_string={"id": "<i>0"})
    assert "What spoke against it" in one.text
    assert "decided without the model" in one.text
    assert client.get("/pages/alert?id=none").status_code == 404


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.e2e
def test_a_person_approves_the_bytes_that_the_page_shows(
    make_banks: Any, browser: Browser, tmp_path: Path
) -> None:
    banks: Banks = make_banks(name="<script>document.title='run'</script>")
    path = banks.state(banks.names[0])
    state = StateDirectory(path)
    state.save_config(state.config.model_copy(update={"approval": ApprovalRules()}))
    with ProgramGroup(logs=tmp_path / "logs") as group, watched(browser, window=PHONE) as seen:
        served = group.start("pages", ["bank-node", "pages", "--state", str(path), "--port", "0"])
        url = group.wait_for_line(served, PAGES_LISTENING, seconds=60)
        page = seen.page
        page.goto(url)
        page.fill("#token", (path / "serving" / "pages.token").read_text().strip())
        page.keyboard.press("Enter")
        page.wait_for_selector("nav")
        for name in ("./", "runs", "models", "alerts", f"run?id={banks.run_id}"):
            page.goto(f"{url}{name}")
            assert seen.axe() == [], name
            assert not seen.overflows(), name
        assert page.title() != "run"
        hash_ = page.input_value("input[name=hash]")
        assert hash_ in page.inner_text("main")
        assert not state.approvals().has_approved(hash_)
        # Another hash in the form is no run that was shown.
        page.evaluate("document.querySelector('input[name=hash]').value = '0'.repeat(64)")
        page.click("text=Approve this run")
        assert "no run with this hash was reviewed" in page.inner_text("main")
        page.goto(f"{url}run?id={banks.run_id}")
        page.click("text=Approve this run")
        page.wait_for_selector("text=Take the approval back")
        assert state.approvals().has_approved(hash_)
        page.click("text=Take the approval back")
        page.wait_for_selector("text=Approve this run")
        assert not state.approvals().has_approved(hash_)
        seen.require_quiet(url.removesuffix("/pages/"))
