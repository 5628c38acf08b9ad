"""What the commands of ``aggregator`` print with ``--json``, beside messages of the API."""

from pydantic import JsonValue, RootModel

from fraudfed.console import Answer
from fraudfed.wire.messages import AuditEntry, RunCreated, RunSpec


class Created(Answer):
    """``init``: kind of the database, and the file with the operator's token."""

    state: str
    database: str
    operator_token_file: str


class Migrated(Answer):
    """``migrate``: schema versions before and after; equal where there was nothing to do."""

    database: str
    version_before: int
    version: int


class BackedUp(Answer):
    """``backup``; ``secret_files`` belong to a backup, too, and are not copied."""

    out: str
    database: str
    secret_files: tuple[str, ...]


class Listening(Answer):
    """``serve``: printed on one line as soon as requests are answered."""

    url: str


class OpenApi(RootModel[dict[str, JsonValue]]):
    """``openapi``: the OpenAPI document."""


class CreatedToken(Answer):
    """``tokens create``: the token is not shown again."""

    name: str
    role: str
    token: str
    days: int


class ListedToken(Answer):
    """What may be shown of a token; times in UTC epoch seconds."""

    name: str
    role: str
    created_at: int
    expires_at: int
    revoked_at: int | None


class ListedTokens(Answer):
    """``tokens list``, by name."""

    tokens: tuple[ListedToken, ...]


class RevokedToken(Answer):
    """``tokens revoke``."""

    name: str


class VerifiedAudit(Answer):
    """``audit verify``; ``ENTRIES:HASH`` of it is what ``--expect`` takes."""

    entries: int
    hash: str
    audit_key: str


class AuditEntries(Answer):
    """``audit show``."""

    entries: tuple[AuditEntry, ...]


class RunOrSpec(RootModel[RunCreated | RunSpec]):
    """``runs create`` and its kind: the run's id; with ``--dry-run`` its description."""


class ListedPreset(Answer):
    """A preset; what it does not name has XGBoost's default."""

    name: str
    purpose: str
    parameters: dict[str, JsonValue]


class ListedPresets(Answer):
    """``runs presets``."""

    presets: tuple[ListedPreset, ...]
