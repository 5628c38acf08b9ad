"""What every transition checks first, and how a run fails."""

from collections.abc import Iterable
from dataclasses import replace

from aggregator.run_machine.events import OpeningsExpired, ProductsExpired, RunFailed, Transition
from aggregator.run_machine.state import Round, Run
from fraudfed.errors import CohortChangedError, ConflictError, ForbiddenError, RunFailedError
from fraudfed.wire.messages import RunState


def require_active_member(run: Run, bank: str) -> None:
    """Raise ``ForbiddenError`` for a non-member, ``RunFailedError`` if the run has failed."""
    require_member(run, bank)
    refuse_failed(run)


def require_member(run: Run, bank: str) -> None:
    """Raise ``ForbiddenError`` for a bank that never joined."""
    if bank not in run.members:
        raise ForbiddenError(f"{bank} is no member of run {run.run_id}; join it first")


def refuse_failed(run: Run) -> None:
    """Raise ``RunFailedError`` if the run has failed."""
    if run.state is RunState.FAILED:
        raise RunFailedError(f"run {run.run_id} has failed: {run.failure}")


def require_training(run: Run, *, what: str) -> None:
    """Raise ``ConflictError`` before the start and after the end."""
    if run.state is RunState.OPEN:
        missing = [bank for bank in run.banks if bank not in run.members]
        raise ConflictError(
            f"run {run.run_id}: {what} refused, the run waits for {len(missing)} more of "
            f"{run.size} banks"
        )
    if run.state not in {RunState.TRAINING, RunState.GATHERING}:
        raise ConflictError(f"run {run.run_id}: {what} refused, the run is {run.state}")


def require_together(run: Run, bank: str, *, what: str, number: int | None = None) -> None:
    """Raise ``CohortChangedError`` where others take part now than the sender believes."""
    if run.state is RunState.GATHERING:
        raise CohortChangedError(
            f"run {run.run_id}: {what} refused, generation {run.generation} is being formed by "
            f"{', '.join(run.banks)}; agree to it, or join again"
        )
    if bank not in run.banks:
        raise CohortChangedError(
            f"run {run.run_id}: {what} refused, {bank} does not take part in generation "
            f"{run.generation}; join again"
        )
    if number is not None and number < run.first_round:
        raise CohortChangedError(
            f"run {run.run_id}: {what} refused, generation {run.generation} began with round "
            f"{run.first_round}; go on from there"
        )


def require_current(run: Run, bank: str, generation: int, *, what: str) -> None:
    """Refuse an answer to another generation than the current one, or of a bank outside it.

    Raises
    ------
    ForbiddenError, RunFailedError
        As ``require_active_member``.
    ConflictError
        As ``require_training``, or if the generation is of the future.
    CohortChangedError
        If other banks take part now than the sender believes.
    """
    require_active_member(run, bank)
    require_training(run, what=what)
    if generation > run.generation:
        raise ConflictError(
            f"run {run.run_id}: {what} refused, the run is at generation {run.generation}"
        )
    if generation < run.generation or bank not in run.banks:
        raise CohortChangedError(
            f"run {run.run_id}: {what} refused, generation {run.generation} is of "
            f"{names(run.banks)} now"
        )


def require_same(known: str, digest: str, *, what: str, run: Run) -> None:
    """Raise ``ConflictError`` if something else was accepted before."""
    if known != digest:
        raise ConflictError(
            f"run {run.run_id}: another {what} was accepted from this bank: sha256 {known}, "
            f"this one has {digest}; what was accepted is never replaced"
        )


def names(banks: Iterable[str]) -> str:
    """Return names for a message."""
    return ", ".join(sorted(banks))


def fail(
    run: Run, addressed: Round | None, reason: str, *, effect: type[RunFailed] = RunFailed
) -> Transition:
    """End a run without a model."""
    failed = replace(run, state=RunState.FAILED, failure=reason)
    end = run.round_number + 1
    return Transition(
        failed, addressed, (effect(reason), ProductsExpired(end), OpeningsExpired(end))
    )
