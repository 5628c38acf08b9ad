"""The bank's pages on the port of ``bank-node serve``: two doors, and no key opens both."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from federations.bank_process import Finished
from flask import Blueprint, Flask
from serving_kit.scored_bank import make_bank, payments
from serving_kit.service_process import ServiceProcess

from bank_node.service.pages import server
from bank_node.state.directory import StateDirectory
from fraudfed.errors import FraudFedError

CALLERS = "x" * 40
BEARER = {"authorization": f"Bearer {CALLERS}"}
PAYMENT = {
    name: value
    for name, value in payments(5, 1).to_dict("records")[0].items()
    if name not in ("label_time", "is_fraud")
}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    return make_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def service(state: StateDirectory) -> Iterator[ServiceProcess]:
    token = state.path.parent / "token"
    token.write_text(CALLERS)
    with ServiceProcess(state.path, "--token-file", str(token), "--deadline-ms", "5000") as found:
        yield found


def browser(service: ServiceProcess) -> httpx.Client:
    return httpx.Client(base_url=service.url, timeout=60, trust_env=False)


def form_token(client: httpx.Client) -> str:
    found = re.search(
        r'name="form_token" value="([0-9a-f]{64})"', client.get("/pages/sign-in").text
    )
    assert found is not None
    return found[1]


def sign_in(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/pages/sign-in", data={"form_token": form_token(client), "token": token})


def pages_token(service: ServiceProcess) -> str:
    return Path(service.announced["pages"]["token_file"]).read_text().strip()


@pytest.mark.e2e
def test_pages_stand_beside_the_api_on_its_port(service: ServiceProcess) -> None:
    assert service.announced["pages"]["url"] == f"{service.url}/pages/"
    assert service.post("/v1/score", PAYMENT, headers=BEARER).status_code == 200
    with browser(service) as client:
        assert client.get("/").headers["location"] == "pages/"
        assert client.get("/pages/").headers["location"] == "sign-in"
        assert sign_in(client, pages_token(service)).status_code == 303
        page = client.get("/pages/")
        assert page.status_code == 200
        assert "What left this bank" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        alert = client.get("/pages/alert", params={"id": PAYMENT["transaction_id"]})
        assert alert.status_code == 200, alert.text


@pytest.mark.e2e
def test_no_key_opens_both_doors(service: ServiceProcess) -> None:
    with browser(service) as client:
        # The callers' token at the pages: as a bearer, and at the sign-in.
        assert client.get("/pages/alerts", headers=BEARER).status_code == 303
        assert sign_in(client, CALLERS).status_code == 401
        assert client.get("/pages/alerts").status_code == 303
        # The pages' token and session at the API.
        token = pages_token(service)
        wrong = {"authorization": f"Bearer {token}"}
        assert sign_in(client, token).status_code == 303
        for headers in ({}, wrong):
            for method, path in (
                ("POST", "/v1/score"),
                ("POST", "/v1/swap"),
                ("GET", f"/v1/decisions/{PAYMENT['transaction_id']}"),
                ("GET", "/metrics"),
            ):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path)
        # A form of another site, or of another session, changes nothing.
        assert client.post("/pages/approve", data={"hash": "0" * 64}).status_code == 403
        foreign = {"hash": "0" * 64, "form_token": form_token(client)}
        other_site = {"sec-fetch-site": "cross-site"}
        answer = client.post("/pages/approve", data=foreign, headers=other_site)
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0", "--pages"), "without --tls-certificate"),
        ((), "callers need another one"),
    ],
)
def test_what_would_open_the_pages_to_others_is_refused(
    tmp_path: Path, run_bank: Any, options: tuple[str, ...], words: str
) -> None:
    state = make_bank(tmp_path)
    token = server.token_file(state.serving_path)
    ended: Finished = run_bank(
        "serve", "--state", state.path, "--port", "0", "--token-file", token, *options
    )
    assert ended.code == 2
    assert words in ended.err


def test_pages_never_take_all_threads() -> None:
    app, pages = Flask("test"), Blueprint("pages", "test")
    inside, go_on = threading.Barrier(3), threading.Event()

    def slow() -> str:
        inside.wait(60)
        assert go_on.wait(60)
        return "made"

    def fails() -> str:
        raise ZeroDivisionError

    pages.add_url_rule("/slow", view_func=slow)
    pages.add_url_rule("/fails", view_func=fails)
    pages.add_url_rule("/file", "file", lambda: "file")
    pages.register_error_handler(FraudFedError, lambda error: (str(error), error.http_status))
    server._bound(pages, 2)
    app.register_blueprint(pages)
    for _ in range(5):
        assert app.test_client().get("/fails").status_code == 500
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(app.test_client().get("/slow").status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    inside.wait(60)
    refused = app.test_client().get("/fails")
    assert refused.status_code == 429
    assert "2 pages are being made" in refused.text
    assert app.test_client().get("/file").status_code == 200
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert found == [200, 200]
    assert app.test_client().get("/fails").status_code == 500
