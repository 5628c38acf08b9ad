"""HTTP/1.1 to one server over kept connections: no redirects, no cookies, no compression.

Every answer has a size limit and one deadline for all of it (``metered``).

A bank calls one aggregator, thousands of times in a training, with every party on the same cores.
A client for the whole web takes three times as long per request as the standard library does, on
what an aggregator's answers never hold (``docs/decisions/0015-cheap-rounds.md``).
"""

import contextlib
import http.client
import os
import select
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fraudfed.foreign_text import visible
from fraudfed.http.metered import PlainConnection, SecuredConnection, read_body
from fraudfed.http.route import route_to
from fraudfed.http.trust import Trust

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

    @property
    def leads_to(self) -> str | None:
        """Where a redirect leads, which is never followed; None if it is none."""
        location = self.headers.get("location")
        if location is None or not 300 <= self.status < 400:
            return None
        return visible(location, 200)


class HttpConnections:
    """Connections to one server, kept between requests. Safe to use from many threads.

    Parameters
    ----------
    url : str
        From ``check_url``: scheme, host, port, and the path in front of every target.
    trust : Trust or None
        None for plain http.

    Attributes
    ----------
    route : Route
        By which proxy of the environment the server is called, if by any.

    Raises
    ------
    ConfigurationError
        If the environment names a proxy that cannot be used.
    """

    def __init__(self, url: str, *, trust: Trust | None) -> None:
        self.route = route_to(url, os.environ, roots="" if trust is None else trust.roots)
        self._server = self.route.server
        self._trust = trust
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
            Path behind that of the URL, and query, percent-encoded.
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
            connection.request(method, self._server.path + target, body=body, headers=headers)
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
        if self._trust is None:
            return PlainConnection(host, port, timeout=_CONNECT_SECONDS)
        return SecuredConnection(
            host, port, trust=self._trust, proxy=self.route.proxy, timeout=_CONNECT_SECONDS
        )


def _hung_up(connection: _Connection) -> bool:
    """Whether an idle connection has something to read: nothing was asked, so it is the end."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
