"""A real browser, which tells on a page: what it fetches, what its policy stops, what it says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

#: Debian's; another one by the environment.
CHROMIUM = os.environ.get("FRAUDFED_CHROMIUM", "/usr/bin/chromium")
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; a machine without one skips the test and says so."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}: install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page and everything that it did."""

    page: Page
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def require_quiet(self, url: str) -> None:
        """Nothing was asked of any other host, and the browser had nothing to complain of."""
        assert self.requests
        assert [each for each in self.requests if not each.startswith(f"{url}/")] == []
        assert self.said == []

    def axe(self) -> list[str]:
        """Return what axe finds at the page as it stands, one line each."""
        found = Axe().run(self.page)
        return [
            f"{each['id']}: {each['help']}: {node['html']}"
            for each in found.response["violations"]
            for node in each["nodes"]
        ]

    def overflows(self) -> bool:
        """Whether the page is wider than its window."""
        return bool(
            self.page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
        )


@contextmanager
def watched(
    browser: Browser,
    *,
    window: dict[str, int] = DESKTOP,
    scheme: Literal["light", "dark"] = "light",
    **options: Any,
) -> Iterator[Watched]:
    """Open a page in a fresh profile."""
    context = browser.new_context(
        viewport={"width": window["width"], "height": window["height"]},
        color_scheme=scheme,
        **options,
    )
    page = context.new_page()
    found = Watched(page)
    page.on("request", lambda request: found.requests.append(request.url))
    # A refused answer is logged as well; what a policy stops is an error of another text.
    page.on(
        "console",
        lambda message: (
            found.said.append(message.text)
            if message.type in ("error", "warning")
            and "Failed to load resource" not in message.text
            else None
        ),
    )
    page.on("pageerror", lambda error: found.said.append(str(error)))
    try:
        yield found
    finally:
        context.close()
