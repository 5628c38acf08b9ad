"""Which addresses of an aggregator a client calls: https, or http to this machine.

An aggregator may stand under a path, ``https://HOST/fraudfed``, behind a reverse proxy. The path
goes in front of every request and is never signed: what is signed is the path behind it, which the
aggregator sees whether or not the reverse proxy takes the prefix away
(``docs/decisions/0048-path-prefixes-and-proxies.md``).
"""

import ipaddress
import re
from urllib.parse import urlsplit

from fraudfed.errors import ConfigurationError
from fraudfed.http.route import is_host

_URL_CHARACTERS = re.compile(r"[!$%&'()*+,\-./0-9:;=@A-Z\[\]_a-z~]+")
#: Characters that no program on the way decodes or encodes (RFC 3986, 2.3).
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


def check_url(url: str) -> str:
    """Return the base URL without a trailing slash.

    Raises
    ------
    ConfigurationError
        If it is no http(s) URL, holds a password, query or fragment or a path that a proxy might
        change, or is plain http to anything but loopback.
    """
    try:
        parsed = urlsplit(url)
        parsed.port  # noqa: B018 - raises for a port that is none
    except (ValueError, TypeError, AttributeError) as error:
        if isinstance(url, str) and "@" in url:
            raise _holds_user() from None
        raise ConfigurationError(
            f"aggregator URL {url!r}: not a URL ({error}); write https://HOST[:PORT]"
        ) from None
    if "@" in url:
        raise _holds_user()
    if parsed.scheme not in {"http", "https"} or not parsed.hostname:
        raise ConfigurationError(
            f"aggregator URL {url!r}: expected https://HOST[:PORT], or http:// to loopback"
        )
    if "?" in url or "#" in url:
        raise ConfigurationError(
            f"aggregator URL {url!r}: holds a query or fragment; write https://HOST[:PORT]"
        )
    if not _URL_CHARACTERS.fullmatch(url):
        raise ConfigurationError(
            f"aggregator URL {url!r}: holds what is not percent-encoded; write https://HOST[:PORT]"
        )
    if not is_host(parsed.hostname):
        raise ConfigurationError(
            f"aggregator URL {url!r}: {parsed.hostname!r} is neither a host name nor an address; "
            "write https://HOST[:PORT]"
        )
    check_prefix(parsed.path.removesuffix("/"), what=f"aggregator URL {url!r}: path")
    if parsed.scheme == "http" and not _is_loopback(parsed.hostname):
        raise ConfigurationError(
            f"aggregator URL {url!r}: plain http is accepted for loopback only, got host "
            f"{parsed.hostname!r}; use https"
        )
    return parsed.geturl().removesuffix("/")


def check_prefix(prefix: str, *, what: str) -> str:
    """Return the path under which an aggregator stands, ``""`` or ``/one/or/more``.

    Parameters
    ----------
    what : str
        What holds it, for the error.

    Raises
    ------
    ConfigurationError
        If a program on the way might write it in another way.
    """
    segments = prefix.split("/")[1:]
    if not _PREFIX.fullmatch(prefix) or any(segment in {".", ".."} for segment in segments):
        raise ConfigurationError(
            f"{what} {prefix!r} is no prefix that every proxy leaves as it is; write "
            "/NAME or /NAME/NAME of letters, digits, '-', '.', '_' and '~': no '//', no '%', no "
            "'.' or '..' alone"
        )
    return prefix


def _holds_user() -> ConfigurationError:
    # Not repeated: what stands before the @ may be a password.
    return ConfigurationError("aggregator URL: holds a user name; write https://HOST[:PORT]")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
