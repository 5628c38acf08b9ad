"""A client certificate is its bank's: a request that another bank has signed does not pass with it.

Certificates are asked for with the setting ``client_ca``. A bank is named by the common name of the
certificate's subject or by one of its DNS names (RFC 5280, 4.1.2.6 and 4.2.1.6), exactly. Holders
of tokens need a certificate of the same roots, of whatever name.
"""

import ssl
from collections.abc import Mapping
from typing import Any

from fraudfed.errors import ForbiddenError
from fraudfed.foreign_text import visible


def names_of(certificate: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of a certificate as ``ssl.SSLSocket.getpeercert`` gives it."""
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    common = {value for kind, value in subject if kind == "commonName"}
    alternative = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    return frozenset(common | alternative)


def require_certificate_of(bank: str, connection: object) -> None:
    """Hold the certificate of a request's connection against the bank that signed the request.

    Raises
    ------
    ForbiddenError
        If it is another's, or there is none.
    """
    certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    names = names_of(certificate or {})
    if bank not in names:
        shown = visible(", ".join(sorted(names)), 200) or "nobody"
        raise ForbiddenError(
            f"bank {bank!r} has signed this request, but the client certificate of its connection "
            f"is for {shown}; use the one that was issued to this bank"
        )
