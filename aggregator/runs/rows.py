"""A run and one round of it, from the rows that hold them."""

from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session

from aggregator import run_machine as machine
from aggregator.runs.cache import Snapshot
from aggregator.storage.schema import (
    CohortRow,
    ContributionRow,
    OpeningRow,
    RoundRow,
    RunRow,
    VoteRow,
)
from aggregator.storage.statement import Statement
from fraudfed.errors import NotFoundError
from fraudfed.wire.messages import RunSpec, RunState


class _Bank(NamedTuple):
    """The columns of a bank of a cohort that its run is made of, in the order of the query."""

    bank: str
    joined_at: int | None
    takes_part: int
    is_entrant: int
    was_there: int
    waits: int
    drops: int
    ready_step: int | None
    more_rows: int
    ready_key: str
    ready_signature: str


_COHORT = Statement(
    select(*(getattr(CohortRow, name) for name in _Bank._fields)).where(
        CohortRow.run_id == bindparam("of_run")
    )
)
_VOTES = Statement(
    select(VoteRow.bank, VoteRow.sha256, VoteRow.plain_sha256)
    .where(VoteRow.run_id == bindparam("of_run"))
    .order_by(VoteRow.position)
)
_ROUND = Statement(
    select(
        RoundRow.label, RoundRow.context, RoundRow.ciphertexts, RoundRow.step, RoundRow.closed_at
    ).where(RoundRow.run_id == bindparam("of_run"), RoundRow.number == bindparam("of_number"))
)
_CONTRIBUTIONS, _OPENINGS = (
    Statement(
        select(table.bank, table.sha256)
        .where(table.run_id == bindparam("of_run"), table.number == bindparam("of_number"))
        .order_by(table.position)
    )
    for table in (ContributionRow, OpeningRow)
)


def run_row(session: Session, run_id: str) -> RunRow:
    """Return the row of a run.

    Raises
    ------
    NotFoundError
        If there is no such run.
    """
    row = session.get(RunRow, run_id)
    if row is None:
        raise NotFoundError(f"there is no run {run_id!r} at this aggregator; list them to see")
    return row


def read_snapshot(session: Session, row: RunRow, round_number: int | None) -> tuple[Snapshot, int]:
    """Return a run with one round of it, the current one without a number; and the number."""
    # By the connection: of a hundred banks, objects for all rows take ten times as long.
    connection = session.connection()
    of_run = {"of_run": row.id}
    run = _run_of(row, _COHORT.rows(connection, of_run), _VOTES.rows(connection, of_run))
    number = row.round_number if round_number is None else round_number
    return Snapshot(run, _read_round(connection, row.id, number), row.version), number


@lru_cache(maxsize=64)
def _spec_of(text: str) -> RunSpec:
    """Return a run's description, which never changes and may have thousands of features."""
    return RunSpec.model_validate_json(text)


def _run_of(
    row: RunRow, cohort: list[tuple[Any, ...]], votes: list[tuple[Any, ...]]
) -> machine.Run:
    banks = sorted(_Bank(*one) for one in cohort)
    spec = _spec_of(row.spec)
    return machine.Run(
        run_id=row.id,
        cohort=tuple(one.bank for one in banks),
        least_banks=min(spec.min_cohort, len(banks)),
        max_rejoins=spec.max_rejoins,
        state=RunState(row.state),
        members=tuple(one.bank for one in banks if one.joined_at is not None),
        generation=row.generation,
        banks=tuple(one.bank for one in banks if one.takes_part),
        entrants=tuple(one.bank for one in banks if one.is_entrant),
        before=tuple(one.bank for one in banks if one.was_there),
        waiting=tuple(one.bank for one in banks if one.waits),
        ready=tuple(
            machine.Readiness(
                one.bank, one.ready_step, one.more_rows, one.ready_key, one.ready_signature
            )
            for one in banks
            if one.ready_step is not None
        ),
        drops=tuple((one.bank, one.drops) for one in banks if one.drops),
        first_step=row.first_step,
        first_round=row.first_round,
        step=row.step,
        step_round=row.step_round,
        round_number=row.round_number,
        votes=tuple((bank, machine.ModelHashes(stored, plain)) for bank, stored, plain in votes),
        model_sha256=row.model_sha256,
        failure=row.failure,
    )


def _read_round(connection: Connection, run_id: str, number: int) -> machine.Round | None:
    wanted = {"of_run": run_id, "of_number": number}
    found = _ROUND.row(connection, wanted)
    if found is None:
        return None
    label, context, ciphertexts, step, closed_at = found
    return machine.Round(
        number=number,
        terms=machine.Terms(label, context, ciphertexts, step),
        contributions=tuple(
            (bank, sha256) for bank, sha256 in _CONTRIBUTIONS.rows(connection, wanted)
        ),
        openings=tuple((bank, sha256) for bank, sha256 in _OPENINGS.rows(connection, wanted)),
        closed=closed_at is not None,
    )
