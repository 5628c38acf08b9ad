"""API tokens of operators and viewers: made here, shown once, stored as a hash.

A token is 256 bits from the operating system. Plain SHA-256 is enough to store it: a slow,
salted hash protects secrets that people choose and others can guess; 256 random bits cannot be
guessed, and the hash of one cannot be turned back. To look a token up by its hash tells an attacker
with a clock nothing either, because they cannot steer the hash; the comparison is in constant
time all the same.

Every token expires: one that was copied unnoticed, or whose holder has left, ends by itself. It is
not renewed: a new one gets a name of its own, and the log tells them apart.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from aggregator.audit.log import AuditTrail
from aggregator.caller import LOCAL, Caller, Role
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import TokenRow
from aggregator.storage.transaction import Transaction
from fraudfed.errors import AuthError, ConfigurationError, ConflictError, NotFoundError

_SECRET_BYTES = 32
#: A quarter of a year, unless `tokens create --days` says otherwise.
DEFAULT_DAYS = 90
_DAY_SECONDS = 86_400
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def new_secret() -> str:
    """Return a fresh token or invitation code of 256 random bits, URL-safe."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_secret(secret: str) -> str:
    """Return what is stored of a token or an invitation code."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class TokenInfo:
    """What may be shown of a token."""

    name: str
    role: Role
    created_at: int
    expires_at: int
    revoked_at: int | None


class Tokens:
    """The tokens of one aggregator. Safe to use from many threads.

    Parameters
    ----------
    clock : callable
        UTC epoch seconds.
    """

    def __init__(
        self, database: Database, trail: AuditTrail, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._trail = trail
        self._clock = clock

    def create(self, name: str, role: Role, *, days: int = DEFAULT_DAYS) -> str:
        """Store a new token and return it; it is not shown again.

        Parameters
        ----------
        days : int
            After which it is refused.

        Raises
        ------
        ConfigurationError
            If the name is malformed.
        ConflictError
            If the name was given before, even to a token that is revoked: the audit log names it.
        """
        if _NAME.fullmatch(name) is None:
            raise ConfigurationError(
                f"token name {name!r}: expected up to 63 of a-z, 0-9, '-' and '_', the first a "
                "letter or digit"
            )
        token = new_secret()
        now = int(self._clock())

        def create(written: Transaction) -> None:
            if written.session.get(TokenRow, name) is not None:
                raise ConflictError(f"token name {name!r} was used before; choose another name")
            row = TokenRow(
                name=name,
                role=role.value,
                token_sha256=hash_secret(token),
                created_at=now,
                expires_at=now + days * _DAY_SECONDS,
            )
            written.session.add(row)
            detail = f"role {role.value}, for {days} days"
            self._trail.note(written, LOCAL, "token-created", f"token/{name}", detail)

        self._database.transaction("create-token", Kind.WRITE, create)
        return token

    def revoke(self, name: str) -> None:
        """End a token; its requests are refused from now on.

        Raises
        ------
        NotFoundError
            If there is no such token.
        ConflictError
            If it is revoked already.
        """

        def revoke(written: Transaction) -> None:
            row = written.session.get(TokenRow, name)
            if row is None:
                raise NotFoundError(f"there is no token {name!r}; list them to see")
            if row.revoked_at is not None:
                raise ConflictError(f"token {name!r} is revoked already")
            row.revoked_at = int(self._clock())
            self._trail.note(written, LOCAL, "token-revoked", f"token/{name}", f"role {row.role}")

        self._database.transaction("revoke-token", Kind.WRITE, revoke)

    def listed(self) -> tuple[TokenInfo, ...]:
        """Return all tokens by name, revoked ones too."""
        query = select(TokenRow).order_by(TokenRow.name)
        return self._database.transaction(
            "list-tokens",
            Kind.READ,
            lambda read: tuple(
                TokenInfo(row.name, Role(row.role), row.created_at, row.expires_at, row.revoked_at)
                for row in read.session.scalars(query)
            ),
        )

    def holder(self, token: str) -> Caller | None:
        """Return the holder of a token, None for one that is unknown or revoked.

        Raises
        ------
        AuthError
            If it has expired.
        """
        digest = hash_secret(token)

        def find(read: Transaction) -> Caller | None:
            row = read.session.scalar(select(TokenRow).where(TokenRow.token_sha256 == digest))
            if row is None or row.revoked_at is not None:
                return None
            if not hmac.compare_digest(row.token_sha256, digest):
                return None
            if row.expires_at <= self._clock():
                # Its holder has the token, so it is told nothing new.
                ended = datetime.fromtimestamp(row.expires_at, tz=UTC)
                raise AuthError(
                    f"token {row.name!r} has expired on {ended:%Y-%m-%d %H:%M:%SZ}; make a new one "
                    "with `aggregator tokens create`, under another name"
                )
            return Caller(row.name, Role(row.role))

        return self._database.transaction("find-token", Kind.READ, find)

    def named(self, name: str) -> Caller | None:
        """Return the holder of a token by its name; None if it is unknown, revoked or expired."""

        def find(read: Transaction) -> Caller | None:
            row = read.session.get(TokenRow, name)
            if row is None or row.revoked_at is not None or row.expires_at <= self._clock():
                return None
            return Caller(row.name, Role(row.role))

        return self._database.transaction("find-holder", Kind.READ, find)
