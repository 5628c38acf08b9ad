"""Bearer tokens: made here, shown once, stored as a hash.

A token is 256 bits from the operating system. Plain SHA-256 is enough to store it: a slow,
salted hash protects secrets that people choose and others can guess; nobody guesses 256 random
bits, and the hash of one cannot be turned back. Looking a token up by its hash tells an attacker
who measures time nothing either, because he cannot steer the hash; the comparison is in constant
time all the same.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Protocol

from fraudfed.errors import AuthError

__all__ = ["Principal", "TokenStore", "authenticate", "hash_token", "new_token"]

_TOKEN_BYTES = 32
_SCHEME = "bearer"


@dataclass(frozen=True)
class Principal:
    """Who sent a request: a bank by its name, or the operator."""

    name: str
    is_operator: bool

    @property
    def bank(self) -> str | None:
        """The bank's name, None for the operator."""
        return None if self.is_operator else self.name


class TokenStore(Protocol):
    """Where tokens are looked up."""

    def principal(self, token_sha256: str) -> tuple[Principal, str] | None:
        """Return the holder of a token and the hash that is stored for him."""
        ...


def new_token() -> str:
    """Return a fresh token of 256 random bits, URL-safe."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(authorization: str | None, store: TokenStore) -> Principal:
    """Return who sent a request with this ``Authorization`` header.

    Raises
    ------
    AuthError
        If the header is missing, is not a bearer token, or the token is unknown.
    """
    if authorization is None:
        raise AuthError("no token was sent; send the header 'Authorization: Bearer <token>'")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != _SCHEME or not token:
        raise AuthError(
            "the Authorization header is no bearer token; send 'Authorization: Bearer <token>'"
        )
    digest = hash_token(token)
    found = store.principal(digest)
    if found is None or not hmac.compare_digest(found[1], digest):
        raise AuthError(
            "the token is unknown to this aggregator; use the one it issued, or register again"
        )
    return found[0]
