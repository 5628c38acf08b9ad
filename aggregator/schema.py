"""The tables, all in one place. A change here is a new ``SCHEMA_VERSION`` and a migration.

Times are UTC epoch seconds, digests lower-case hexadecimal SHA-256.
"""

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "SCHEMA_VERSION",
    "BankRow",
    "Base",
    "ContributionRow",
    "MemberRow",
    "MetaRow",
    "ModelRow",
    "OpeningRow",
    "OperatorRow",
    "ProductRow",
    "RoundRow",
    "RunRow",
    "VoteRow",
]

#: Version of these tables, stored in the database; a program refuses a database of another one.
SCHEMA_VERSION = 1

_NAME = String(63)
_DIGEST = String(64)
_RUN_ID = String(32)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {int: BigInteger}  # noqa: RUF012 - SQLAlchemy's own declaration


class MetaRow(Base):
    """Facts about the database itself: ``schema_version``."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class OperatorRow(Base):
    """Who may open and end runs. Only the hash of a token is kept."""

    __tablename__ = "operators"

    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    token_sha256: Mapped[str] = mapped_column(_DIGEST, unique=True)
    created_at: Mapped[int]


class BankRow(Base):
    """A registered bank. Only the hash of its token is kept."""

    __tablename__ = "banks"

    name: Mapped[str] = mapped_column(_NAME, primary_key=True)
    token_sha256: Mapped[str] = mapped_column(_DIGEST, unique=True)
    created_at: Mapped[int]


class RunRow(Base):
    """A run. ``version`` counts the accepted events and guards against lost updates."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(_RUN_ID, primary_key=True)
    sequence: Mapped[int] = mapped_column(unique=True)
    """Order of creation; two runs may share a second."""
    spec: Mapped[str] = mapped_column(Text)
    cohort_size: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    round_number: Mapped[int]
    ciphertexts: Mapped[int]
    bytes_received: Mapped[int]
    model_sha256: Mapped[str | None] = mapped_column(_DIGEST)
    failure: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int]
    created_at: Mapped[int]
    ended_at: Mapped[int | None]


class MemberRow(Base):
    """A bank's membership of a run."""

    __tablename__ = "members"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True, index=True)
    joined_at: Mapped[int]


class RoundRow(Base):
    """One secure sum; kept for the record after its payloads are gone."""

    __tablename__ = "rounds"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(200))
    context: Mapped[str] = mapped_column(_DIGEST)
    ciphertexts: Mapped[int]
    """Ciphertexts in each contribution."""
    bytes_received: Mapped[int]
    """Bytes of the accepted contributions and openings."""
    opened_at: Mapped[int]
    completed_at: Mapped[int | None]
    closed_at: Mapped[int | None]


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
    """That a bank contributed to a round, and the digest of what it sent; not the ciphertexts."""

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
    bytes_received: Mapped[int]
    accepted_at: Mapped[int]


class OpeningRow(Base):
    """A bank's sealed opening of its shard; ``frame`` is None once nobody needs it."""

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
    frame: Mapped[bytes | None] = mapped_column(LargeBinary)


class VoteRow(Base):
    """The model a bank ended with."""

    __tablename__ = "votes"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    bank: Mapped[str] = mapped_column(ForeignKey("banks.name"), primary_key=True)
    position: Mapped[int]
    sha256: Mapped[str] = mapped_column(_DIGEST)
    submitted_at: Mapped[int]


class ModelRow(Base):
    """An accepted model under the hash of its bytes."""

    __tablename__ = "models"

    sha256: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    accepted_at: Mapped[int]
