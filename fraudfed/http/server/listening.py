"""Sockets that a server listens on, and how its connections are secured."""

import ipaddress
import socket
import ssl
from pathlib import Path

from fraudfed.errors import ConfigurationError

_BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one.

    Raises
    ------
    ConfigurationError
        If the port is in use, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"--host {host} is no usable address: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another --port (0 "
            "picks a free one) or stop the program that uses it"
        ) from None
    return listener


def tls_context(
    certificate: Path | None, key: Path | None = None, client_ca: Path | None = None
) -> ssl.SSLContext | None:
    """Return how connections are secured, None for plain http.

    Parameters
    ----------
    certificate : Path or None
        PEM, with those between it and a root; None for plain http.
    key : Path or None
        PEM; None if it is in the certificate's file.
    client_ca : Path or None
        Roots of the certificates that clients have to show; None asks for none.

    Raises
    ------
    ConfigurationError
        If a certificate or key file cannot be used.
    """
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a passphrase would be asked for at a terminal: refuse it instead.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"TLS certificate {certificate} with key "
            f"{key or certificate} cannot be used: {reason_of(error)}; give "
            "PEM files that belong together, the key without a passphrase"
        ) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(cafile=client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"client CA {client_ca} cannot be used: {reason_of(error)}; give a PEM file "
                "of root certificates"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_passphrase() -> str:
    return ""


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return the URL under which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether a listening socket can be reached from this machine only."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def reason_of(error: OSError) -> str:
    """Return what the system or OpenSSL says of an error."""
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
