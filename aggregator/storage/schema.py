"""The tables, all in one place. A change here is a new ``SCHEMA_VERSION`` and a migration.

Times are UTC epoch seconds, digests lower-case hexadecimal SHA-256.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    String,
    Text,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: Version of these tables, stored in the database; a program refuses a database of another one.
SCHEMA_VERSION = 1

#: PostgreSQL would order by the rules of some language; names and addresses are compared by their
#: bytes, as SQLite and Python do.
_BYTEWISE = "C"
_NAME = String(63).with_variant(String(63, _BYTEWISE), "postgresql")
_DIGEST = String(64)
_RUN_ID = String(32)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {int: BigInteger}  # noqa: RUF012 - SQLAlchemy's own declaration


class MetaRow(Base):
    """Facts about the database itself: ``schema_version``, and the ``release`` that wrote it."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class TokenRow(Base):
    """An operator's or viewer's access. Only the hash of the token is kept, revoked ones too."""

    __tablename__ = "tokens"

    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    token_sha256: Mapped[str] = mapped_column(_DIGEST, unique=True)
    created_at: Mapped[int]
    expires_at: Mapped[int]
    revoked_at: Mapped[int | None]


class ConfirmationRow(Base):
    """What an operator has asked for, until another one confirms it or it expires."""

    __tablename__ = "confirmations"

    digest: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    asked_by: Mapped[str] = mapped_column(_NAME)
    expires_at: Mapped[int]


class InviteRow(Base):
    """An invitation of one bank. Only the hash of its code is kept."""

    __tablename__ = "invites"

    code_sha256: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    bank: Mapped[str] = mapped_column(_NAME)
    created_at: Mapped[int]
    expires_at: Mapped[int]
    used_at: Mapped[int | None]


class BankRow(Base):
    """A bank and its keys. The row stays when the bank leaves: a name means one pair of keys."""

    __tablename__ = "banks"

    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    signing_key: Mapped[str] = mapped_column(_DIGEST, unique=True)
    agreement_key: Mapped[str] = mapped_column(_DIGEST, unique=True)
    registered_at: Mapped[int]
    removed_at: Mapped[int | None]


class NonceRow(Base):
    """A signed request that was seen; kept while its signature would still be fresh."""

    __tablename__ = "nonces"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own declaration

    bank: Mapped[str] = mapped_column(_NAME, primary_key=True)
    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[int] = mapped_column(index=True)


class KeyEpochRow(Base):
    """A key epoch as its steward announced it."""

    __tablename__ = "key_epochs"

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[str] = mapped_column(Text)
    """The message ``KeyEpoch``, JSON."""
    digest: Mapped[str] = mapped_column(_DIGEST)
    announced_at: Mapped[int]
    retired_at: Mapped[int | None]
    """When a later epoch or a change of the members ended it: no new run with it since."""


class AcknowledgementRow(Base):
    """A bank's acknowledgement of a key epoch."""

    __tablename__ = "acknowledgements"

    epoch: Mapped[int] = mapped_column(ForeignKey("key_epochs.epoch"), primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True)
    signature: Mapped[str] = mapped_column(String(128))
    acknowledged_at: Mapped[int]


class RemovalRow(Base):
    """A member's signature that another one has left; it changes nothing at the aggregator."""

    __tablename__ = "removals"

    removed: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True)
    signer: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True)
    signature: Mapped[str] = mapped_column(String(128))
    signed_at: Mapped[int]


class AuditRow(Base):
    """One entry of the audit log; triggers refuse to change or delete it."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time: Mapped[int]
    kind: Mapped[str] = mapped_column(String(100))
    actor: Mapped[str] = mapped_column(String(200))
    subject: Mapped[str] = mapped_column(
        String(500).with_variant(String(500, _BYTEWISE), "postgresql"), index=True
    )
    status: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str] = mapped_column(Text)
    body_sha256: Mapped[str | None] = mapped_column(_DIGEST)
    previous_hash: Mapped[str] = mapped_column(_DIGEST)
    hash: Mapped[str] = mapped_column(_DIGEST)
    signature: Mapped[str] = mapped_column(String(128))


#: What makes the audit log append-only, by dialect. A guard against our own mistakes; against the
#: owner of the database the hash chain is the guard.
AUDIT_GUARDS = {
    "sqlite": (
        "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
        "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only' "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$",
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()",
    ),
}
for _dialect, _statements in AUDIT_GUARDS.items():
    for _statement in _statements:
        _guard = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(AuditRow.__table__, "after_create", _guard.execute_if(dialect=_dialect))


class RunRow(Base):
    """A run. ``version`` counts the accepted events and guards against lost updates."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(_RUN_ID, primary_key=True)
    sequence: Mapped[int] = mapped_column(unique=True)
    """Order of creation; two runs may share a second."""
    spec: Mapped[str] = mapped_column(Text)
    key_epoch: Mapped[int] = mapped_column(ForeignKey("key_epochs.epoch"))
    state: Mapped[str] = mapped_column(String(16))
    round_number: Mapped[int]
    generation: Mapped[int]
    first_step: Mapped[int]
    """Where the generation began."""
    first_round: Mapped[int]
    """Its first round."""
    step: Mapped[int]
    """Step of the last round that was opened."""
    step_round: Mapped[int]
    """First round of that step."""
    ciphertexts: Mapped[int]
    bytes_received: Mapped[int]
    model_sha256: Mapped[str | None] = mapped_column(_DIGEST)
    failure: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int]
    created_at: Mapped[int]
    ended_at: Mapped[int | None]


class CohortRow(Base):
    """A bank of a run's cohort: the key epoch's roster when the run was opened.

    What begins with ``ready_``, and ``more_rows``, are of the generation that is being formed or
    has begun.
    """

    __tablename__ = "cohorts"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True, index=True)
    joined_at: Mapped[int | None]
    takes_part: Mapped[int]
    """1 in the run's generation, else 0."""
    is_entrant: Mapped[int]
    """1 if it came in since the last generation began."""
    was_there: Mapped[int]
    """1 if it took part in the last generation that began before this one was formed."""
    waits: Mapped[int]
    """1 if it comes in at the next step."""
    drops: Mapped[int]
    """How often it was dropped."""
    ready_step: Mapped[int | None]
    more_rows: Mapped[int]
    ready_key: Mapped[str] = mapped_column(String(64))
    """Its ephemeral key of the generation, hexadecimal; empty until it has agreed."""
    ready_signature: Mapped[str] = mapped_column(String(128))
    """Its own over the key."""


class HandoverRow(Base):
    """What the banks of a generation know at its beginning, sealed, for those that enter it."""

    __tablename__ = "handovers"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"))
    """The bank that sent it first; the others send the same bytes."""
    sha256: Mapped[str] = mapped_column(_DIGEST)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    stored_at: Mapped[int]


class HandoverSignatureRow(Base):
    """A bank's signature over what is handed to the entrants of a generation."""

    __tablename__ = "handover_signatures"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True)
    signature: Mapped[str] = mapped_column(String(128))


class RoundRow(Base):
    """One secure sum; kept for the record after its payloads are gone."""

    __tablename__ = "rounds"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(200))
    context: Mapped[str] = mapped_column(_DIGEST)
    generation: Mapped[int]
    step: Mapped[int]
    ciphertexts: Mapped[int]
    """Ciphertexts in each contribution."""
    bytes_received: Mapped[int]
    """Bytes of the accepted contributions and openings."""
    opened_at: Mapped[int]
    completed_at: Mapped[int | None]
    closed_at: Mapped[int | None]
    abandoned_at: Mapped[int | None]


class ProductRow(Base):
    """The running product of a round; apart from ``rounds`` so that it is read only when needed."""

    __tablename__ = "products"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "number"], ["rounds.run_id", "rounds.number"]),
    )

    run_id: Mapped[str] = mapped_column(_RUN_ID, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ContributionRow(Base):
    """That a bank contributed to a round, and the digest of what it sent; not the ciphertexts.

    Its commitment goes to all banks with the product. Deleted with the openings: the audit log and
    the round itself stay on record.
    """

    __tablename__ = "contributions"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "number"], ["rounds.run_id", "rounds.number"]),
    )

    run_id: Mapped[str] = mapped_column(_RUN_ID, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True)
    position: Mapped[int]
    """Order of arrival within the round, from 0."""
    sha256: Mapped[str] = mapped_column(_DIGEST)
    commitment: Mapped[str] = mapped_column(_DIGEST)
    """To the seed of the bank's self mask."""
    bytes_received: Mapped[int]
    accepted_at: Mapped[int]


class OpeningRow(Base):
    """A bank's sealed opening of its shard; deleted once no bank needs it."""

    __tablename__ = "openings"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "number"], ["rounds.run_id", "rounds.number"]),
    )

    run_id: Mapped[str] = mapped_column(_RUN_ID, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True)
    position: Mapped[int]
    shard: Mapped[int]
    sha256: Mapped[str] = mapped_column(_DIGEST)
    bytes_received: Mapped[int]
    accepted_at: Mapped[int]
    frame: Mapped[bytes] = mapped_column(LargeBinary)


class VoteRow(Base):
    """The model a bank ended with."""

    __tablename__ = "votes"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True)
    position: Mapped[int]
    sha256: Mapped[str] = mapped_column(_DIGEST)
    plain_sha256: Mapped[str] = mapped_column(_DIGEST)
    """Of the plain model, which is what the bank signed."""
    signature: Mapped[str] = mapped_column(String(128))
    submitted_at: Mapped[int]


class ModelRow(Base):
    """An accepted model under the hash of its bytes."""

    __tablename__ = "models"

    sha256: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    accepted_at: Mapped[int]
