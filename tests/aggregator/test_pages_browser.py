"""The operator's pages in a real browser, of a real server."""

from collections.abc import Iterator
from typing import Literal

import pytest
from browsers import DESKTOP, PHONE, Watched, chromium, watched
from federations.fake_banks import Federation, TestKey
from federations.server_process import ServerProcess
from playwright.sync_api import Browser, Request

from aggregator.service.state_directory import StateDirectory

pytestmark = pytest.mark.e2e

#: A name and a failure that a browser would run, were they not text.
EVIL = "<script>document.title='run'</script>"
EVIL_IMAGE = "<img src=x onerror=\"document.title='run'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    state = StateDirectory(tmp_path_factory.mktemp("pages") / "state")
    state.create()
    with ServerProcess(state.path, options=("--path-prefix", "/fed")) as started:
        yield started
        assert started.stop() == 0
        assert "Traceback" not in started.log()


@pytest.fixture(scope="module")
def federation(server: ServerProcess, key: TestKey) -> Federation:
    """Make two runs: one waits for a bank, and one was ended with words that try to be code."""
    token = (server._log.parent / "operator.token").read_text().strip()
    federation = Federation(server, token, key)
    for bank in federation.start()[:-1]:
        bank.contribute(0, [1, 2], label="histogram:tree 3 step 1")
    ended = federation.create_run(1, name=EVIL)
    federation.operate("POST", f"/v1/runs/{ended}/abort", json={"reason": EVIL_IMAGE})
    return federation


def sign_in(seen: Watched, server: ServerProcess, federation: Federation) -> None:
    """By keyboard alone."""
    seen.page.goto(f"{server.url}/")
    seen.page.locator("#token").focus()
    seen.page.keyboard.type(federation.operator_token)
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("nav")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_all_pages_are_accessible_quiet_and_fit_the_window(
    browser: Browser,
    server: ServerProcess,
    federation: Federation,
    window: dict[str, int],
    scheme: Literal["light", "dark"],
) -> None:
    waiting = federation.banks[0].run_id
    ended = federation.operate("GET", "/v1/runs").json()["runs"][0]["run_id"]
    with watched(browser, window=window, scheme=scheme) as seen:
        seen.page.goto(f"{server.url}/pages/sign-in")
        assert seen.axe() == []
        sign_in(seen, server, federation)
        for page in (
            *("", "consortium", "models", "audit", f"run?id={waiting}", f"run?id={ended}"),
            f"change?id={waiting}&bank=bank-00",
        ):
            seen.page.goto(f"{server.url}/pages/{page}")
            assert seen.axe() == [], page
            assert not seen.overflows(), page
            assert seen.page.title() != "run"
        seen.require_quiet(server.url)


def test_a_stranger_sees_at_once_which_bank_is_waited_for_and_it_stays_true(
    browser: Browser, server: ServerProcess, federation: Federation
) -> None:
    with watched(browser) as seen:
        sign_in(seen, server, federation)
        assert "Waiting for bank-02 to send its numbers for round 0" in seen.page.inner_text("main")
        seen.page.click("text=test run")
        live = seen.page.locator("[data-live]")
        assert "tree" in live.inner_text()
        seen.page.evaluate("window.isSame = true")
        asked: list[Request] = []
        seen.page.on("request", lambda request: asked.append(request))
        federation["bank-02"].contribute(0, [1, 2], label="histogram:tree 3 step 1")
        opened = federation["bank-02"].open(0, 2, 0, label="histogram:tree 3 step 1")
        assert opened.status == 202
        seen.page.wait_for_selector("[data-live] >> text=to open its share")
        assert "bank-00, bank-01" in live.inner_text()
        # No page is loaded anew; the first one's own parts (style, icon) may still be on their way.
        assert seen.page.evaluate("window.isSame")
        fetched = [each.url for each in asked if each.resource_type in ("document", "fetch", "xhr")]
        assert fetched
        assert all("/pages/progress?" in each for each in fetched)
        seen.require_quiet(server.url)


def test_it_works_without_script_and_by_keyboard(
    browser: Browser, server: ServerProcess, federation: Federation
) -> None:
    with watched(browser, java_script_enabled=False) as seen:
        sign_in(seen, server, federation)
        seen.page.keyboard.press("Tab")
        assert seen.page.locator(":focus").inner_text() == "Skip to the content"
        for _ in range(20):
            seen.page.keyboard.press("Tab")
            if seen.page.locator(":focus").inner_text() == "Consortium":
                break
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_url("**/pages/consortium")
        assert "Code of the whole roster" in seen.page.inner_text("main")
        seen.page.goto(f"{server.url}/pages/run?id={federation.banks[0].run_id}")
        assert 'http-equiv="refresh"' in seen.page.content()
        seen.page.click("text=Sign out")
        seen.page.wait_for_url("**/pages/sign-in")
        seen.page.goto(f"{server.url}/pages/models")
        assert seen.page.url.endswith("/pages/sign-in?next=models")
