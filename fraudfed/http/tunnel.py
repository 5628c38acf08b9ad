"""``CONNECT``: a way through a proxy, behind which TLS is between client and aggregator.

The library's own (``HTTPConnection.set_tunnel``) is not used: until Python 3.12 it sends an IPv6
address without brackets, on 3.11 no ``Host``, and what it raises is a status alone.
"""

import http.client
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

from fraudfed import __version__
from fraudfed.foreign_text import visible
from fraudfed.http.failures import UnreachableError, reason_of
from fraudfed.http.route import Proxy, authority
from fraudfed.http.trust import Trust

#: From a socket to the answer that it will give, read through a meter.
Responses: TypeAlias = Callable[..., http.client.HTTPResponse]

#: The proxy cannot reach the aggregator for now, or is busy.
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


def reach_proxy(proxy: Proxy, trust: Trust, *, seconds: float) -> socket.socket:
    """Connect to a proxy.

    Raises
    ------
    UnreachableError
        If it cannot be reached, or is not the one that its certificate names.
    """
    try:
        sock = socket.create_connection((proxy.host, proxy.port), timeout=seconds)
    except OSError as error:
        raise UnreachableError(
            f"the proxy cannot be reached: {reason_of(error)}",
            advice=f"check {proxy.variable}, or exempt the aggregator in NO_PROXY",
            is_final=False,
        ) from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy.scheme == "http":
            return sock
        context = trust.proxy_context()
        return context.wrap_socket(sock, server_hostname=proxy.host.removesuffix("."))
    except OSError as error:
        sock.close()
        advice = f"check {proxy.variable}: most proxies are called over http:// and carry https"
        if isinstance(error, ssl.SSLCertVerificationError):
            advice = "add the proxy's root to the system's, or to the file of SSL_CERT_FILE"
        raise UnreachableError(
            f"no TLS with the proxy: {reason_of(error)}",
            advice=advice,
            is_final=isinstance(error, ssl.SSLError),
        ) from error


def open_tunnel(
    sock: socket.socket, proxy: Proxy, host: str, port: int, *, responses: Responses
) -> None:
    """Ask a proxy for a way to a host, and read its answer.

    Parameters
    ----------
    responses : callable
        Makes the metered answer of a socket.

    Raises
    ------
    UnreachableError
        If the proxy refuses, or is none.
    ProtocolError
        If its answer is above the limit.
    """
    target = authority(host, port)
    lines = [
        f"CONNECT {target} HTTP/1.1",
        f"Host: {target}",
        f"User-Agent: fraudfed/{__version__}",
    ]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    try:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        response = responses(sock, method="CONNECT")
        try:
            response.begin()
            if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                raise _refusal(proxy, target, response)
        finally:
            response.close()
    except http.client.HTTPException as error:
        raise UnreachableError(
            f"what answers at the proxy's address is no http proxy: {reason_of(error)}",
            advice=f"check {proxy.variable}",
            is_final=False,
        ) from error


def _refusal(proxy: Proxy, target: str, response: http.client.HTTPResponse) -> UnreachableError:
    status = response.status
    advice = f"ask for {target} to be allowed at the proxy, or exempt it in NO_PROXY"
    if status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        said = f"the proxy answers {status} {visible(response.reason or '', 80)}".rstrip()
        if status in _TRY_AGAIN:
            advice = "check that URL and port are right and that the proxy reaches them"
        return UnreachableError(
            f"{said} to CONNECT {target}", advice=advice, is_final=status not in _TRY_AGAIN
        )
    offers = response.headers.get_all("Proxy-Authenticate") or []
    schemes = {offer.split(" ", 1)[0].strip().rstrip(",").lower() for offer in offers} - {""}
    advice = f"write them into {proxy.variable} as http://USER:PASSWORD@HOST:PORT, percent-encoded"
    said = "the proxy asks for user and password (407)"
    if schemes and "basic" not in schemes:
        said = f"the proxy asks for {visible(', '.join(sorted(schemes)), 80)} (407), only basic "
        said += "authentication is known here"
        advice = f"ask for {target} to be allowed without, or name a local proxy that does it"
    elif proxy.authorization is not None:
        said = f"the proxy refuses user and password of {proxy.variable} (407)"
        advice = "correct them there, percent-encoded: http://USER:PASSWORD@HOST:PORT"
    return UnreachableError(said, advice=advice, is_final=True)
