"""``NO_PROXY``: the hosts that are called without the proxy, read as curl reads it.

The rules are those of curl's manual (*ENVIRONMENT*, ``NO_PROXY``) and of ``Curl_check_noproxy`` in
its ``lib/noproxy.c``:

* ``*`` alone exempts every host; among other entries it is a name that no host has.
* Entries are separated by commas or blanks, as many as one likes.
* A name exempts that host and every host of that domain: ``corp.example`` and ``.corp.example``
  exempt ``corp.example`` and ``a.corp.example``, never ``mycorp.example``. Upper and lower case are
  one; a dot at the end, of either, does not count.
* A host that is an address is exempted by the same address in any of its notations (IPv6 without
  brackets), or by a range: ``10.0.0.0/8``, ``fd00::/8``. ``/0`` is the address alone.
* No entry has a port.

curl itself differs between its releases: since 8.9 an entry that no comma follows is its last, and
until 8.17 it read IPv6 ranges in part. What one of them exempts by its manual is exempted here.
"""

import re
import socket

_SEPARATORS = re.compile(r"[ \t,]+")


def exempting_entry(host: str, no_proxy: str) -> str | None:
    """Return the entry that exempts a host from the proxy, None if none does.

    Parameters
    ----------
    host : str
        A name, or an address without brackets.
    no_proxy : str
        Value of the variable.
    """
    if no_proxy == "*":
        return no_proxy
    return next((entry for entry in _SEPARATORS.split(no_proxy) if _exempts(entry, host)), None)


def overlooked_entry(host: str, no_proxy: str) -> tuple[str, str] | None:
    """Return an entry that was meant for a host, but says it as curl does not read it.

    Returns
    -------
    pair of str or None
        The entry as it stands, and as it would be read.
    """
    for entry in re.split(r"[\s,]+", no_proxy.strip()):
        plain = re.sub(r"^\w+://", "", entry)
        plain = re.sub(r"^\[([^]]*)\](?::\d+)?", r"\1", plain)
        plain = re.sub(r"^([^:]*):\d+$", r"\1", plain)
        plain = plain.lstrip("*") if plain != "*" else plain
        if plain and exempting_entry(host, plain) is not None:
            return entry, plain
    return None


def _exempts(entry: str, host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        address = _packed(family, host)
        if address is not None:
            return _in_range(address, family, entry)
    name = host.lower().removesuffix(".")
    domain = entry.lower().removesuffix(".").removeprefix(".")
    return name == domain or (domain != "" and name.endswith(f".{domain}"))


def _in_range(address: bytes, family: socket.AddressFamily, entry: str) -> bool:
    text, slash, length = entry.partition("/")
    network = _packed(family, text)
    size = 8 * len(address)
    if network is None or (slash and not re.fullmatch(r"[0-9]{1,3}", length)):
        return False
    bits = int(length or 0) or size
    if bits > size:
        return False
    difference = int.from_bytes(address) ^ int.from_bytes(network)
    return difference >> (size - bits) == 0


def _packed(family: socket.AddressFamily, text: str) -> bytes | None:
    try:
        return socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None
