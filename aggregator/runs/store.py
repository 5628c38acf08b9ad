"""The durable state of all runs.

Every accepted event is one transaction, on disk before it is acknowledged, with its entry in the
audit log. A transaction writes only if the run is still at the version that was read, so that two
threads or processes cannot overwrite each other.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Select, bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from aggregator import run_machine as machine
from aggregator.audit.log import AuditRecord, AuditTrail
from aggregator.caller import Caller
from aggregator.consortium.key_epochs import key_epoch, require_active_epoch
from aggregator.runs.cache import RunCache, Snapshot
from aggregator.runs.effects import Payload, write_effect
from aggregator.runs.rows import read_snapshot, run_row
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import (
    CohortRow,
    ContributionRow,
    ModelRow,
    OpeningRow,
    ProductRow,
    RoundRow,
    RunRow,
    VoteRow,
)
from aggregator.storage.statement import Statement
from aggregator.storage.transaction import Transaction
from fraudfed.errors import RunDescriptionError
from fraudfed.wire import frames
from fraudfed.wire.messages import (
    Generation,
    ModelSignature,
    PublicKeyMessage,
    ReadyBank,
    RoundSummary,
    RunSpec,
    RunState,
    RunStatus,
    WaitsFor,
)


@dataclass(frozen=True)
class Accepted:
    """One accepted event, as it is written: what it does, its bytes and its audit records."""

    step: machine.Transition
    payload: Payload
    records: Sequence[AuditRecord]


class StaleError(Exception):
    """The run changed between reading and writing; read again. Never leaves the service."""


#: With two banks, the sum less a bank's own part is the other bank's.
_LEAST_LEFT = 3
_GOING_ON = frozenset({RunState.OPEN, RunState.TRAINING, RunState.GATHERING})
_CHANGE = (
    update(RunRow)
    .where(RunRow.id == bindparam("of_run"), RunRow.version == bindparam("of_version"))
    .values(
        version=bindparam("version"),
        state=bindparam("state"),
        round_number=bindparam("round_number"),
        generation=bindparam("generation"),
        first_step=bindparam("first_step"),
        first_round=bindparam("first_round"),
        step=bindparam("step"),
        step_round=bindparam("step_round"),
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
_COMMITMENTS = Statement(
    select(ContributionRow.bank, ContributionRow.commitment).where(
        ContributionRow.run_id == bindparam("of_run"),
        ContributionRow.number == bindparam("of_number"),
    )
)
_FRAMES = Statement(
    select(OpeningRow.frame)
    .where(
        OpeningRow.run_id == bindparam("of_run"),
        OpeningRow.number == bindparam("of_number"),
        RoundRow.run_id == OpeningRow.run_id,
        RoundRow.number == OpeningRow.number,
        # Those of a round that is not closed are not all of them.
        RoundRow.closed_at.is_not(None),
    )
    .order_by(OpeningRow.shard)
)


class RunStore:
    """Repository of runs, rounds and models. Safe to use from many threads."""

    def __init__(self, database: Database, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail
        self._cache = RunCache()
        # The key of an epoch never changes.
        self._public_keys: dict[int, PublicKeyMessage] = {}

    # Reading runs

    def create_run(self, spec: RunSpec, caller: Caller) -> str:
        """Store a new open run for its cohort and return its id.

        Raises
        ------
        NotFoundError
            If there is no such key epoch.
        ConflictError
            If the key epoch is not active.
        RunDescriptionError
            If it leaves out a bank that the roster does not have, or fewer than three stay.
        """
        run_id = secrets.token_hex(8)

        def create(written: Transaction) -> None:
            session = written.session
            epoch = require_active_epoch(session, spec.key_epoch)
            cohort = _cohort(spec, tuple(member.name for member in epoch.roster))
            last = session.scalar(select(func.max(RunRow.sequence)))
            session.add(
                RunRow(
                    id=run_id,
                    sequence=(last or 0) + 1,
                    spec=spec.model_dump_json(),
                    key_epoch=spec.key_epoch,
                    state=RunState.OPEN.value,
                    round_number=0,
                    generation=0,
                    first_step=0,
                    first_round=0,
                    step=0,
                    step_round=0,
                    ciphertexts=0,
                    bytes_received=0,
                    version=0,
                    created_at=_now(),
                )
            )
            session.flush()
            session.add_all(
                CohortRow(
                    run_id=run_id,
                    bank=bank,
                    takes_part=1,
                    is_entrant=0,
                    was_there=0,
                    waits=0,
                    drops=0,
                    more_rows=0,
                    ready_key="",
                    ready_signature="",
                )
                for bank in cohort
            )
            left_out = f" without {', '.join(spec.without)}" if spec.without else ""
            detail = (
                f"key epoch {spec.key_epoch}, {len(cohort)} banks{left_out}, model for "
                f"{spec.model_visibility}: {spec.name}"
            )
            self._trail.note(written, caller, "run-created", f"run/{run_id}", detail)

        self._database.transaction("create-run", Kind.WRITE, create)
        return run_id

    def public_key(self, run_id: str) -> PublicKeyMessage:
        """Return the public key that a run's ciphertexts are made with.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        return self._database.transaction(
            "public-key",
            Kind.READ,
            lambda read: self._public_key(read.session, run_row(read.session, run_id).key_epoch),
        )

    def active(self) -> tuple[str, ...]:
        """Return the runs that have not ended."""
        return self._active(select(RunRow.id))

    def active_with(self, bank: str) -> tuple[str, ...]:
        """Return the runs that have not ended and have a bank in their cohort."""
        of_cohort = select(RunRow.id).join(CohortRow, CohortRow.run_id == RunRow.id)
        return self._active(of_cohort.where(CohortRow.bank == bank))

    def _active(self, query: Select[str]) -> tuple[str, ...]:
        going_on = RunRow.state.in_([state.value for state in _GOING_ON])
        query = query.where(going_on).order_by(RunRow.sequence)
        return self._database.transaction(
            "active-runs", Kind.READ, lambda read: tuple(read.connection.scalars(query))
        )

    def status(self, run_id: str) -> RunStatus:
        """Return the public status of a run.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        return self._database.transaction(
            "run-status",
            Kind.READ,
            lambda read: self._status(read.session, run_row(read.session, run_id)),
        )

    def statuses(self, *, visible_to: str | None) -> tuple[RunStatus, ...]:
        """Return the runs of a bank's cohorts (None: all, for the operator), newest first."""
        query = select(RunRow).order_by(RunRow.sequence.desc())
        if visible_to is not None:
            query = query.where(
                exists().where(CohortRow.run_id == RunRow.id, CohortRow.bank == visible_to)
            )
        return self._database.transaction(
            "list-runs",
            Kind.READ,
            lambda read: tuple(
                self._status(read.session, row) for row in read.session.scalars(query)
            ),
        )

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
            self._cache.snapshots.forget(run_id)
        found = self._cache.snapshots.find(run_id, round_number)
        if found is None:
            found, number = self._read_snapshot(run_id, round_number)
            self._cache.was_read(found, number)
        return found

    def _read_snapshot(self, run_id: str, round_number: int | None) -> tuple[Snapshot, int]:
        return self._database.transaction(
            "run-snapshot",
            Kind.READ,
            lambda read: read_snapshot(read.session, run_row(read.session, run_id), round_number),
        )

    def product(self, run_id: str, number: int) -> bytes | None:
        """Return the running product of a round, None before the first contribution or later."""
        return self._cache.products.get(run_id, number, self._read_product)

    def _read_product(self, run_id: str, number: int) -> bytes | None:
        wanted = {"of_run": run_id, "of_number": number}
        found = self._database.transaction(
            "product", Kind.READ, lambda read: _PRODUCT.row(read.connection, wanted)
        )
        return None if found is None else found[0]

    def commitments(self, run_id: str, number: int) -> tuple[str, ...] | None:
        """Return the commitments of a round that all banks contributed to, in their order.

        None if they were deleted. They no longer change, so they are remembered.
        """
        joined = self._cache.commitments.get(run_id, number, self._read_commitments)
        return None if joined is None else tuple(joined.decode().split())

    def _read_commitments(self, run_id: str, number: int) -> bytes | None:
        wanted = {"of_run": run_id, "of_number": number}
        stored = self._database.transaction(
            "commitments", Kind.READ, lambda read: _COMMITMENTS.rows(read.connection, wanted)
        )
        # The banks of a generation are sorted by name.
        return " ".join(commitment for _, commitment in sorted(stored)).encode() or None

    def openings(self, run_id: str, number: int) -> bytes | None:
        """Return the openings of a closed round joined in shard order.

        None if it is not closed, or if they were deleted.

        All banks get the same bytes: one object, however many of them fetch it at once.
        """
        return self._cache.openings.get(run_id, number, self._read_openings)

    def _read_openings(self, run_id: str, number: int) -> bytes | None:
        wanted = {"of_run": run_id, "of_number": number}
        stored = self._database.transaction(
            "openings", Kind.READ, lambda read: _FRAMES.rows(read.connection, wanted)
        )
        return frames.encode_many([frame for (frame,) in stored]) if stored else None

    def round_summaries(self, run_id: str, *, start: int, limit: int) -> tuple[RoundSummary, ...]:
        """Return what is on record of rounds ``start`` and later, at most ``limit`` of them."""
        query = (
            select(RoundRow)
            .where(RoundRow.run_id == run_id, RoundRow.number >= start)
            .order_by(RoundRow.number)
            .limit(limit)
        )

        def summaries(read: Transaction) -> tuple[RoundSummary, ...]:
            run_row(read.session, run_id)
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
                    abandoned_at=row.abandoned_at,
                    generation=row.generation,
                    step=row.step,
                )
                for row in read.session.scalars(query)
            )

        return self._database.transaction("list-rounds", Kind.READ, summaries)

    def model(self, sha256: str) -> bytes | None:
        """Return the bytes of an accepted model."""
        query = select(ModelRow.content).where(ModelRow.sha256 == sha256)
        return self._database.transaction(
            "model", Kind.READ, lambda read: read.connection.scalar(query)
        )

    def model_signatures(self, run_id: str) -> tuple[str, tuple[ModelSignature, ...]]:
        """Return the plain hash that the banks of a finished run signed, and their signatures."""
        query = select(VoteRow).where(VoteRow.run_id == run_id).order_by(VoteRow.bank)

        def signatures(read: Transaction) -> tuple[str, tuple[ModelSignature, ...]]:
            votes = read.session.scalars(query).all()
            return votes[0].plain_sha256, tuple(
                ModelSignature(bank=vote.bank, signature=vote.signature) for vote in votes
            )

        return self._database.transaction("model-signatures", Kind.READ, signatures)

    # Writing runs

    def commit(self, before: Snapshot, accepted: Sequence[Accepted]) -> None:
        """Make all effects of transitions durable with their audit records, or none.

        Parameters
        ----------
        before : Snapshot
            What the first transition was decided on.
        accepted : sequence of Accepted
            At least one; each is decided on what the one before it leaves.

        Raises
        ------
        StaleError
            If the run has changed since ``before`` was read.
        """
        mark = self._cache.products.mark
        try:
            self._write(before, accepted)
        except BaseException:
            self._cache.commit_failed(before.run.run_id)
            raise
        for one in accepted:
            self._cache.was_committed(before, one.step, one.payload, mark=mark)
            before = replace(before, run=one.step.run, version=before.version + 1)

    # Changes of other processes

    def versions(self) -> dict[str, int]:
        """Return the versions that all remembered runs have in the database."""
        query = select(RunRow.id, RunRow.version).where(
            RunRow.id.in_(self._cache.snapshots.known())
        )
        return self._database.transaction(
            "run-versions",
            Kind.READ,
            lambda read: {row.id: row.version for row in read.connection.execute(query)},
        )

    def was_changed_elsewhere(self, run_id: str, version: int) -> None:
        """Forget what is remembered of a run that another process has brought to a version."""
        self._cache.was_changed_elsewhere(run_id, version)

    def _write(self, before: Snapshot, accepted: Sequence[Accepted]) -> None:
        run, now = accepted[-1].step.run, _now()
        version = before.version + len(accepted)
        statement = _RUN_CHANGED if run.state in _GOING_ON else _RUN_ENDED
        row = {
            "of_run": run.run_id,
            "of_version": before.version,
            "version": version,
            "state": run.state.value,
            "round_number": run.round_number,
            "generation": run.generation,
            "first_step": run.first_step,
            "first_round": run.first_round,
            "step": run.step,
            "step_round": run.step_round,
            "model_sha256": run.model_sha256,
            "failure": run.failure,
            "more_bytes": sum(one.payload.received_bytes for one in accepted),
            "more_ciphertexts": sum(
                one.step.round.terms.count
                for one in accepted
                if one.step.round and one.step.has(machine.ContributionAccepted)
            ),
            "now": now,
        }

        def write(written: Transaction) -> None:
            if statement.change(written.connection, row) != 1:
                raise StaleError
            for one in accepted:
                for effect in one.step.effects:
                    write_effect(written.connection, one.step, effect, one.payload, now=now)
                for record in one.records:
                    self._trail.append(written, record)
            wakes = any(one.step.wakes for one in accepted)
            written.announce(run.run_id, version=version, wakes=wakes)

        self._database.transaction("change-run", Kind.WRITE, write)

    # Parts

    def _public_key(self, session: Session, epoch: int) -> PublicKeyMessage:
        # Within the caller's transaction: it holds a connection, and must not wait for another.
        if epoch not in self._public_keys:
            self._public_keys[epoch] = key_epoch(session, epoch).public_key
        return self._public_keys[epoch]

    def _status(self, session: Session, row: RunRow) -> RunStatus:
        snapshot, _ = read_snapshot(session, row, None)
        run, current = snapshot.run, snapshot.round
        stage = machine.stage_of(run, current)
        return RunStatus(
            run_id=row.id,
            spec=RunSpec.model_validate_json(row.spec),
            state=run.state,
            cohort=run.cohort,
            public_key=self._public_key(session, row.key_epoch),
            members=run.members,
            generation=Generation(
                number=run.generation,
                banks=run.banks,
                entrants=run.entrants,
                ready=tuple(
                    ReadyBank(
                        bank=one.bank,
                        step=one.step,
                        more_rows=one.more_rows,
                        key=one.key,
                        signature=one.signature,
                    )
                    for one in run.ready
                ),
                first_step=run.first_step,
                first_round=run.first_round,
            ),
            waiting=run.waiting,
            waits_for=None
            if stage is None
            else WaitsFor(what=stage.kind.value, banks=stage.missing),
            contributed=()
            if current is None
            else tuple(sorted(bank for bank, _ in current.contributions)),
            round_number=row.round_number,
            ciphertexts=row.ciphertexts,
            bytes_received=row.bytes_received,
            model_sha256=row.model_sha256,
            failure=row.failure,
            created_at=row.created_at,
        )


def _now() -> int:
    return int(time.time())


def _cohort(spec: RunSpec, roster: tuple[str, ...]) -> tuple[str, ...]:
    """Return the banks of a run; raises RunDescriptionError as ``RunStore.create_run``."""
    foreign = sorted(set(spec.without) - set(roster))
    if foreign:
        raise RunDescriptionError(
            f"without: {', '.join(foreign)} is not in the roster of key epoch {spec.key_epoch}, "
            f"expected some of {', '.join(roster)}"
        )
    cohort = tuple(bank for bank in roster if bank not in spec.without)
    if spec.without and len(cohort) < _LEAST_LEFT:
        raise RunDescriptionError(
            f"without: leaves {len(cohort)} banks, expected at least {_LEAST_LEFT}: the sum of two "
            "banks less a bank's own part is the other bank's"
        )
    return cohort
