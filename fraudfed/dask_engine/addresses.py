"""Which addresses customers' rows may travel to.

A connection of Dask carries rows and, pickled, the functions that run on them: who can connect to
a scheduler can run code on every worker and read all of it. So a connection is either TLS with
certificates on both sides, or does not leave this machine, or the operator has said in so many
words that it need not be safe.
"""

import ipaddress
from typing import Final

from fraudfed.errors import ConfigurationError

#: Encrypted by what they are.
_SAFE_SCHEMES: Final = ("tls", "wss")
_DEFAULT_SCHEME: Final = "tcp"


def is_safe(address: str) -> bool:
    """Tell whether what travels to an address is encrypted, or stays on this machine.

    Parameters
    ----------
    address : str
        As Dask writes it, ``tls://host:port``; without a scheme it is ``tcp``.
    """
    scheme, host = _parts(address)
    return scheme in (*_SAFE_SCHEMES, "inproc") or is_loopback(host)


def is_encrypted(address: str) -> bool:
    """Tell whether an address is one of TLS."""
    return _parts(address)[0] in _SAFE_SCHEMES


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine itself; names other than localhost are not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_scheduler(address: str, *, insecure: bool) -> None:
    """Refuse a scheduler to which rows would travel in the clear.

    Raises
    ------
    ConfigurationError
    """
    scheme, host = _parts(address)
    if not host or scheme not in (*_SAFE_SCHEMES, "tcp", "ws", "ucx"):
        raise ConfigurationError(
            f"--scheduler is {address!r}, expected an address as tls://host:8786"
        )
    if not (insecure or is_safe(address)):
        raise ConfigurationError(
            f"--scheduler {address}: customers' rows would travel in the clear, and anybody who "
            "reaches that port could read them; start scheduler and workers with TLS and give "
            "tls://... with --dask-tls, or say --dask-insecure"
        )


def check_dashboard(address: str, *, insecure: bool) -> None:
    """Refuse a dashboard that others on the network could look at.

    Raises
    ------
    ConfigurationError
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 1 << 16):
        raise ConfigurationError(
            f"--dashboard is {address!r}, expected HOST:PORT as 127.0.0.1:8787, or off"
        )
    if not (insecure or is_loopback(host.strip("[]"))):
        raise ConfigurationError(
            f"--dashboard {address}: Dask's dashboard asks nobody for a password; give an address "
            "of this machine as 127.0.0.1:8787, or say --dask-insecure"
        )


def _parts(address: str) -> tuple[str, str]:
    """Return scheme and host."""
    scheme, found, rest = address.partition("://")
    if not found:
        scheme, rest = _DEFAULT_SCHEME, address
    host = rest.rpartition(":")[0] or rest
    return scheme.lower(), host.strip("[]").lower()
