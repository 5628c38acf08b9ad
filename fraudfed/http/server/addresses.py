"""Whom a network address stands for."""

import ipaddress


def network_of(address: str) -> str:
    """Return whom an address stands for: with IPv6 one sender has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
