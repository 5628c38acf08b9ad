"""A tiny HTTP server on loopback that answers as a test wants it to."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Subclasses say what happens to a request; connections are kept."""

    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(
        self,
        body: bytes,
        *,
        status: int = 200,
        media_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        given = {"Content-Type": media_type, "Content-Length": str(len(body))}
        for name, value in {**(headers or {}), **given}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A running server; clients that go away or refuse a handshake are no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@contextmanager
def http_server(
    handler: type[BaseHTTPRequestHandler],
    context: ssl.SSLContext | None = None,
    *,
    address: str = "127.0.0.1",
) -> Iterator[str]:
    """Serve at the URL that is given until the block ends; with a context over TLS."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = type("Bound", (Server,), {"address_family": family})((address, 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        scheme, host = ("http", address) if context is None else ("https", "localhost")
        host = f"[{address}]" if ":" in address else host
        yield f"{scheme}://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
