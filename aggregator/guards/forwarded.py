"""What a reverse proxy says of a request: where it came from, and under which path it was called.

``X-Forwarded-For`` and ``X-Forwarded-Prefix`` can be written by anybody, so they count only on a
connection of a proxy that the operator has named (setting ``trusted_proxies``). Even then neither
takes part in what is verified or routed (``addresses``): the one says whose share of
unauthenticated requests is used up, the other which address the API document gives.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from fraudfed.errors import ConfigurationError
from fraudfed.http.address import check_prefix

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Of proxies one behind the other; what lies further back is not looked at.
_MOST_PROXIES = 8


class Forwarded:
    """Reads what trusted proxies say. Safe to use from many threads.

    Parameters
    ----------
    trusted : sequence of str
        Addresses or networks; empty trusts none.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: tuple[Network, ...] = tuple(map(ipaddress.ip_network, trusted))

    def sender(self, environ: Mapping[str, Any]) -> str:
        """Return the address that a request came from: the nearest one that is no trusted proxy.

        Every proxy adds the address that it saw at the end of the list, so what stands before the
        first untrusted one, from behind, is that sender's own word.
        """
        nearest = str(environ.get("REMOTE_ADDR") or "")
        if not self._is_trusted(nearest):
            return nearest
        listed = str(environ.get("HTTP_X_FORWARDED_FOR") or "").split(",")
        for text in reversed(listed[-_MOST_PROXIES:]):
            address = _address(text.strip())
            if address is None:
                return nearest
            nearest = str(address)
            if not self._is_trusted(nearest):
                return nearest
        return nearest

    def prefix(self, environ: Mapping[str, Any]) -> str:
        """Return the path under which a trusted proxy has the service; empty without one.

        What is no prefix (``fraudfed.http.address``) counts as none.
        """
        if not self._is_trusted(str(environ.get("REMOTE_ADDR") or "")):
            return ""
        told = str(environ.get("HTTP_X_FORWARDED_PREFIX") or "").rstrip("/")
        try:
            return check_prefix(told, what="X-Forwarded-Prefix")
        except ConfigurationError:
            return ""

    def _is_trusted(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._trusted)


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
