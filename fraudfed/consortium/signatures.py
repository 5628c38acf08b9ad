"""Signed requests: RFC 9421 HTTP message signatures with RFC 9530 content digests.

Every request of a bank carries exactly one signature, of this fixed profile::

    label       fraudfed
    components  "@method" "@path" "@query"
                "content-digest" "content-type"     exactly when there is a body
                "fraudfed-..."                      every header of that prefix, sorted by name
    parameters  created  keyid (the bank's name)  nonce (16 random bytes)  alg="ed25519"
                tag="fraudfed"

Law: a request that differs from the signed one in method, path, query, body or a header that means
something is refused, and so is a signature of any other profile. ``@authority`` is left out: a
reverse proxy may rewrite it. The module imports no private key, so both sides may import it.
See ``docs/decisions/0008-request-signatures.md``.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    VerifyResult,
)
from http_message_signatures.algorithms import ED25519
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from fraudfed.consortium.documents import Signer, load_signing_key
from fraudfed.errors import AuthError, KeyMaterialError, ProtocolError

__all__ = [
    "MAX_SKEW_SECONDS",
    "SIGNATURE_LABEL",
    "KeyResolver",
    "VerifiedRequest",
    "content_digest",
    "new_nonce",
    "sign_request",
    "verify_request",
]

SIGNATURE_LABEL: Final = "fraudfed"
#: How far the clocks of bank and aggregator may differ; a nonce is remembered for twice as long.
MAX_SKEW_SECONDS: Final = 300
_TAG: Final = "fraudfed"
#: Headers of this prefix mean something to the protocol, so they are always signed.
_OWN_PREFIX: Final = "fraudfed-"
_PARAMETERS: Final = frozenset({"created", "keyid", "nonce", "alg", "tag"})
_SIGNATURE_HEADERS: Final = ("signature-input", "signature")
_PARAMETERS_COMPONENT: Final = '"@signature-params"'
_NONCE_BYTES: Final = 16
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_KEYID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_EMPTY_SHA256: Final = hashlib.sha256(b"").digest()
#: Signed requests are below a kilobyte of signature headers; more is an attempt to waste time.
_MAX_HEADER_CHARS: Final = 4096
#: Scheme and host are not signed, but the library reads the target from a whole URL.
_ORIGIN: Final = "https://aggregator.invalid"

#: From a bank's name to its Ed25519 public key in hexadecimal, or None for an unknown bank.
KeyResolver = Callable[[str], str | None]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class VerifiedRequest:
    """Who signed a request, when, and the nonce that must not be seen again."""

    keyid: str
    nonce: str
    created: int


def new_nonce() -> str:
    """Return 16 random bytes in base64url without padding; every try of a request needs its own."""
    return secrets.token_urlsafe(_NONCE_BYTES)


def content_digest(body_sha256: bytes) -> str:
    """Value of the ``Content-Digest`` header (RFC 9530) for a body with this SHA-256."""
    return f"sha-256=:{base64.b64encode(body_sha256).decode()}:"


def sign_request(
    signer: Signer,
    *,
    keyid: str,
    method: str,
    url: str,
    headers: Headers,
    body: bytes | None,
    created: int,
    nonce: str | None = None,
) -> dict[str, str]:
    """Return the headers to add to a request so that it is signed.

    Parameters
    ----------
    signer : Signer
        The bank's identity.
    keyid : str
        The bank's name.
    method : str
        In upper case.
    url : str
        As it is sent, percent-encoded: a whole URL, or path and query.
    headers : mapping or pairs of str
        All that mean something: ``Content-Type`` when there is a body, and every header whose name
        begins with ``Fraudfed-``. Others are left unsigned.
    body : bytes or None
        None and empty are the same: no content.
    created : int
        UTC epoch seconds.
    nonce : str or None
        From ``new_nonce``; None makes one.

    Returns
    -------
    dict of str
        ``Signature-Input``, ``Signature``, and ``Content-Digest`` when there is a body.

    Raises
    ------
    ProtocolError
        If the request cannot be signed: a body without ``Content-Type``, a header given twice, a
        URL that is not percent-encoded, or a header that is signed already.
    """
    fields = _fields(headers)
    for name in (*_SIGNATURE_HEADERS, "content-digest"):
        if name in fields:
            raise ProtocolError(f"request to sign has a header {name} already, expected none")
    added: dict[str, str] = {}
    if body:
        if "content-type" not in fields:
            raise ProtocolError("request to sign has a body but no content-type; give its header")
        added["Content-Digest"] = content_digest(hashlib.sha256(body).digest())
        fields["content-digest"] = [added["Content-Digest"]]
    for name, values in fields.items():
        if _is_covered(name) and len(values) != 1:
            raise ProtocolError(f"request to sign has header {name} {len(values)} times, not once")
    nonce = new_nonce() if nonce is None else nonce
    if not _NONCE.fullmatch(nonce) or not _KEYID.fullmatch(keyid):
        raise ProtocolError(
            f"request to sign has keyid {keyid!r} and nonce {nonce!r}, expected a bank's name and "
            "16 bytes in base64url"
        )
    request = _Request(method, _ORIGIN + _target(url), _covered_values(fields))
    library = HTTPMessageSigner(signature_algorithm=ED25519)
    try:
        prepared = library.prepare(
            request,
            key_id=keyid,
            created=datetime.fromtimestamp(created, tz=UTC),
            nonce=nonce,
            label=SIGNATURE_LABEL,
            tag=_TAG,
            covered_component_ids=_components(fields, has_body=bool(body)),
            use_existing_digest=bool(body),
        )
        library.apply(request, prepared, signer.sign(prepared.signature_base))
    except HTTPMessageSignaturesException as error:
        raise ProtocolError(f"request {method} {url} cannot be signed: {error}") from error
    added["Signature-Input"] = request.headers["Signature-Input"]
    added["Signature"] = request.headers["Signature"]
    return added


def verify_request(
    resolve_key: KeyResolver,
    *,
    method: str,
    target: str,
    headers: Headers,
    body_sha256: bytes,
    now: int,
    max_skew_seconds: int = MAX_SKEW_SECONDS,
) -> VerifiedRequest:
    """Check the signature of a request; that its nonce is new is the caller's to check.

    Parameters
    ----------
    resolve_key : callable
        From a bank's name to its signing key in hexadecimal, or None.
    method : str
    target : str
        The request target as it was received, percent-encoded: path and query.
    headers : mapping or pairs of str
        All headers as they were received; repeated ones as repeated pairs, or joined by commas.
    body_sha256 : bytes of length 32
        SHA-256 of the body as it was received, also when it is empty.
    now : int
        UTC epoch seconds.
    max_skew_seconds : int

    Raises
    ------
    AuthError
        Naming the fault: not signed, malformed, of another profile, unknown bank, wrong signature,
        another body, or made at another time.
    KeyMaterialError
        If ``resolve_key`` gave something that is no Ed25519 public key.
    """
    fields = _fields(headers)
    has_body = not hmac.compare_digest(body_sha256, _EMPTY_SHA256)
    _require_headers(fields, has_body=has_body)
    if not target.startswith("/"):
        raise AuthError(f"request target is {target[:80]!r}, expected a path that begins with /")
    result = _verify_signature(
        resolve_key, _Request(method, _ORIGIN + target, _covered_values(fields))
    )
    _require_profile(result, fields, has_body=has_body)
    nonce, created, keyid = (result.parameters[name] for name in ("nonce", "created", "keyid"))
    if not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
        raise AuthError(f"request nonce is {nonce!r}, expected 16 bytes in base64url")
    if not isinstance(created, int) or not isinstance(keyid, str):  # the library checked both
        raise AuthError("request signature is malformed: created or keyid has another type")
    if has_body and not hmac.compare_digest(
        fields["content-digest"][0].encode(), content_digest(body_sha256).encode()
    ):
        raise AuthError(
            f"request body has digest {content_digest(body_sha256)}, its content-digest says "
            f"{fields['content-digest'][0][:200]}; the body was altered or cut off"
        )
    if abs(now - created) > max_skew_seconds:
        raise AuthError(
            f"request of {keyid} was signed at {_clock(created)}, it is {_clock(now)} at the "
            f"aggregator: more than {max_skew_seconds} s apart; set the clock of the one that is "
            "wrong (an old request is never accepted again)"
        )
    return VerifiedRequest(keyid=keyid, nonce=nonce, created=created)


def _require_headers(fields: Mapping[str, list[str]], *, has_body: bool) -> None:
    """Refuse what is missing, repeated or out of place before any cryptography."""
    for name in _SIGNATURE_HEADERS:
        if name not in fields:
            raise AuthError(
                f"request has no {name} header; expected one signed with the bank's key (RFC 9421)"
            )
    for name, values in fields.items():
        if (name in _SIGNATURE_HEADERS or _is_covered(name)) and len(values) != 1:
            raise AuthError(f"request has header {name} {len(values)} times, expected it once")
    if sum(len(fields[name][0]) for name in _SIGNATURE_HEADERS) > _MAX_HEADER_CHARS:
        raise AuthError(f"request signature is longer than {_MAX_HEADER_CHARS} characters")
    if has_body:
        for name in ("content-digest", "content-type"):
            if name not in fields:
                raise AuthError(f"request has a body but no {name} header; sign the body too")
    elif "content-digest" in fields:
        raise AuthError("request has a content-digest but no body; the body was lost on the way")


def _verify_signature(resolve_key: KeyResolver, request: "_Request") -> VerifyResult:
    verifier = _Verifier(signature_algorithm=ED25519, key_resolver=_Resolver(resolve_key))
    try:
        (result,) = verifier.verify(request, max_age=None)
    except InvalidSignature as error:
        cause = error.__cause__
        if isinstance(cause, (AuthError, KeyMaterialError)):  # from the resolver below
            raise cause from None
        reason = str(error) or "it is not that of the bank's key over this request"
        raise AuthError(f"request signature is refused: {reason}") from None
    except (HTTPMessageSignaturesException, ValueError, TypeError) as error:
        raise AuthError(f"request signature is malformed: {error}") from None
    return result


def _require_profile(
    result: VerifyResult, fields: Mapping[str, list[str]], *, has_body: bool
) -> None:
    """Refuse a good signature that covers, or says, something else than this profile."""
    expected = [f'"{name}"' for name in _components(fields, has_body=has_body)]
    covered = [name for name in result.covered_components if name != _PARAMETERS_COMPONENT]
    if covered != expected:
        raise AuthError(
            f"request signature covers {' '.join(covered)}, expected {' '.join(expected)}"
        )
    signed = result.covered_components[_PARAMETERS_COMPONENT]
    if result.parameters.keys() != _PARAMETERS or result.parameters["tag"] != _TAG:
        raise AuthError(
            f"request signature has parameters {signed}, expected "
            f"{' '.join(sorted(_PARAMETERS))} with tag {_TAG!r}"
        )
    # Structured fields have many texts of one value. Only one is taken, so that what was received
    # and logged is what was signed, to the byte.
    if fields["signature-input"][0] != f"{SIGNATURE_LABEL}={signed}":
        raise AuthError(
            f"request signature-input is {fields['signature-input'][0]!r}, expected label "
            f"{SIGNATURE_LABEL!r} and no needless space"
        )
    if not _is_canonical_signature(fields["signature"][0]):
        raise AuthError(
            f"request signature is {fields['signature'][0]!r}, expected "
            f"'{SIGNATURE_LABEL}=:<base64 of 64 bytes>:'"
        )


def _is_canonical_signature(text: str) -> bool:
    """Whether decoding and encoding gives the same text."""
    prefix = f"{SIGNATURE_LABEL}=:"
    try:
        data = base64.b64decode(text[len(prefix) : -1], validate=True)
    except ValueError:
        return False
    return text == f"{prefix}{base64.b64encode(data).decode()}:"


@dataclass
class _Request:
    """A request as the library reads it: names in lower case, each once."""

    method: str
    url: str
    headers: dict[str, str]


class _Verifier(HTTPMessageVerifier):
    """The library's verifier, without its wall clock: times are checked against ``now``."""

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Leave ``created`` to the caller; ``expires`` is no parameter of this profile."""


class _Resolver(HTTPSignatureKeyResolver):
    def __init__(self, resolve_key: KeyResolver) -> None:
        self._resolve_key = resolve_key

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        signing_key = self._resolve_key(key_id) if _KEYID.fullmatch(key_id) else None
        if signing_key is None:
            raise AuthError(
                f"request is signed by {key_id[:80]!r}, which is no member here; enrol the bank "
                "with `bank-node join` first"
            )
        return load_signing_key(signing_key)


def _is_covered(name: str) -> bool:
    return name in ("content-digest", "content-type") or name.startswith(_OWN_PREFIX)


def _components(fields: Mapping[str, list[str]], *, has_body: bool) -> tuple[str, ...]:
    own = sorted(name for name in fields if name.startswith(_OWN_PREFIX))
    body = ("content-digest", "content-type") if has_body else ()
    return ("@method", "@path", "@query", *body, *own)


def _fields(headers: Headers) -> dict[str, list[str]]:
    """Values by name in lower case, in the order of the header lines."""
    fields: dict[str, list[str]] = {}
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    for name, value in pairs:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _covered_values(fields: Mapping[str, list[str]]) -> dict[str, str]:
    """Only what the library needs to see; everything there is known to occur once."""
    return {
        name: values[0]
        for name, values in fields.items()
        if name in _SIGNATURE_HEADERS or _is_covered(name)
    }


def _target(url: str) -> str:
    """Path and query of a whole URL, or of one that is only path and query."""
    if url.startswith("/"):
        return url
    parts = urlsplit(url)
    # urlsplit does not tell "/x" from "/x?", and neither does "@query": it is "?" for both.
    return f"{parts.path or '/'}?{parts.query}"


def _clock(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return f"second {seconds}"
