"""Why an aggregator was not reached, on one line: what failed, by which way, and what to do.

Used by every program that calls one, so that all say it alike. No line holds a password: a proxy
is printed without its user (``route``).
"""

import http.client
import socket
import ssl
from http import HTTPStatus

from fraudfed.errors import BodyTooLargeError, FraudFedError
from fraudfed.foreign_text import visible
from fraudfed.http.route import Route

_CHECK = "check that it runs and that URL, port and firewall are right"


class UnreachableError(OSError):
    """A connection was not made, and why is known better than the library says.

    Parameters
    ----------
    message : str
    advice : str
        What to do.
    is_final : bool
        Asking again does not help.
    """

    def __init__(self, message: str, *, advice: str, is_final: bool) -> None:
        super().__init__(message)
        self.advice = advice
        self.is_final = is_final


def is_final(error: Exception) -> bool:
    """Whether asking again does not help: a certificate does not become valid by it."""
    if isinstance(error, UnreachableError):
        return error.is_final
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)


def unreachable(route: Route, error: Exception, *, advice: str = _CHECK) -> str:
    """Return the line for an error of ``HttpConnections``.

    Parameters
    ----------
    route : Route
        By which it was called.
    error : Exception
    advice : str
        What to do where the error says nothing better.
    """
    reason = reason_of(error)
    if isinstance(error, UnreachableError):
        advice = error.advice
    elif isinstance(error, ssl.SSLCertVerificationError):
        reason += f"; held against {route.roots}"
        advice = _certificate_advice(error, route)
    elif isinstance(error, ssl.SSLError):
        advice = (
            "check that https is served at this port, and that a certificate of ours is not needed"
        )
    elif isinstance(error, socket.gaierror):
        advice = "check the host name, and whether a proxy is needed (HTTPS_PROXY)"
    return f"{route.url}: aggregator not reachable{route.told} ({reason}); {advice}"


def reason_of(error: Exception) -> str:
    """Return what the library says of an error, on one line."""
    found = _verify_message(error)
    if found:
        return f"certificate verify failed: {visible(found, 300)}"
    return visible(str(error), 300) or type(error).__name__


def _verify_message(error: Exception) -> str:
    """Return what OpenSSL says of a certificate, empty for another error."""
    return str(getattr(error, "verify_message", ""))


def _certificate_advice(error: ssl.SSLCertVerificationError, route: Route) -> str:
    found = _verify_message(error)
    if "mismatch" in found or "not valid for" in found:
        return "call it by a name that its certificate holds"
    if "expired" in found:
        return "ask its operator for a valid certificate, and check this machine's clock"
    advice = "give the root of its certificate as --ca-file"
    if route.proxy is None:
        return advice
    return f"{advice}; if the proxy opens TLS, have this host exempted from that"


def refused_in_between(url: str, status: int, *, sent_bytes: int) -> FraudFedError | None:
    """Return what a refusal without a problem document means: an aggregator sends none without.

    None for one that says nothing better than its status.
    """
    if status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return None
    return BodyTooLargeError(
        f"{url}: HTTP 413 from a proxy in front of the aggregator: its limit is below the "
        f"{sent_bytes} bytes of this request; its operator has to raise it (nginx: "
        "client_max_body_size, 1m unless it is set) to the aggregator's max_body_bytes"
    )


#: What ``HttpConnections`` raises, beside errors of this package.
FAILURES = (OSError, http.client.HTTPException)
