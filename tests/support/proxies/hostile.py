"""A server on loopback that answers every request with raw bytes, as a test wants it to."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

#: Writes an answer to one request, whose bytes so far are given; the connection ends after it.
Answering = Callable[[socket.socket, bytes], None]


def head(status: str = "200 OK", media_type: str = "application/json", **headers: object) -> bytes:
    """Return status line and headers; ``_`` in a name stands for ``-``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class _Hostile(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 50

    def __init__(self, answering: Answering) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answering = answering
        self.requests: list[bytes] = []


class _Handler(socketserver.BaseRequestHandler):
    server: _Hostile

    def handle(self) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.request.recv(65536)
            if not piece:
                return
            received += piece
        self.server.requests.append(received)
        # The client ends what it does not want: that is what is tested.
        with suppress(OSError):
            self.server.answering(self.request, received)


class HostileServer:
    """What a test knows of the server: its address and the requests that came."""

    def __init__(self, server: _Hostile) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_address[1]}"

    @property
    def requests(self) -> list[bytes]:
        return self._server.requests


@contextmanager
def hostile_server(answering: Answering) -> Iterator[HostileServer]:
    """Answer every request with ``answering`` until the block ends."""
    server = _Hostile(answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield HostileServer(server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
