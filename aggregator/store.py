"""The durable state of all runs: SQLAlchemy on SQLite.

Every accepted event is one transaction, committed (and on SQLite synced to disk: WAL with
``synchronous=FULL``) before it is acknowledged. A transaction writes only if the run is still at
the version that was read, so that two threads or processes cannot overwrite each other.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    exists,
    func,
    inspect,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session

from aggregator import run_machine as machine
from aggregator.auth import Principal
from aggregator.effects import Payload, write_effect
from aggregator.schema import (
    SCHEMA_VERSION,
    BankRow,
    Base,
    ContributionRow,
    MemberRow,
    MetaRow,
    ModelRow,
    OpeningRow,
    OperatorRow,
    ProductRow,
    RoundRow,
    RunRow,
    VoteRow,
)
from fraudfed.errors import ConflictError, NotFoundError, StateError
from fraudfed.wire.messages import RoundSummary, RunSpec, RunState, RunStatus

__all__ = ["Snapshot", "StaleError", "Store", "sqlite_url"]

_VERSION_KEY = "schema_version"
#: SQLite allows one writer; others wait for it. Far above any transaction's time.
_BUSY_SECONDS = 60
#: Reads are short and never held while a bank waits, so few connections serve many threads.
_POOL_SIZE = 16
_POOL_OVERFLOW = 48


class StaleError(Exception):
    """The run changed between reading and writing; read again. Never leaves the service."""


@dataclass(frozen=True)
class Snapshot:
    """A run and one round of it, as read in one transaction."""

    run: machine.Run
    round: machine.Round | None
    version: int


def sqlite_url(path: Path) -> str:
    """Return the SQLAlchemy URL of a SQLite file."""
    return f"sqlite:///{path}"


class Store:
    """Repository of banks, runs, rounds and models. Safe to use from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Threads queue fairly here instead of polling SQLite's file lock.
        self._write_lock = threading.Lock()

    @classmethod
    def create(cls, url: str) -> Self:
        """Create the tables in an empty database."""
        store = cls(_engine(url))
        with store._write() as session:
            Base.metadata.create_all(session.connection())
            session.add(MetaRow(key=_VERSION_KEY, value=str(SCHEMA_VERSION)))
        return store

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a database that ``create`` made.

        Raises
        ------
        StateError
            If it is no database, not the aggregator's, or of another schema version.
        """
        name = make_url(url).database
        store = cls(_engine(url))
        try:
            store._check_schema(str(name))
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def check(self) -> None:
        """Read something, or raise what the database raises."""
        with self._read() as session:
            session.scalar(select(MetaRow.value).where(MetaRow.key == _VERSION_KEY))

    # Who is who

    def add_operator(self, name: str, token_sha256: str) -> None:
        """Store an operator's token hash."""
        with self._write() as session:
            session.add(OperatorRow(name=name, token_sha256=token_sha256, created_at=_now()))

    def register_bank(self, name: str, token_sha256: str) -> None:
        """Store a new bank.

        Raises
        ------
        ConflictError
            If the name is taken.
        """
        try:
            with self._write() as session:
                session.add(BankRow(name=name, token_sha256=token_sha256, created_at=_now()))
        except IntegrityError:
            raise ConflictError(
                f"bank name {name!r} is taken at this aggregator; choose another name, or use the "
                "token that was issued for it"
            ) from None

    def principal(self, token_sha256: str) -> tuple[Principal, str] | None:
        """Return the holder of a token and the hash stored for him, None for an unknown token."""
        with self._read() as session:
            bank = session.scalar(select(BankRow).where(BankRow.token_sha256 == token_sha256))
            if bank is not None:
                return Principal(bank.name, is_operator=False), bank.token_sha256
            operator = session.scalar(
                select(OperatorRow).where(OperatorRow.token_sha256 == token_sha256)
            )
            if operator is not None:
                return Principal(operator.name, is_operator=True), operator.token_sha256
        return None

    # Reading runs

    def create_run(self, spec: RunSpec) -> str:
        """Store a new open run and return its id."""
        run_id = secrets.token_hex(8)
        with self._write() as session:
            last = session.scalar(select(func.max(RunRow.sequence)))
            session.add(
                RunRow(
                    id=run_id,
                    sequence=(last or 0) + 1,
                    spec=spec.model_dump_json(),
                    cohort_size=spec.cohort_size,
                    state=RunState.OPEN.value,
                    round_number=0,
                    ciphertexts=0,
                    bytes_received=0,
                    version=0,
                    created_at=_now(),
                )
            )
        return run_id

    def spec(self, run_id: str) -> RunSpec:
        """Return what the operator published.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        with self._read() as session:
            return RunSpec.model_validate_json(_run_row(session, run_id).spec)

    def status(self, run_id: str) -> RunStatus:
        """Return the public status of a run.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        with self._read() as session:
            return _status(session, _run_row(session, run_id))

    def statuses(self, *, visible_to: str | None) -> tuple[RunStatus, ...]:
        """Return the runs a bank may see (None: the operator, who sees all), newest first."""
        query = select(RunRow).order_by(RunRow.sequence.desc())
        if visible_to is not None:
            is_member = exists().where(MemberRow.run_id == RunRow.id, MemberRow.bank == visible_to)
            query = query.where(or_(RunRow.state == RunState.OPEN.value, is_member))
        with self._read() as session:
            return tuple(_status(session, row) for row in session.scalars(query))

    def snapshot(self, run_id: str, round_number: int | None = None) -> Snapshot:
        """Return a run with one round of it: ``round_number``, or the current one if None.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        with self._read() as session:
            row = _run_row(session, run_id)
            votes = session.execute(
                select(VoteRow.bank, VoteRow.sha256)
                .where(VoteRow.run_id == run_id)
                .order_by(VoteRow.position)
            )
            run = machine.Run(
                run_id=row.id,
                cohort_size=row.cohort_size,
                state=RunState(row.state),
                members=_members(session, run_id),
                round_number=row.round_number,
                votes=tuple((bank, sha256) for bank, sha256 in votes),
                model_sha256=row.model_sha256,
                failure=row.failure,
            )
            number = row.round_number if round_number is None else round_number
            return Snapshot(
                run=run,
                round=_round(session, run_id, number),
                version=row.version,
            )

    def product(self, run_id: str, number: int) -> bytes | None:
        """Return the running product of a round, None before the first contribution or later."""
        with self._read() as session:
            return session.scalar(
                select(ProductRow.data).where(
                    ProductRow.run_id == run_id, ProductRow.number == number
                )
            )

    def opening_frames(self, run_id: str, number: int) -> list[bytes] | None:
        """Return the openings of a round in shard order, None if they were deleted."""
        with self._read() as session:
            stored = session.scalars(
                select(OpeningRow.frame)
                .where(OpeningRow.run_id == run_id, OpeningRow.number == number)
                .order_by(OpeningRow.shard)
            ).all()
        kept = [frame for frame in stored if frame is not None]
        return kept if len(kept) == len(stored) else None

    def round_summaries(self, run_id: str, *, start: int, limit: int) -> tuple[RoundSummary, ...]:
        """Return what is on record of rounds ``start`` and later, at most ``limit`` of them."""
        with self._read() as session:
            _run_row(session, run_id)
            rows = session.scalars(
                select(RoundRow)
                .where(RoundRow.run_id == run_id, RoundRow.number >= start)
                .order_by(RoundRow.number)
                .limit(limit)
            )
            return tuple(
                RoundSummary(
                    number=row.number,
                    label=row.label,
                    context=row.context,
                    ciphertexts=row.ciphertexts,
                    bytes_received=row.bytes_received,
                    opened_at=row.opened_at,
                    completed_at=row.completed_at,
                    closed_at=row.closed_at,
                )
                for row in rows
            )

    def model(self, sha256: str) -> bytes | None:
        """Return the bytes of an accepted model."""
        with self._read() as session:
            return session.scalar(select(ModelRow.content).where(ModelRow.sha256 == sha256))

    # Writing runs

    def commit(self, before: Snapshot, step: machine.Transition, payload: Payload) -> None:
        """Make all effects of a transition durable, or none.

        Raises
        ------
        StaleError
            If the run has changed since ``before`` was read.
        """
        run_id = before.run.run_id
        now = _now()
        with self._write() as session:
            written = session.connection().execute(
                update(RunRow)
                .where(RunRow.id == run_id, RunRow.version == before.version)
                .values(
                    version=before.version + 1,
                    state=step.run.state.value,
                    round_number=step.run.round_number,
                    model_sha256=step.run.model_sha256,
                    failure=step.run.failure,
                )
            )
            if written.rowcount != 1:
                raise StaleError
            for effect in step.effects:
                write_effect(session, run_id, step, effect, payload, now=now)

    # Transactions

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        engine = self._engine.execution_options(fraudfed_write=True)
        with self._write_lock, Session(engine) as session, session.begin():
            yield session

    def _check_schema(self, name: str) -> None:
        try:
            with self._read() as session:
                tables = inspect(session.connection()).get_table_names()
                found = (
                    session.scalar(select(MetaRow.value).where(MetaRow.key == _VERSION_KEY))
                    if MetaRow.__tablename__ in tables
                    else None
                )
        except DatabaseError as error:
            raise StateError(
                f"database {name} cannot be read ({error.orig}); restore it from a back-up"
            ) from None
        if found is None:
            raise StateError(
                f"database {name} is not an aggregator's; give the directory that "
                "`aggregator init` made"
            )
        if found != str(SCHEMA_VERSION):
            raise StateError(
                f"database {name} has schema version {found}, this program needs "
                f"{SCHEMA_VERSION}; use the fraudfed release that wrote it"
            )


def _engine(url: str) -> Engine:
    engine = create_engine(
        url,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # Transactions are begun by _begin, not by the driver's own guess.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # A writer takes the lock at once: upgrading a read lock later can end in "database is locked".
    writes = connection.get_execution_options().get("fraudfed_write", False)
    connection.execute(text("BEGIN IMMEDIATE" if writes else "BEGIN"))


def _now() -> int:
    return int(time.time())


def _run_row(session: Session, run_id: str) -> RunRow:
    row = session.get(RunRow, run_id)
    if row is None:
        raise NotFoundError(f"there is no run {run_id!r} at this aggregator; list them to see")
    return row


def _members(session: Session, run_id: str) -> tuple[str, ...]:
    return tuple(sorted(session.scalars(select(MemberRow.bank).where(MemberRow.run_id == run_id))))


def _round(session: Session, run_id: str, number: int) -> machine.Round | None:
    row = session.get(RoundRow, (run_id, number))
    if row is None:
        return None
    contributions = session.execute(
        select(ContributionRow.bank, ContributionRow.sha256)
        .where(ContributionRow.run_id == run_id, ContributionRow.number == number)
        .order_by(ContributionRow.position)
    )
    openings = session.execute(
        select(OpeningRow.bank, OpeningRow.sha256)
        .where(OpeningRow.run_id == run_id, OpeningRow.number == number)
        .order_by(OpeningRow.position)
    )
    return machine.Round(
        number=number,
        terms=machine.Terms(row.label, row.context, row.ciphertexts),
        contributions=tuple((bank, sha256) for bank, sha256 in contributions),
        openings=tuple((bank, sha256) for bank, sha256 in openings),
    )


def _status(session: Session, row: RunRow) -> RunStatus:
    return RunStatus(
        run_id=row.id,
        spec=RunSpec.model_validate_json(row.spec),
        state=RunState(row.state),
        members=_members(session, row.id),
        round_number=row.round_number,
        ciphertexts=row.ciphertexts,
        bytes_received=row.bytes_received,
        model_sha256=row.model_sha256,
        failure=row.failure,
        created_at=row.created_at,
    )
