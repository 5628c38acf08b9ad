"""An http proxy as companies have them: it carries https by CONNECT, and may ask who calls."""

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from proxies.server import Handler, http_server


@dataclass
class ForwardProxy:
    """What a test says of the proxy, and what it has seen.

    Attributes
    ----------
    places : mapping of str to pair
        Where a target of CONNECT really is: stands in for names that no resolver knows.
    user : str or None
        ``NAME:PASSWORD`` that it asks for.
    offers : tuple of str
        Its ``Proxy-Authenticate``.
    refusal : int or None
        Status that it answers with, in place of a way.
    asked : list of pair
        Target and headers of each CONNECT, in lower case.
    seen : bytearray
        All that it has passed on.
    """

    url: str = ""
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    user: str | None = None
    offers: tuple[str, ...] = ('Basic realm="corp"',)
    refusal: int | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    @property
    def targets(self) -> list[str]:
        return [target for target, _ in self.asked]

    def place(self, target: str) -> tuple[str, int]:
        host, _, port = target.rpartition(":")
        return self.places.get(target) or (host.strip("[]"), int(port))

    def lets_in(self, headers: Mapping[str, str]) -> bool:
        if self.user is None:
            return True
        expected = "Basic " + base64.b64encode(self.user.encode()).decode()
        return headers.get("proxy-authorization") == expected


class _Connect(Handler):
    proxy: ForwardProxy

    def do_CONNECT(self) -> None:
        self.close_connection = True
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.proxy.asked.append((self.path, headers))
        if self.proxy.refusal is not None:
            self._refuse(self.proxy.refusal)
        elif not self.proxy.lets_in(headers):
            self._refuse(407)
        elif self.path.count(":") > 1 and not self.path.startswith("["):
            self._refuse(400)
        else:
            self._carry()

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        for offer in self.proxy.offers if status == 407 else ():
            self.send_header("Proxy-Authenticate", offer)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"no")

    def _carry(self) -> None:
        with socket.create_connection(self.proxy.place(self.path)) as upstream:
            self.send_response(200, "Connection established")
            self.end_headers()
            back = threading.Thread(target=self._copy, args=(upstream, self.connection))
            back.start()
            self._copy(self.connection, upstream)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        # Either end may hang up at any time.
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.proxy.seen.extend(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def forward_proxy(proxy: ForwardProxy, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """Serve until the block ends; with a context the proxy itself is called over https."""
    handler = type("Connect", (_Connect,), {"proxy": proxy})
    with http_server(handler, context) as proxy.url:
        yield


@contextmanager
def opening_proxy(context: ssl.SSLContext, heard: list[bytes]) -> Iterator[str]:
    """Serve a proxy that opens TLS: it shows a certificate of its own and reads what comes."""

    class Opens(Handler):
        def do_CONNECT(self) -> None:
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.connection, server_side=True) as inside,
            ):
                heard.append(inside.recv(65536))

    with http_server(Opens) as url:
        yield url
