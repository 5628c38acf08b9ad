"""The way to an aggregator: by the proxy that the environment names, or straight to it.

``https_proxy``, ``HTTPS_PROXY``, ``all_proxy`` and ``ALL_PROXY`` name a proxy for https, in this
order, and an empty one counts as none; ``no_proxy`` or else ``NO_PROXY`` exempts hosts
(``no_proxy``). curl reads them so. Plain http is for this machine and goes through no proxy, so
``http_proxy`` is not read. (Where it is, it is in lower case only: a web server hands the header
``Proxy`` of any caller to its CGI programs as ``HTTP_PROXY``, see httpoxy.org.)
"""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from fraudfed.errors import ConfigurationError
from fraudfed.http.no_proxy import exempting_entry, overlooked_entry

_FOR_HTTPS = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_FOR_ANY = (*_FOR_HTTPS, "http_proxy", "HTTP_PROXY")
_EXEMPTIONS = ("no_proxy", "NO_PROXY")
_HTTPS_PORT = 443
#: What may stand in the address of a proxy; all else is percent-encoded.
_PROXY_URL = re.compile(r"[!$%&'()*+,\-./0-9:;=@A-Z\[\]_a-z~]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")


@dataclass(frozen=True)
class Proxy:
    """A proxy of the environment; what is printed of it holds neither user nor password.

    Attributes
    ----------
    scheme : str
        ``http`` or ``https``: how the proxy itself is spoken to.
    host, port : str, int
    variable : str
        That names it.
    authorization : str or None
        Value of ``Proxy-Authorization``.
    """

    scheme: str
    host: str
    port: int
    variable: str
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{authority(self.host, self.port)}"


@dataclass(frozen=True)
class Route:
    """How an aggregator is called.

    Attributes
    ----------
    url : str
        Base URL of the aggregator.
    proxy : Proxy or None
    told : str
        In an error, behind "not reachable": empty where no proxy could be meant.
    roots : str
        Which roots its certificate is held against; empty for plain http.
    """

    url: str
    proxy: Proxy | None = None
    told: str = ""
    roots: str = ""

    @property
    def server(self) -> SplitResult:
        """The URL in its parts."""
        return urlsplit(self.url)


def route_to(url: str, environment: Mapping[str, str], *, roots: str = "") -> Route:
    """Return how an aggregator is called.

    Parameters
    ----------
    url : str
        From ``check_url``.
    environment : mapping of str
        Of the process.
    roots : str
        See ``Route``.

    Raises
    ------
    ConfigurationError
        If the environment names a proxy that cannot be used.
    """
    server = urlsplit(url)
    if server.scheme == "http":
        told = ""
        if _first(environment, _FOR_ANY) is not None:
            told = " without a proxy (plain http stays on this machine)"
        return Route(url, told=told)
    variable = _first(environment, _FOR_HTTPS)
    if variable is None:
        return Route(url, told=" without a proxy (HTTPS_PROXY is not set)", roots=roots)
    exempting = _first(environment, _EXEMPTIONS)
    no_proxy = "" if exempting is None else environment[exempting]
    host = server.hostname or ""
    entry = exempting_entry(host, no_proxy)
    if entry is not None:
        told = f" without a proxy ({exempting} exempts it by {entry!r})"
        return Route(url, told=told, roots=roots)
    proxy = _read_proxy(environment[variable], variable)
    told = f" through the proxy {proxy} of {variable}"
    overlooked = overlooked_entry(host, no_proxy)
    if overlooked is not None:
        entry, plain = overlooked
        would = "'*' alone" if plain == "*" else repr(plain)
        told += f" (in {exempting} {entry!r} does not exempt it, as curl reads it; {would} would)"
    return Route(url, proxy, told, roots)


def authority(host: str, port: int) -> str:
    """Return host and port as a URL and ``CONNECT`` have them, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if environment.get(name)), None)


def _read_proxy(text: str, variable: str) -> Proxy:
    """Read the address of a proxy. No part of it is repeated in an error: it may be a password."""

    def refused(why: str) -> ConfigurationError:
        return ConfigurationError(
            f"proxy of the environment ({variable}) {why}",
            what_to_do="write http://[USER:PASSWORD@]HOST:PORT with user and password "
            "percent-encoded, or exempt the aggregator in NO_PROXY",
        )

    url = text if "://" in text else f"http://{text}"
    scheme = url.partition("://")[0].lower()
    if scheme not in {"http", "https"}:
        known = re.fullmatch(r"socks[45]?[ah]?", scheme)
        raise refused(f"has scheme {scheme!r}, expected http" if known else "is no http proxy")
    if not _PROXY_URL.fullmatch(url):
        raise refused("holds characters that are not percent-encoded")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise refused("is no URL with a host and a port") from None
    if not is_host(host):
        raise refused("names no host")
    if parts.path not in {"", "/"}:
        raise refused("has a path")
    if port is None and scheme == "http":
        # curl takes 1080, other programs 80, and a URL means 80.
        raise refused("names no port, and programs do not agree on one")
    try:
        authorization = _authorization(parts)
    except ValueError:
        raise refused("has a user with a colon, or a character that cannot be printed") from None
    return Proxy(scheme, host, port or _HTTPS_PORT, variable, authorization)


def _authorization(parts: SplitResult) -> str | None:
    """Return ``Proxy-Authorization`` for the user of a proxy's URL (RFC 7617), None without one.

    Raises
    ------
    ValueError
        If user or password cannot be sent.
    """
    if parts.username is None:
        return None
    user, password = unquote(parts.username), unquote(parts.password or "")
    if ":" in user or not (user + password).isprintable():
        raise ValueError
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def is_host(text: str) -> bool:
    """Whether a text is a host name, or an address without brackets, that a program can call."""
    if ":" in text:
        try:
            # No zone: what one machine calls eth0 is another's to know.
            return ipaddress.IPv6Address(text).scope_id is None
        except ValueError:
            return False
    if not _HOST_NAME.fullmatch(text) or ".." in text:
        return False
    if re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]*", text.removesuffix(".").rpartition(".")[2]):
        # Ends in a number, so it is an address, in its one notation.
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            return False
    return True
