"""A bank's pages about models, look-ups and monitoring: what they show, change, and refuse."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browsers import DESKTOP, PHONE, chromium, watched
from examples.risk_states import keep_tables
from flask.testing import FlaskClient
from judging.evaluations import judged
from judging.payments import CONTRACT, bank_that_knows, payments, run_spec
from oracles.features import START
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec, solo_tables
from playwright.sync_api import Browser

from bank_node.data.contract import TableShares, load_training_rows
from bank_node.decisions.decision import Decision
from bank_node.decisions.log import DecisionLog
from bank_node.lifecycle.changes import Wish, hindrance, stage
from bank_node.lifecycle.models_on_hand import model_of_digest
from bank_node.lifecycle.stage_history import Action, Stage
from bank_node.lifecycle.stages import StageDirectory, Stages
from bank_node.lookup.look_up import open_log
from bank_node.monitoring.kept import MOST_KEPT, keep_report, kept_reports
from bank_node.monitoring.report import DriftAlarm, DriftReport, WatchedWeek
from bank_node.service.pages.alerts import DECISIONS
from bank_node.service.pages.server import create_app
from bank_node.state.directory import StateDirectory
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import KeepOwnError, StateError
from fraudfed.gate.decision import Verdict
from fraudfed.lab.local_federation.kept import PAGES_LISTENING
from fraudfed.lab.local_federation.processes import ProgramGroup
from fraudfed.parameters import BoosterParams

IBAN = "GB29NWBK60161331926819"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    payments(0, 600).to_parquet(path)
    shares = TableShares(select=True, judge=True)
    rows = load_training_rows(path, CONTRACT, shares=shares).windows.train
    found = {}
    for name, trees in (("shared", 3), ("own", 2)):
        params = BoosterParams(num_boost_round=trees, max_depth=2, max_bin=16)
        found[name] = train(params, rows, SoloCommunicator()).model.to_json()
    return found


@pytest.fixture
def state(tmp_path: Path, models: dict[str, bytes]) -> StateDirectory:
    return bank_that_knows(tmp_path / "bank", run_spec(), model=models["shared"])


@pytest.fixture
def client(state: StateDirectory) -> FlaskClient:
    client = create_app(state, passphrase=None).test_client()
    token = (state.path / "serving" / "pages.token").read_text()
    form = {"form_token": field(client, "sign-in"), "token": token}
    assert client.post("/pages/sign-in", data=form).status_code == 303
    return client


def field(client: FlaskClient, page: str) -> str:
    found = re.search(
        r'name="form_token" value="([0-9a-f]{64})"', client.get(f"/pages/{page}").text
    )
    assert found is not None
    return found[1]


def with_tables(state: StateDirectory) -> None:
    """Keep tables in which two of five payments to one account were reported as fraud."""
    rows = pd.DataFrame(
        {
            "event_time": [START] * 5,
            "customer_id": list("abcde"),
            "payee_id": [IBAN] * 5,
            "is_fraud": [1, 1, 0, 0, 0],
            "label_time": [START + 60] * 5,
        }
    )
    spec = risk_spec(delay_days=0, first_day=FIRST_DAY, last_day=FIRST_DAY + 3)
    keep_tables(state, "r9", solo_tables(rows, spec), KEY)


def test_a_model_is_put_in_charge_by_the_gate_and_taken_back(
    state: StateDirectory, client: FlaskClient, models: dict[str, bytes]
) -> None:
    assert "None was put in charge yet" in client.get("/pages/stages").text
    directory = StageDirectory.of_state(state.path)
    judged(state, models, Verdict.KEEP)
    digest = directory_digest(state)
    page = client.get(f"/pages/stage?model={digest}").text
    assert "says to keep your own model" in page
    assert "bank-node models promote" in page
    assert "Put it in charge</button>" not in page
    form = {"action": "promote", "model": digest, "by": "ann"}
    sent = {**form, "form_token": field(client, "lookup")}
    # The gate holds for a form that was made up, too.
    assert client.post("/pages/stage", data=sent).status_code == 422
    assert directory.read() == Stages()
    judged(state, models, Verdict.ADOPT)
    page = client.get(f"/pages/stage?model={digest}").text
    assert "Put it in charge</button>" in page
    assert client.post("/pages/stage", data=form).status_code == 403
    assert client.post("/pages/stage", data={**sent, "by": " "}).status_code == 400
    assert client.post("/pages/stage", data={**sent, "action": "retire"}).status_code == 400
    assert directory.read() == Stages()
    assert client.post("/pages/stage", data=sent).status_code == 303
    stages = directory.read()
    assert (stages.champion, stages.history[0].by) == (digest, "ann")
    assert "decides about payments" in client.get("/pages/stages").text
    assert "Go back to" not in client.get("/pages/stages").text
    # Another one with a reason, by the command; and back by the page.
    wish = Wish(by="bob", without_gate="<b>the board</b>")
    stage(state, Action.PROMOTE, "r1/own", wish)
    page = client.get("/pages/stages").text
    assert "&lt;b&gt;the board" in page
    assert "Go back to r1" in page
    back = {"action": "rollback", "by": "ann", "form_token": sent["form_token"]}
    assert client.post("/pages/stage", data={**back, "reason": ""}).status_code == 400
    assert client.post("/pages/stage", data={**back, "reason": "too many"}).status_code == 303
    stages = directory.read()
    assert stages.champion == digest
    assert [event.action for event in stages.history] == ["promote", "promote", "rollback"]
    assert "too many" in client.get("/pages/stages").text
    assert client.get("/pages/stage?model=unknown1").status_code == 400


def directory_digest(state: StateDirectory) -> str:
    """Return the digest of the shared model, as the page of stages links it."""
    client = create_app(state, passphrase=None).test_client()
    token = (state.path / "serving" / "pages.token").read_text()
    form = {"form_token": field(client, "sign-in"), "token": token}
    client.post("/pages/sign-in", data=form)
    found = re.search(r'stage\?model=([0-9a-f]{64})">r1<', client.get("/pages/stages").text)
    assert found is not None
    return found[1]


def test_a_hindrance_is_what_the_command_would_say(
    state: StateDirectory, models: dict[str, bytes]
) -> None:
    assert isinstance(hindrance(state, Action.PROMOTE, "r1"), StateError)
    judged(state, models, Verdict.KEEP)
    assert isinstance(hindrance(state, Action.PROMOTE, "r1"), KeepOwnError)
    assert hindrance(state, Action.ROLLBACK) is not None
    judged(state, models, Verdict.ADOPT)
    assert hindrance(state, Action.PROMOTE, "r1") is None
    assert StageDirectory.of_state(state.path).read() == Stages()


def test_reasons_find_a_staged_model_whose_run_has_another_by_now(
    state: StateDirectory, models: dict[str, bytes]
) -> None:
    judged(state, models, Verdict.ADOPT)
    stage(state, Action.PROMOTE, "r1", Wish(by="ann"))
    staged = StageDirectory.of_state(state.path).read().holder(Stage.CHAMPION)
    assert staged is not None
    state.model_path("r1").write_bytes(models["own"])
    found = model_of_digest(state, staged.sha256)
    assert found is not None
    assert found[0].read_bytes() == models["shared"]
    assert found[1] == "r1"
    assert model_of_digest(state, "0" * 64) is None


def test_what_a_policy_allowed_is_no_alert(state: StateDirectory, client: FlaskClient) -> None:
    now = int(time.time())
    log = DecisionLog(state.path / DECISIONS, state.vault)
    rows: tuple[tuple[str, str | None], ...] = (
        ("allow", "allow"),
        ("allow", "block"),
        ("block", "block"),
    )
    for action, full in rows:
        log.append(
            Decision(
                transaction_id=f"{action}-{full}",
                customer_id="c",
                event_time=now,
                decided_at=now,
                channel=None,
                direction=None,
                amount_minor=1,
                currency=None,
                margin=None,
                score=None,
                probability=None,
                action=action,
                full_action=full,
                rule="r",
                step="full",
            )
        )
    log.commit()
    text = client.get("/pages/alerts").text
    assert "3 payments decided about, 2 alerts shown" in text
    assert "allow-allow" not in text
    # What would have been blocked without warn-only mode is one.
    assert "allow-block" in text


def test_a_look_up_is_answered_logged_and_refused(
    state: StateDirectory, client: FlaskClient
) -> None:
    form = {
        "form_token": field(client, "lookup"),
        "entity": "payee",
        "identifier": "gb29 nwbk 6016 1331 9268 19",
        "purpose": "case 4711",
        "who": "ada",
    }
    answer = client.post("/pages/lookup", data=form)
    assert answer.status_code == 400
    assert "holds no risk tables" in answer.text
    with_tables(state)
    assert client.get("/pages/lookup?entity=payee&identifier=x").status_code == 200
    assert open_log(state).all() == ()
    text = client.post("/pages/lookup", data=form).text
    assert IBAN in text
    assert "at least 2 payments were reported as fraud" in text
    # For the next one the reader need not write it again, and the account is not there again.
    assert 'value="ada"' in text
    assert 'value="gb29' not in text
    text = client.post("/pages/lookup", data={**form, "identifier": "other"}).text
    assert "frauds not known" in text
    logged = [(e.who, e.purpose, e.identifiers) for e in open_log(state).all()]
    assert logged == [("ada", "case 4711", (IBAN,)), ("ada", "case 4711", ("other",))]
    for change, status, why in (
        ({"purpose": " "}, 400, "purpose"),
        ({"who": "x" * 201}, 400, "who"),
        ({"entity": "customer"}, 400, "expected a payee"),
        ({"identifier": "1.2E+15"}, 422, "all its digits"),
        ({"identifier": "x" * 201}, 400, "at most 200"),
        ({"form_token": "0" * 64}, 403, "another session"),
    ):
        answer = client.post("/pages/lookup", data={**form, **change})
        assert (answer.status_code, why in answer.text) == (status, True), why
    assert len(open_log(state).all()) == 2
    answers = [client.post("/pages/lookup", data=form) for _ in range(12)]
    (refused, *_) = [each for each in answers if each.status_code == 429]
    assert int(refused.headers["Retry-After"]) >= 1


def report(until: str = "2026-03-08", **changes: Any) -> DriftReport:
    week: dict[str, Any] = dict.fromkeys(WatchedWeek.model_fields)
    counts = {"payments": 1000, "alerts": 5, "fallbacks": 0, "frauds": 3, "frauds_found": 2}
    week |= counts | {"frauds_now": 4, "frauds_found_now": 2}
    weeks = tuple(
        WatchedWeek(
            **week
            | {"start": f"2026-0{n + 1}-01", "is_reference": n < 2, "score_psi": 0.01 * n}
            | {"completeness": 0.5, "precision": 0.4, "is_young": n == 2}
        )
        for n in range(3)
    )
    fields: dict[str, Any] = dict.fromkeys(DriftReport.model_fields)
    fields |= {
        "source": "file",
        "run_id": "r1",
        "members": (),
        "since": "2026-03-01",
        "until": until,
        "action": "retrain",
        "causes": ("<i>more frauds by card</i>",),
        "alarms": (
            DriftAlarm(
                subject="precision",
                scale="week",
                text="precision fell",
                expected=0.5,
                found=0.1,
                p=0.001,
                channel=None,
                feature=None,
                fraud_kind=None,
                hour=None,
            ),
        ),
        "weeks": weeks,
        "hours": (),
    }
    return DriftReport(**{**fields, **changes})


def test_monitoring_shows_the_last_report_and_what_to_do(
    state: StateDirectory, client: FlaskClient
) -> None:
    text = client.get("/pages/monitoring").text
    assert "No report yet" in text
    assert "bank-node monitor --state" in text
    keep_report(state.serving_path, report())
    keep_report(state.serving_path, report("2026-03-15", action="nothing", causes=(), alarms=()))
    text = client.get("/pages/monitoring").text
    assert "Nothing to do" in text
    text = client.get("/pages/monitoring?name=2026-03-08-r1").text
    assert "Retrain." in text
    assert "&lt;i&gt;more frauds" in text
    assert "precision fell" in text
    assert "judged" in text
    assert client.get("/pages/monitoring?name=../x").status_code == 404


def test_kept_reports_are_the_newest_and_one_a_week(state: StateDirectory) -> None:
    serving = state.serving_path
    assert kept_reports(serving) == ()
    for number in range(MOST_KEPT + 3):
        keep_report(serving, report(f"20{10 + number // 12:02}-{number % 12 + 1:02}-01"))
    keep_report(serving, report("2018-11-01", action="look"))
    found = kept_reports(serving)
    assert len(found) == MOST_KEPT
    assert [one.report.until for one in found] == sorted(
        (one.report.until for one in found), reverse=True
    )
    (again,) = [one for one in found if one.report.until == "2018-11-01"]
    assert again.report.action == "look"
    (serving / "monitoring" / "2030-01-01-x.json").write_text("{}")
    with pytest.raises(StateError, match="is no report of monitoring"):
        kept_reports(serving)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.e2e
def test_all_pages_are_accessible_quiet_and_work_by_keyboard(
    state: StateDirectory, models: dict[str, bytes], browser: Browser, tmp_path: Path
) -> None:
    with_tables(state)
    judged(state, models, Verdict.ADOPT)
    keep_report(state.serving_path, report())
    where = ("--state", str(state.path), "--port", "0")
    with ProgramGroup(logs=tmp_path / "logs") as group:
        served = group.start("pages", ["bank-node", "pages", *where])
        url = group.wait_for_line(served, PAGES_LISTENING, seconds=60)
        for window, scheme in ((PHONE, "dark"), (DESKTOP, "light")):
            with watched(browser, window=window, scheme=scheme) as seen:  # type: ignore[arg-type]
                page = seen.page
                page.goto(url)
                page.fill("#token", (state.serving_path / "pages.token").read_text().strip())
                page.keyboard.press("Enter")
                page.wait_for_selector("nav")
                page.goto(f"{url}stages")
                model = page.get_attribute("tbody a", "href")
                for name in ("stages", model, "monitoring", "lookup"):
                    page.goto(f"{url}{name}")
                    assert seen.axe() == [], name
                    assert not seen.overflows(), name
                page.locator("#entity").focus()
                page.keyboard.type("account")
                for text in (IBAN, "case 4711", "ada"):
                    page.keyboard.press("Tab")
                    page.keyboard.type(text)
                page.keyboard.press("Enter")
                page.wait_for_selector("text=at least 2 payments were reported")
                assert IBAN not in page.url
                assert seen.axe() == []
                assert not seen.overflows()
                seen.require_quiet(url.removesuffix("/pages/"))
