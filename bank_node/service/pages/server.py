"""The pages: beside an application's own addresses, or alone on a port of their own."""

import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, g, redirect, request
from gunicorn.app.base import BaseApplication
from werkzeug.wrappers import Response as AnyResponse

from bank_node.service.looking_up import LookupDesk
from bank_node.service.pages.pages_bank import PagesBank
from bank_node.service.pages.token import token_file
from bank_node.service.pages.views import BankPages
from bank_node.state.directory import StateDirectory
from fraudfed.errors import RateLimitedError
from fraudfed.http.pages.site import PAGES
from fraudfed.http.server.process import QuietLogger

_THREADS = 8


def add_pages(
    app: Flask,
    state: StateDirectory,
    *,
    passphrase: str | None,
    secure: bool = False,
    at_once: int = _THREADS,
) -> Path:
    """Let an application answer with this bank's pages; return the file of the token for them.

    Parameters
    ----------
    app : Flask
    state : StateDirectory
    passphrase : str or None
        What opens it.
    secure : bool
        The application itself serves https.
    at_once : int
        Pages made at the same time: the application's other requests need threads, too.

    Raises
    ------
    StateError
        If that file cannot be made.
    """
    path = token_file(state.path / "serving")
    pages = BankPages(
        PagesBank(state.path, passphrase),
        # The service's own, where there is one: tables are large.
        app.extensions.get("lookup") or LookupDesk(state),
        token_file=path,
        key=secrets.token_bytes(32),
        secure=secure,
    ).blueprint()
    _bound(pages, at_once)
    app.register_blueprint(pages)
    app.add_url_rule("/", "root", lambda: redirect(f"{PAGES.removeprefix('/')}/", 303))
    return path


def _bound(pages: Blueprint, at_once: int) -> None:
    free = threading.BoundedSemaphore(at_once)

    def begin() -> None:
        # Style sheet, script and icon lie in memory.
        if request.endpoint == f"{pages.name}.file":
            return
        if not free.acquire(blocking=False):
            raise RateLimitedError(
                f"{at_once} pages are being made already, which take long; open this one again in "
                "a moment"
            )
        g.page_is_made = True

    def end(_error: BaseException | None) -> None:
        if g.pop("page_is_made", False):
            free.release()

    pages.before_request(begin)
    pages.teardown_request(end)


def create_app(state: StateDirectory, *, passphrase: str | None) -> Flask:
    """Build an application of pages alone."""
    app = Flask("bank_pages", static_folder=None)
    app.after_request(_not_kept)
    add_pages(app, state, passphrase=passphrase)
    return app


def serve(
    state: StateDirectory,
    listener: socket.socket,
    *,
    passphrase: str | None,
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        _Pages(state, listener, passphrase, on_ready).run()
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise


def _not_kept(response: AnyResponse) -> AnyResponse:
    if isinstance(response, Response):
        response.headers["Cache-Control"] = "no-cache" if response.get_etag()[0] else "no-store"
    return response


class _Pages(BaseApplication):  # type: ignore[misc]  # gunicorn has no type hints
    """gunicorn with one worker: sessions and the read log are in its memory."""

    def __init__(
        self,
        state: StateDirectory,
        listener: socket.socket,
        passphrase: str | None,
        on_ready: Callable[[], None],
    ) -> None:
        self._state, self._listener = state, listener
        self._passphrase, self._on_ready = passphrase, on_ready
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        settings: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": _THREADS,
            "accesslog": None,
            "logger_class": QuietLogger,
            "when_ready": lambda _server: self._on_ready(),
            "forwarded_allow_ips": "",
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build the application, in the worker process."""
        return create_app(self._state, passphrase=self._passphrase)
