"""A run and one round of it, from the rows that hold them."""

from collections.abc import Callable

from sqlalchemy import select
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
from fraudfed.errors import NotFoundError
from fraudfed.wire.messages import RunSpec, RunState


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
    votes = session.scalars(
        select(VoteRow).where(VoteRow.run_id == row.id).order_by(VoteRow.position)
    )
    run = _read_run(
        session,
        row,
        votes=tuple(
            (vote.bank, machine.ModelHashes(vote.sha256, vote.plain_sha256)) for vote in votes
        ),
    )
    number = row.round_number if round_number is None else round_number
    return Snapshot(run, _read_round(session, row.id, number), row.version), number


def _read_run(
    session: Session, row: RunRow, *, votes: tuple[tuple[str, machine.ModelHashes], ...]
) -> machine.Run:
    query = select(CohortRow).where(CohortRow.run_id == row.id)
    banks = sorted(session.scalars(query), key=lambda one: one.bank)
    spec = RunSpec.model_validate_json(row.spec)

    def those(is_meant: Callable[[CohortRow], object]) -> tuple[str, ...]:
        return tuple(one.bank for one in banks if is_meant(one))

    return machine.Run(
        run_id=row.id,
        cohort=those(lambda one: True),  # noqa: ARG005 - all of them
        least_banks=min(spec.min_cohort, len(banks)),
        max_rejoins=spec.max_rejoins,
        state=RunState(row.state),
        members=those(lambda one: one.joined_at is not None),
        generation=row.generation,
        banks=those(lambda one: one.takes_part),
        entrants=those(lambda one: one.is_entrant),
        before=those(lambda one: one.was_there),
        waiting=those(lambda one: one.waits),
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
        votes=votes,
        model_sha256=row.model_sha256,
        failure=row.failure,
    )


def _read_round(session: Session, run_id: str, number: int) -> machine.Round | None:
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
        terms=machine.Terms(row.label, row.context, row.ciphertexts, row.step),
        contributions=tuple((bank, sha256) for bank, sha256 in contributions),
        openings=tuple((bank, sha256) for bank, sha256 in openings),
        closed=row.closed_at is not None,
    )
