"""Authentication: banks sign a request (RFC 9421), operators and viewers send an API token.

A signature is checked before the body is read, against the digest that the request's headers
announce; the body is held against that digest when it is there. So a stranger cannot make the
service take in megabytes, and a signature is never taken for another body.
"""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from aggregator.caller import Caller, Role
from aggregator.consortium.members import Members, SignedNonce
from aggregator.consortium.replay import Nonces
from aggregator.consortium.tokens import Tokens
from fraudfed.consortium.public.signatures import (
    EMPTY_SHA256,
    MAX_SKEW_SECONDS,
    SIGNATURE_LABEL,
    KeyResolver,
    VerifiedRequest,
    content_digest,
    read_content_digest,
    verify_request,
)
from fraudfed.errors import AuthError
from fraudfed.wire.messages import BankRegistration

#: Answer to a request without a usable signature (RFC 9421, section 5.1).
ACCEPT_SIGNATURE = (
    f'{SIGNATURE_LABEL}=("@method" "@path" "@query" "content-digest" "content-type");created;'
    f'keyid;nonce;alg="ed25519";tag="{SIGNATURE_LABEL}"'
)

SIGNATURE_DESCRIPTION = f"""\
Signature of a bank: RFC 9421 with Ed25519, one signature under the label `{SIGNATURE_LABEL}`,
described by `Signature-Input`. Covered components, in this order: `"@method" "@path" "@query"`,
with a body also `"content-digest" "content-type"`, then every header whose name begins with
`Fraudfed-`, by name. Parameters, all of them: `created`, `keyid` (the bank's name), `nonce` (16
random bytes, base64url without padding), `alg="ed25519"` and `tag="{SIGNATURE_LABEL}"`. A body
comes with `Content-Digest: sha-256=:...:` (RFC 9530). `created` may differ from the aggregator's
clock by {MAX_SKEW_SECONDS} seconds; a nonce is taken once, so every repetition of a request is
signed anew. The registration of a bank is signed with the key that it announces."""

_SCHEME = "bearer"
#: Stands for a body whose digest is not announced; no body has it.
_UNANNOUNCED = bytes(32)


@dataclass(frozen=True)
class RequestHead:
    """What is known of a request before its body is read."""

    method: str
    target: str
    """Path and query as they were sent, percent-encoded."""
    headers: tuple[tuple[str, str], ...]
    has_body: bool

    def header(self, name: str) -> str | None:
        """Return the value of a header, its name in lower case."""
        return self._first.get(name)

    @cached_property
    def _first(self) -> dict[str, str]:
        return {key.lower(): value for key, value in reversed(self.headers)}

    @cached_property
    def announced_sha256(self) -> bytes:
        """SHA-256 of the body by the headers; that of no body if there is none."""
        if not self.has_body:
            return EMPTY_SHA256
        return read_content_digest(self.header("content-digest") or "") or _UNANNOUNCED


class Authenticator:
    """Finds the sender of a request. Safe to use from many threads.

    Parameters
    ----------
    clock : callable
        UTC epoch seconds.
    """

    def __init__(
        self,
        tokens: Tokens,
        members: Members,
        nonces: Nonces,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._members = members
        self._nonces = nonces
        self._clock = clock

    def authenticate(self, head: RequestHead) -> Caller:
        """Return the sender of a request, and take the nonce of its signature.

        Raises
        ------
        AuthError
            If it is not signed and has no token, or the signature or token is not good.
        ForbiddenError
            If it is signed by a bank that was removed.
        """
        authorization = head.header("authorization")
        signature = head.header("signature") or head.header("signature-input")
        if authorization is not None and signature is not None:
            raise AuthError("request has a token and a signature; send the one that is yours")
        if authorization is not None:
            return self._holder(authorization)
        if signature is None:
            raise AuthError(
                "request is not signed and has no token; a bank signs it with its key, an operator "
                "sends 'Authorization: Bearer <token>'"
            )
        now = int(self._clock())
        verified = _verify(self._members.known_key, head, now=now)
        signed = _nonce(verified)
        self._nonces.use(
            verified.keyid,
            signed.nonce,
            expires_at=signed.expires_at,
            now=now,
            provided=lambda connection: self._members.require_member(connection, verified.keyid),
        )
        # What the bank signed to have sent, whether or not we get to read it.
        body_sha256 = head.announced_sha256.hex() if head.has_body else None
        return Caller(verified.keyid, Role.BANK, body_sha256)

    def holder_of(self, token: str) -> Caller:
        """Return the operator or viewer that a token is of; raises AuthError if it is not good."""
        return self._holder(f"{_SCHEME} {token}")

    def still_holds(self, name: str) -> Caller | None:
        """Return the holder of a token that was shown earlier; None if it is good no more."""
        return self._tokens.named(name)

    def check_candidate(self, head: RequestHead, registration: BankRegistration) -> SignedNonce:
        """Check that a registration is signed with the key that it announces.

        Raises
        ------
        AuthError
            If it is not, or is signed under another name.
        """
        if head.header("authorization") is not None:
            raise AuthError("a registration is signed with the bank's key; send it without a token")
        verified = _verify(
            lambda name: registration.signing_key if name == registration.name else None,
            head,
            now=int(self._clock()),
        )
        return _nonce(verified)

    def _holder(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != _SCHEME or not token:
            raise AuthError(
                "the Authorization header is no bearer token; send 'Authorization: Bearer <token>'"
            )
        holder = self._tokens.holder(token)
        if holder is None:
            raise AuthError(
                "the token is unknown to this aggregator or revoked; use one that `aggregator "
                "init` or `aggregator tokens create` made"
            )
        return holder


def require_digest(head: RequestHead, body_sha256: bytes) -> None:
    """Hold a body against the digest that its request's signature covers.

    Raises
    ------
    AuthError
        If it has another one.
    """
    announced = head.announced_sha256
    if not hmac.compare_digest(announced, body_sha256):
        raise AuthError(
            f"request body has digest {content_digest(body_sha256)}, its content-digest says "
            f"{content_digest(announced)}; the body was altered or cut off"
        )


def _verify(resolve_key: KeyResolver, head: RequestHead, *, now: int) -> VerifiedRequest:
    return verify_request(
        resolve_key,
        method=head.method,
        target=head.target,
        headers=head.headers,
        body_sha256=head.announced_sha256,
        now=now,
    )


def _nonce(verified: VerifiedRequest) -> SignedNonce:
    return SignedNonce(verified.nonce, verified.created + MAX_SKEW_SECONDS)
