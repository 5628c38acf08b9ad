"""A malicious server: a proxy in front of a real aggregator that may change every answer.

It sees what the aggregator sees - every request with its headers and body - and answers the banks
as it likes. The requests themselves are signed, so those it passes on unchanged; what it makes of
the contributions it has recorded, it puts into its answers.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding"}
_JSON = "application/json"


@dataclass
class Exchange:
    """One request as a bank sent it, and the answer that it will get."""

    method: str
    path: str
    """With the query."""
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""

    @property
    def route(self) -> tuple[str, str]:
        """Method and path without the query."""
        return self.method, self.path.partition("?")[0]

    @property
    def bank(self) -> str | None:
        """Whom the signature names."""
        _, found, rest = self.headers.get("signature-input", "").partition('keyid="')
        return rest.partition('"')[0] if found else None

    def reply(self, body: bytes, *, status: int = 200, media_type: str = _JSON) -> None:
        """Answer this instead."""
        self.status, self.answer, self.answer_headers = status, body, {"content-type": media_type}


Tamper = Callable[[Exchange], None]


@dataclass
class TamperingProxy:
    """What the server saw, and what it does.

    Attributes
    ----------
    url : str
    exchanges : list of Exchange
        In the order in which they were answered, with the answers as the banks got them.
    before : callable or None
        Called with each request; if it calls ``reply``, the aggregator never hears of it.
    after : callable or None
        Called with each answered exchange, before the bank gets the answer.
    """

    url: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    before: Tamper | None = None
    after: Tamper | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, method: str, ending: str) -> list[Exchange]:
        """Return the requests of one method whose path ends with ``ending``."""
        with self.lock:
            return [e for e in self.exchanges if e.method == method and e.route[1].endswith(ending)]


@contextmanager
def tampering_proxy(upstream: str) -> Iterator[TamperingProxy]:
    """Stand in front of ``upstream`` until the block ends."""
    proxy = TamperingProxy()
    client = httpx.Client(base_url=upstream, timeout=60.0, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            exchange = Exchange(self.command, self.path, headers, body)
            if proxy.before is not None:
                proxy.before(exchange)
            if not exchange.status:
                # The Host header stays the bank's: the signature may cover it.
                passed = {k: v for k, v in headers.items() if k not in _HOP_BY_HOP}
                answer = client.request(self.command, self.path, content=body, headers=passed)
                exchange.status, exchange.answer = answer.status_code, answer.content
                exchange.answer_headers = {k.lower(): v for k, v in answer.headers.items()}
            if proxy.after is not None:
                proxy.after(exchange)
            with proxy.lock:
                proxy.exchanges.append(exchange)
            self.send_response(exchange.status)
            for name, value in exchange.answer_headers.items():
                if name not in _HOP_BY_HOP:
                    self.send_header(name, value)
            if exchange.status != httpx.codes.NO_CONTENT:
                self.send_header("Content-Length", str(len(exchange.answer)))
            self.end_headers()
            self.wfile.write(exchange.answer)

        do_GET = do_POST = do_PUT = do_DELETE = _forward  # noqa: N815 - http.server's names

        def log_message(self, *args: object) -> None:
            """Say nothing: the exchanges are the log."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing: a bank that gave up has closed its connection."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        client.close()
