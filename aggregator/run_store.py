"""The durable state of all runs.

Every accepted event is one transaction, on disk before it is acknowledged, with its entry in the
audit log. A transaction writes only if the run is still at the version that was read, so that two
threads or processes cannot overwrite each other.
"""

import secrets
import time
from collections.abc import Iterable
from functools import lru_cache

from sqlalchemy import bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from aggregator import run_machine as machine
from aggregator.audit import AuditRecord, AuditTrail
from aggregator.caller import Caller
from aggregator.database import Database
from aggregator.effects import Payload, write_effect
from aggregator.key_epochs import key_epoch, require_active_epoch
from aggregator.latest_bytes import LatestBytes
from aggregator.schema import (
    CohortRow,
    ContributionRow,
    ModelRow,
    OpeningRow,
    ProductRow,
    RoundRow,
    RunRow,
    VoteRow,
)
from aggregator.snapshots import Snapshot, Snapshots
from aggregator.statement import Statement
from fraudfed.errors import NotFoundError
from fraudfed.wire import frames
from fraudfed.wire.messages import (
    ModelSignature,
    PublicKeyMessage,
    RoundSummary,
    RunSpec,
    RunState,
    RunStatus,
)

__all__ = ["RunStore", "StaleError"]


class StaleError(Exception):
    """The run changed between reading and writing; read again. Never leaves the service."""


_GOING_ON = frozenset({RunState.OPEN, RunState.TRAINING})
_CHANGE = (
    update(RunRow)
    .where(RunRow.id == bindparam("of_run"), RunRow.version == bindparam("of_version"))
    .values(
        version=bindparam("version"),
        state=bindparam("state"),
        round_number=bindparam("round_number"),
        model_sha256=bindparam("model_sha256"),
        failure=bindparam("failure"),
        bytes_received=RunRow.bytes_received + bindparam("more_bytes"),
        ciphertexts=RunRow.ciphertexts + bindparam("more_ciphertexts"),
    )
)
_RUN_CHANGED = Statement(_CHANGE)
_RUN_ENDED = Statement(_CHANGE.values(ended_at=bindparam("now")))
_PRODUCT = Statement(
    select(ProductRow.data).where(
        ProductRow.run_id == bindparam("of_run"), ProductRow.number == bindparam("of_number")
    )
)
_FRAMES = Statement(
    select(OpeningRow.frame)
    .where(OpeningRow.run_id == bindparam("of_run"), OpeningRow.number == bindparam("of_number"))
    .order_by(OpeningRow.shard)
)


class RunStore:
    """Repository of runs, rounds and models. Safe to use from many threads."""

    def __init__(self, database: Database, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail
        self._snapshots = Snapshots()
        self._products = LatestBytes()
        self._openings = LatestBytes()
        # The key of an epoch never changes.
        self._public_key = lru_cache(maxsize=64)(self._read_public_key)

    # Reading runs

    def create_run(self, spec: RunSpec, caller: Caller) -> str:
        """Store a new open run for the roster of its key epoch and return its id.

        Raises
        ------
        NotFoundError
            If there is no such key epoch.
        ConflictError
            If the key epoch is not active.
        """
        run_id = secrets.token_hex(8)
        with self._database.write() as session:
            epoch = require_active_epoch(session, spec.key_epoch)
            last = session.scalar(select(func.max(RunRow.sequence)))
            session.add(
                RunRow(
                    id=run_id,
                    sequence=(last or 0) + 1,
                    spec=spec.model_dump_json(),
                    key_epoch=spec.key_epoch,
                    state=RunState.OPEN.value,
                    round_number=0,
                    ciphertexts=0,
                    bytes_received=0,
                    version=0,
                    created_at=_now(),
                )
            )
            session.flush()
            session.add_all(CohortRow(run_id=run_id, bank=member.name) for member in epoch.roster)
            session.flush()
            self._trail.append(
                session.connection(),
                AuditRecord(
                    kind="run-created",
                    actor=caller.actor,
                    subject=f"run/{run_id}",
                    detail=f"key epoch {spec.key_epoch}, {len(epoch.roster)} banks, model for "
                    f"{spec.model_visibility}: {spec.name}",
                    body_sha256=caller.body_sha256,
                ),
            )
        return run_id

    def public_key(self, run_id: str) -> PublicKeyMessage:
        """Return the public key that a run's ciphertexts are made with.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        with self._database.read() as session:
            epoch = _run_row(session, run_id).key_epoch
        return self._public_key(epoch)

    def active_with(self, bank: str) -> tuple[str, ...]:
        """Return the runs that have not ended and have a bank in their cohort."""
        with self._database.read() as session:
            return tuple(
                session.scalars(
                    select(RunRow.id)
                    .join(CohortRow, CohortRow.run_id == RunRow.id)
                    .where(
                        CohortRow.bank == bank,
                        RunRow.state.in_([RunState.OPEN.value, RunState.TRAINING.value]),
                    )
                    .order_by(RunRow.sequence)
                )
            )

    def status(self, run_id: str) -> RunStatus:
        """Return the public status of a run.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        with self._database.read() as session:
            return self._status(session, _run_row(session, run_id))

    def statuses(self, *, visible_to: str | None) -> tuple[RunStatus, ...]:
        """Return the runs of a bank's cohorts (None: all, for the operator), newest first."""
        query = select(RunRow).order_by(RunRow.sequence.desc())
        if visible_to is not None:
            query = query.where(
                exists().where(CohortRow.run_id == RunRow.id, CohortRow.bank == visible_to)
            )
        with self._database.read() as session:
            return tuple(self._status(session, row) for row in session.scalars(query))

    def snapshot(
        self, run_id: str, round_number: int | None = None, *, fresh: bool = False
    ) -> Snapshot:
        """Return a run with one round of it.

        Parameters
        ----------
        round_number : int or None
            None for the current round.
        fresh : bool
            Read the database, whatever is remembered.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        if fresh:
            self._snapshots.forget(run_id)
        found = self._snapshots.find(run_id, round_number)
        if found is None:
            # Whoever has changed the run has changed its product, too.
            self._products.forget(run_id)
            found, number = self._read_snapshot(run_id, round_number)
            self._snapshots.was_read(found, number)
        return found

    def _read_snapshot(self, run_id: str, round_number: int | None) -> tuple[Snapshot, int]:
        with self._database.read() as session:
            row = _run_row(session, run_id)
            votes = session.scalars(
                select(VoteRow).where(VoteRow.run_id == run_id).order_by(VoteRow.position)
            )
            run = machine.Run(
                run_id=row.id,
                cohort=_cohort(session, run_id),
                state=RunState(row.state),
                members=_members(session, run_id),
                round_number=row.round_number,
                votes=tuple(
                    (vote.bank, machine.ModelHashes(vote.sha256, vote.plain_sha256))
                    for vote in votes
                ),
                model_sha256=row.model_sha256,
                failure=row.failure,
            )
            number = row.round_number if round_number is None else round_number
            return Snapshot(run, _round(session, run_id, number), row.version), number

    def product(self, run_id: str, number: int) -> bytes | None:
        """Return the running product of a round, None before the first contribution or later."""
        return self._products.get(run_id, number, self._read_product)

    def _read_product(self, run_id: str, number: int) -> bytes | None:
        with self._database.read_rows() as connection:
            found = _PRODUCT.row(connection, {"of_run": run_id, "of_number": number})
        return None if found is None else found[0]

    def openings(self, run_id: str, number: int) -> bytes | None:
        """Return the openings of a closed round joined in shard order, None if they were deleted.

        All banks get the same bytes: one object, however many of them fetch it at once.
        """
        return self._openings.get(run_id, number, self._read_openings)

    def _read_openings(self, run_id: str, number: int) -> bytes | None:
        with self._database.read_rows() as connection:
            stored = _FRAMES.rows(connection, {"of_run": run_id, "of_number": number})
        kept = [frame for (frame,) in stored if frame is not None]
        return frames.encode_many(kept) if len(kept) == len(stored) else None

    def round_summaries(self, run_id: str, *, start: int, limit: int) -> tuple[RoundSummary, ...]:
        """Return what is on record of rounds ``start`` and later, at most ``limit`` of them."""
        with self._database.read() as session:
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
        with self._database.read() as session:
            return session.scalar(select(ModelRow.content).where(ModelRow.sha256 == sha256))

    def model_signatures(self, run_id: str) -> tuple[str, tuple[ModelSignature, ...]]:
        """Return the plain hash that the banks of a finished run signed, and their signatures."""
        with self._database.read() as session:
            votes = session.scalars(
                select(VoteRow).where(VoteRow.run_id == run_id).order_by(VoteRow.bank)
            ).all()
            return votes[0].plain_sha256, tuple(
                ModelSignature(bank=vote.bank, signature=vote.signature) for vote in votes
            )

    # Writing runs

    def commit(
        self,
        before: Snapshot,
        step: machine.Transition,
        payload: Payload,
        records: Iterable[AuditRecord],
    ) -> None:
        """Make all effects of a transition durable with their audit records, or none.

        Raises
        ------
        StaleError
            If the run has changed since ``before`` was read.
        """
        run = step.run
        try:
            self._write(before, step, payload, records)
        except BaseException:
            # Whether or not it is in the database after all: read it there.
            self._snapshots.forget(run.run_id)
            self._products.forget(run.run_id)
            raise
        self._snapshots.was_committed(before, step)
        for effect in step.effects:
            if isinstance(effect, machine.ContributionAccepted) and payload.product is not None:
                self._products.keep(run.run_id, effect.number, payload.product)
            elif isinstance(effect, machine.PayloadsExpired):
                self._products.forget(run.run_id, before=effect.before)
                self._openings.forget(run.run_id, before=effect.before)

    def _write(
        self,
        before: Snapshot,
        step: machine.Transition,
        payload: Payload,
        records: Iterable[AuditRecord],
    ) -> None:
        run, now = step.run, _now()
        contributed = any(isinstance(e, machine.ContributionAccepted) for e in step.effects)
        with self._database.write_rows() as connection:
            statement = _RUN_CHANGED if run.state in _GOING_ON else _RUN_ENDED
            written = statement.change(
                connection,
                {
                    "of_run": run.run_id,
                    "of_version": before.version,
                    "version": before.version + 1,
                    "state": run.state.value,
                    "round_number": run.round_number,
                    "model_sha256": run.model_sha256,
                    "failure": run.failure,
                    "more_bytes": payload.received_bytes,
                    "more_ciphertexts": step.round.terms.count if contributed and step.round else 0,
                    "now": now,
                },
            )
            if written != 1:
                raise StaleError
            for effect in step.effects:
                write_effect(connection, step, effect, payload, now=now)
            for record in records:
                self._trail.append(connection, record)

    # Parts

    def _read_public_key(self, epoch: int) -> PublicKeyMessage:
        with self._database.read() as session:
            return key_epoch(session, epoch).public_key

    def _status(self, session: Session, row: RunRow) -> RunStatus:
        return RunStatus(
            run_id=row.id,
            spec=RunSpec.model_validate_json(row.spec),
            state=RunState(row.state),
            cohort=_cohort(session, row.id),
            public_key=self._public_key(row.key_epoch),
            members=_members(session, row.id),
            round_number=row.round_number,
            ciphertexts=row.ciphertexts,
            bytes_received=row.bytes_received,
            model_sha256=row.model_sha256,
            failure=row.failure,
            created_at=row.created_at,
        )


def _now() -> int:
    return int(time.time())


def _run_row(session: Session, run_id: str) -> RunRow:
    row = session.get(RunRow, run_id)
    if row is None:
        raise NotFoundError(f"there is no run {run_id!r} at this aggregator; list them to see")
    return row


def _cohort(session: Session, run_id: str) -> tuple[str, ...]:
    return tuple(sorted(session.scalars(select(CohortRow.bank).where(CohortRow.run_id == run_id))))


def _members(session: Session, run_id: str) -> tuple[str, ...]:
    joined = select(CohortRow.bank).where(
        CohortRow.run_id == run_id, CohortRow.joined_at.is_not(None)
    )
    return tuple(sorted(session.scalars(joined)))


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
