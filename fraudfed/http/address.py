"""Which addresses of an aggregator a client calls: https, or http to this machine."""

import ipaddress
import re
from urllib.parse import urlsplit

from fraudfed.errors import ConfigurationError

_URL_CHARACTERS = re.compile(r"[!$%&'()*+,\-./0-9:;=@A-Z\[\]_a-z~]+")


def check_url(url: str) -> str:
    """Return the base URL without a trailing slash.

    Raises
    ------
    ConfigurationError
        If it is no http(s) URL, holds a password, query or fragment, or is plain http to anything
        but loopback.
    """
    try:
        parsed = urlsplit(url)
        parsed.port  # noqa: B018 - raises for a port that is none
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"aggregator URL {url!r}: not a URL ({error}); write https://HOST[:PORT]"
        ) from None
    if parsed.username is not None or parsed.password is not None:
        # Not repeated: what stands before the @ may be a password.
        raise ConfigurationError("aggregator URL: holds a user name; write https://HOST[:PORT]")
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
    if parsed.scheme == "http" and not _is_loopback(parsed.hostname):
        raise ConfigurationError(
            f"aggregator URL {url!r}: plain http is accepted for loopback only, got host "
            f"{parsed.hostname!r}; use https"
        )
    return parsed.geturl().rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
