"""HTTP/1.1 to one server over kept connections: no redirects, no cookies, no compression.

Every answer has a size limit and one deadline for all of it (``metered``).

A bank calls one aggregator, thousands of times in a training, with every party on the same cores.
A client for the whole web takes three times as long per request as the standard library does, on
what an aggregator's answers never hold (``docs/decisions/0015-cheap-rounds.md``).
"""

import base64
import contextlib
import http.client
import select
import ssl
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from fraudfed.errors import ConfigurationError
from fraudfed.http.metered import PlainConnection, SecuredConnection, read_body

_CONNECT_SECONDS = 10.0

_Connection: TypeAlias = PlainConnection | SecuredConnection


@dataclass(frozen=True)
class Answer:
    """What the server answered.

    Attributes
    ----------
    status : int
    headers : HTTPMessage
        ``get`` finds a name in any case.
    content : bytes
    """

    status: int
    headers: http.client.HTTPMessage
    content: bytes


class HttpConnections:
    """Connections to one server, kept between requests. Safe to use from many threads.

    Parameters
    ----------
    url : str
        Scheme, host and port; a path is left to the caller.
    context : ssl.SSLContext or None
        None for plain http, which never goes through a proxy; https goes through the one that the
        environment names.
    use_proxy : bool
        False connects to the server itself, whatever the environment names.

    Raises
    ------
    ConfigurationError
        If the environment names a proxy that cannot be used.
    """

    def __init__(self, url: str, *, context: ssl.SSLContext | None, use_proxy: bool = True) -> None:
        self._server = urlsplit(url)
        self._context = context
        self._proxy = None if context is None or not use_proxy else _proxy_to(self._server)
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        answer_seconds: float,
        answer_bytes: int,
    ) -> Answer:
        """Send a request and read the whole answer.

        Parameters
        ----------
        target : str
            Path and query, percent-encoded.
        answer_seconds : float
            For request and whole answer together, beside the time to connect and the least time of
            their bytes (``metered``).
        answer_bytes : int
            Most bytes of the answer's body.

        Raises
        ------
        ProtocolError
            If the answer is longer, or is compressed.
        OSError, http.client.HTTPException
            If there was no answer. The request may have arrived all the same.
        """
        connection = self._connection()
        try:
            connection.meter.start(answer_seconds)
            connection.request(method, target, body=body, headers=headers)
            with contextlib.closing(connection.getresponse()) as response:
                content = read_body(response, connection.meter, limit=answer_bytes)
            answer = Answer(response.status, response.headers, content)
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:  # or the server closes it after this answer
            with self._lock:
                self._idle.append(connection)
        return answer

    def _connection(self) -> _Connection:
        """Return a connection that is open, as far as one can tell."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else self._new()
            if connection.sock is None:  # it is new
                connection.meter.start(_CONNECT_SECONDS)
                try:
                    connection.connect()
                except BaseException:
                    # A proxy or a handshake may fail with a socket that is open.
                    connection.close()
                    raise
                return connection
            if not _hung_up(connection):
                return connection
            connection.close()

    def _new(self) -> _Connection:
        host, port = self._server.hostname or "", self._server.port
        if self._context is None:
            return PlainConnection(host, port, timeout=_CONNECT_SECONDS)
        if self._proxy is None:
            return SecuredConnection(host, port, timeout=_CONNECT_SECONDS, context=self._context)
        # TLS is between bank and aggregator; the proxy passes on what it cannot read.
        connection = SecuredConnection(
            self._proxy.hostname or "",
            self._proxy.port or http.client.HTTP_PORT,
            timeout=_CONNECT_SECONDS,
            context=self._context,
        )
        connection.set_tunnel(
            host, port or http.client.HTTPS_PORT, headers=_proxy_credentials(self._proxy)
        )
        return connection


def _hung_up(connection: _Connection) -> bool:
    """Whether an idle connection has something to read: nothing was asked, so it is the end."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _proxy_to(server: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for https, None if it names none."""
    proxies = urllib.request.getproxies()
    named = proxies.get("https") or proxies.get("all")
    if not named or urllib.request.proxy_bypass(server.hostname or ""):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    if proxy.scheme != "http" or not proxy.hostname:
        # Not repeated: what stands before the @ may be a password.
        raise ConfigurationError(
            f"proxy of the environment (HTTPS_PROXY) has scheme {proxy.scheme!r}, expected "
            "http://HOST:PORT; name another, or add the aggregator to NO_PROXY"
        )
    return proxy


def _proxy_credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
