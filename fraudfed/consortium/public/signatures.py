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

Because the profile is fixed, the signature base (RFC 9421, section 2.5) is a template that is
filled in here; a library for the whole RFC takes ten times as long and is the oracle of the tests.
See ``docs/decisions/0008-request-signatures.md`` and ``0015-cheap-rounds.md``.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature

from fraudfed.consortium.public.documents import Signer, load_signing_key
from fraudfed.errors import AuthError, ProtocolError

SIGNATURE_LABEL: Final = "fraudfed"
#: How far the clocks of bank and aggregator may differ; a nonce is remembered for twice as long.
MAX_SKEW_SECONDS: Final = 300
_TAG: Final = "fraudfed"
#: Headers of this prefix mean something to the protocol, so they are always signed.
_OWN_PREFIX: Final = "fraudfed-"
_PARAMETERS: Final = frozenset({"created", "keyid", "nonce", "alg", "tag"})
_SIGNATURE_HEADERS: Final = ("signature-input", "signature")
_NONCE_BYTES: Final = 16
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_KEYID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_METHOD: Final = re.compile(r"[A-Z]+")
#: Path and query, percent-encoded: anything else could be read in two ways.
_TARGET: Final = re.compile(
    r"/[!$%&'()*+,\-./0-9:;=@A-Z_a-z~]*(?:\?[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*)?"
)
#: A field value as it may stand in a signature base (RFC 9421, section 2.5).
_FIELD_VALUE: Final = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
#: Signature-Input with one label: its components, then its parameters. Structured fields have many
#: texts of one value; this takes only the canonical one, without needless space or escapes, so that
#: what was received and logged is what was signed, to the byte.
_SIGNATURE_INPUT: Final = re.compile(
    rf"{SIGNATURE_LABEL}="
    r'(?P<signed>\((?P<components>(?:"[!#-\[\]-~]+"(?: "[!#-\[\]-~]+")*)?)\)'
    r'(?P<parameters>(?:;[a-z]+=(?:"[ !#-\[\]-~]*"|0|-?[1-9][0-9]{0,14}))*))'
)
_PARAMETER: Final = re.compile(r';([a-z]+)=(?:"([^"]*)"|([0-9-]+))')
_SIGNATURE: Final = re.compile(rf"{SIGNATURE_LABEL}=:([A-Za-z0-9+/]{{86}}==):")
_CONTENT_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
EMPTY_SHA256: Final = hashlib.sha256(b"").digest()
#: Signed requests are below a kilobyte of signature headers; more is an attempt to waste time.
_MAX_HEADER_CHARS: Final = 4096

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


def read_content_digest(text: str) -> bytes | None:
    """Return the SHA-256 in a ``Content-Digest`` header, None if it holds anything else."""
    match = _CONTENT_DIGEST.fullmatch(text)
    return None if match is None else base64.b64decode(match[1])


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
    components = _components(fields, has_body=bool(body))
    parameters = (
        f'({_listed(components)});created={created};keyid="{keyid}";alg="ed25519"'
        f';nonce="{nonce}";tag="{_TAG}"'
    )
    try:
        base = _signature_base(method, _target(url), fields, components, parameters)
    except ValueError as error:
        raise ProtocolError(f"request {method} {url} cannot be signed: {error}") from None
    added["Signature-Input"] = f"{SIGNATURE_LABEL}={parameters}"
    added["Signature"] = f"{SIGNATURE_LABEL}=:{base64.b64encode(signer.sign(base)).decode()}:"
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
    has_body = not hmac.compare_digest(body_sha256, EMPTY_SHA256)
    _require_headers(fields, has_body=has_body)
    if not target.startswith("/"):
        raise AuthError(f"request target is {target[:80]!r}, expected a path that begins with /")
    signature_input = _read_signature_input(fields["signature-input"][0])
    components = _components(fields, has_body=has_body)
    if signature_input.components != _listed(components):
        raise AuthError(
            f"request signature covers {signature_input.components[:400]}, expected "
            f"{_listed(components)}"
        )
    try:
        base = _signature_base(method, target, fields, components, signature_input.signed)
    except ValueError as error:
        raise AuthError(f"request signature is malformed: {error}") from None
    keyid = signature_input.keyid
    signing_key = resolve_key(keyid) if _KEYID.fullmatch(keyid) else None
    if signing_key is None:
        raise AuthError(
            f"request is signed by {keyid[:80]!r}, which is no member here; enrol the bank "
            "with `bank-node join` first"
        )
    try:
        load_signing_key(signing_key).verify(_read_signature(fields["signature"][0]), base)
    except InvalidSignature:
        raise AuthError(
            "request signature is refused: it is not that of the bank's key over this request"
        ) from None
    nonce, created = signature_input.nonce, signature_input.created
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


@dataclass(frozen=True)
class _SignatureInput:
    """What ``Signature-Input`` says; ``signed`` is the text that the signature covers."""

    signed: str
    components: str
    keyid: str
    nonce: str
    created: int


def _read_signature_input(text: str) -> _SignatureInput:
    """Read ``Signature-Input``; refuse what is not this profile's, however well it is signed."""
    match = _SIGNATURE_INPUT.fullmatch(text)
    if match is None:
        raise AuthError(
            f"request signature-input is {text[:400]!r}, expected one signature with label "
            f"{SIGNATURE_LABEL!r} and no needless space"
        )
    found = _PARAMETER.findall(match["parameters"])
    strings = {name: value for name, value, number in found if not number}
    numbers = {name: int(number) for name, _, number in found if number}
    if (
        len(found) != len(_PARAMETERS)
        or strings.keys() | numbers.keys() != _PARAMETERS
        or numbers.keys() != {"created"}
        or (strings["alg"], strings["tag"]) != ("ed25519", _TAG)
    ):
        raise AuthError(
            f"request signature has parameters {match['parameters'][1:400]!r}, expected "
            f"{' '.join(sorted(_PARAMETERS))} with alg 'ed25519' and tag {_TAG!r}"
        )
    if not _NONCE.fullmatch(strings["nonce"]):
        raise AuthError(
            f"request nonce is {strings['nonce'][:80]!r}, expected 16 bytes in base64url"
        )
    return _SignatureInput(
        match["signed"], match["components"], strings["keyid"], strings["nonce"], numbers["created"]
    )


def _read_signature(text: str) -> bytes:
    """Return the 64 bytes; only the text is taken that encoding them gives."""
    match = _SIGNATURE.fullmatch(text)
    data = base64.b64decode(match[1]) if match else b""
    if match is None or base64.b64encode(data).decode() != match[1]:
        raise AuthError(
            f"request signature is {text[:200]!r}, expected "
            f"'{SIGNATURE_LABEL}=:<base64 of 64 bytes>:'"
        )
    return data


def _signature_base(
    method: str,
    target: str,
    fields: Mapping[str, list[str]],
    components: tuple[str, ...],
    parameters: str,
) -> bytes:
    """Return what is signed (RFC 9421, section 2.5).

    Raises
    ------
    ValueError
        If a part could be read in more than one way: its text says which.
    """
    if not _METHOD.fullmatch(method):
        raise ValueError(f"method is {method[:80]!r}, expected it in upper case")
    if not _TARGET.fullmatch(target):
        raise ValueError(f"target is {target[:80]!r}, expected path and query, percent-encoded")
    path, _, query = target.partition("?")
    # "@query" is "?" whether or not there was a question mark: "/x" and "/x?" are one target.
    derived = {"@method": method, "@path": path, "@query": f"?{query}"}
    lines = []
    for name in components:
        value = derived.get(name)
        if value is None:
            value = fields[name][0].strip(" \t")
            if not _FIELD_VALUE.fullmatch(value):
                raise ValueError(f"header {name} holds what is no printable ASCII")
        lines.append(f'"{name}": {value}\n')
    lines.append(f'"@signature-params": {parameters}')
    return "".join(lines).encode("ascii")


def _is_covered(name: str) -> bool:
    return name in ("content-digest", "content-type") or name.startswith(_OWN_PREFIX)


def _components(fields: Mapping[str, list[str]], *, has_body: bool) -> tuple[str, ...]:
    own = sorted(name for name in fields if name.startswith(_OWN_PREFIX))
    body = ("content-digest", "content-type") if has_body else ()
    return ("@method", "@path", "@query", *body, *own)


def _listed(components: tuple[str, ...]) -> str:
    return " ".join(f'"{name}"' for name in components)


def _fields(headers: Headers) -> dict[str, list[str]]:
    """Values by name in lower case, in the order of the header lines."""
    fields: dict[str, list[str]] = {}
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    for name, value in pairs:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _target(url: str) -> str:
    """Path and query of a whole URL, or of one that is only path and query."""
    if url.startswith("/"):
        return url
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}"


def _clock(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return f"second {seconds}"
