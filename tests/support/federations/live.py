"""A federation around a real aggregator: banks with keys of their own, operator and viewer.

The aggregator is served in a thread of the test process, over real HTTP, so that a control can
take out one of its defences. Nothing of ``bank_node`` is used: an attacker writes its own client.
"""

import json as json_module
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
from werkzeug.serving import WSGIRequestHandler, make_server

from aggregator.caller import Role
from aggregator.config import ServiceConfig
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from federations.fake_banks import FakeBank, Federation, HttpCall, TestKey
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.wire.messages import AuditEntry, AuditLog


class LiveFederation(Federation):
    """What everybody can do at one aggregator; requests may be kept, changed and repeated."""

    def __init__(self, url: str, state: Path, package: KeyPackage) -> None:
        self.http_call = HttpCall(url)
        super().__init__(
            self.http_call, (state / "operator.token").read_text().strip(), TestKey.of(package)
        )
        self.url, self.state, self.package = url, state, package
        self.viewer_token = (state / "viewer.token").read_text()
        self.send = self.http_call.send

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Request:
        """Return an unsigned request."""
        return self.http_call.http.build_request(method, path, content=body, headers=headers)

    def signed(
        self,
        bank: FakeBank,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        json: Any = None,
        **options: Any,
    ) -> httpx.Request:
        """Return a request signed by ``bank``, as itself unless ``keyid`` says otherwise."""
        headers = {}
        if json is not None:
            body, headers = json_module.dumps(json).encode(), {"Content-Type": "application/json"}
        headers = bank.signed_headers(method, path, body=body, headers=headers, **options)
        return self.request(method, path, body=body, headers=headers)

    def audit_entries(self) -> tuple[AuditEntry, ...]:
        """Return the whole audit log."""
        found: list[AuditEntry] = []
        while True:
            answer = self.operate("GET", f"/v1/audit?start={len(found) + 1}")
            entries = AuditLog.model_validate_json(answer.body).entries
            found += entries
            if len(entries) < 1000:
                return tuple(found)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args: object) -> None:
        """Leave the log to the application."""


@contextmanager
def served(state: Path, package: KeyPackage, *banks: str) -> Iterator[LiveFederation]:
    """Serve a state directory until the block ends.

    It is made here unless it is there already. Banks that are named register, and hold a key epoch.
    """
    directory = StateDirectory(state)
    fresh = not state.exists()
    if fresh:
        directory.create()
    store = directory.open_store()
    if fresh:
        (state / "viewer.token").write_text(store.tokens.create("auditor", Role.VIEWER))
    waiters = Waiters()
    app = create_app(ServiceConfig(insecure_allow_small_keys=True), store, waiters)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    live = LiveFederation(f"http://127.0.0.1:{server.server_port}", state, package)
    try:
        for name in banks:
            live.register(name)
        if banks:
            live.make_epoch()
        yield live
    finally:
        live.http_call.http.close()
        waiters.stop()
        server.shutdown()
        server.server_close()
        thread.join()
        store.close()
