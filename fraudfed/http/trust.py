"""Which certificates a client believes, and which it shows.

The roots are those of ``--ca-file``, instead of all others. Without it they are the system's, to
which OpenSSL adds the file of ``SSL_CERT_FILE`` and the directory of ``SSL_CERT_DIR``; a file there
that cannot be used is an error here, where OpenSSL says nothing. ``REQUESTS_CA_BUNDLE`` and
``CURL_CA_BUNDLE`` are other programs' and are not read.

A proxy that is spoken to over https is its company's: it may also show a certificate of the
system's roots.
"""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fraudfed.errors import ConfigurationError
from fraudfed.foreign_text import visible

_VARIABLE = "SSL_CERT_FILE"
_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----([^-]*)-----END")


@dataclass(frozen=True)
class Trust:
    """How TLS is spoken.

    Attributes
    ----------
    context : ssl.SSLContext
        With the aggregator.
    roots : str
        In words, for an error.
    ca_file : path or None
        Of the option.
    """

    context: ssl.SSLContext
    roots: str
    ca_file: str | Path | None = None

    def proxy_context(self) -> ssl.SSLContext:
        """Return how TLS is spoken with a proxy that is itself called over https."""
        context = ssl.create_default_context()
        if self.ca_file is not None:
            context.load_verify_locations(cafile=self.ca_file)
        return context


def read_trust(
    ca_file: str | Path | None,
    client_certificate: str | Path | None = None,
    client_key: str | Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
) -> Trust:
    """Read the files of certificates.

    Parameters
    ----------
    ca_file : path or None
        Certificates in PEM, one or many.
    client_certificate, client_key : path or None
        Without a key the certificate's file holds it, too.
    environment : mapping of str
        Of the process.

    Raises
    ------
    ConfigurationError
        If a file cannot be used.
    """
    named = environment.get(_VARIABLE)
    roots = "the system's roots"
    if ca_file is not None:
        _require_all(ca_file, what="--ca-file")
        roots = f"the roots of {ca_file} (--ca-file)"
    elif named:
        _require_all(named, what=_VARIABLE)
        roots += f" and those of {named} ({_VARIABLE})"
    # Without a file it loads the system's, and what the variables name.
    context = ssl.create_default_context(cafile=ca_file)
    if client_certificate is not None:
        _show(context, client_certificate, client_key)
    return Trust(context, roots, ca_file)


def _require_all(file: str | Path, *, what: str) -> None:
    """Refuse a file of which OpenSSL reads a part: a certificate that is indented, for example."""
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        probe.load_verify_locations(cafile=file)
        held = {b"".join(found.split()) for found in _CERTIFICATE.findall(Path(file).read_bytes())}
    except (OSError, ssl.SSLError) as error:
        raise _unusable(file, what, _reason(error)) from None
    read = probe.cert_store_stats()["x509"]
    if read < len(held):
        raise _unusable(file, what, f"{read} of {len(held)} certificates can be read")


def _unusable(file: str | Path, what: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{file}: cannot be used as {what} ({reason}); expected certificates in PEM, one after the "
        "other, each BEGIN and END on a line of its own"
    )


def _show(context: ssl.SSLContext, certificate: str | Path, key: str | Path | None) -> None:
    try:
        # Without a password of our own, the library would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        named = certificate if key is None else f"{certificate}, {key}"
        raise ConfigurationError(
            f"{named}: cannot be used as client certificate and key ({_reason(error)}); expected "
            "a pair in PEM, the key not encrypted"
        ) from None


def _reason(error: OSError) -> str:
    return visible(str(error), 300) or type(error).__name__
