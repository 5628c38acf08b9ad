"""Pinning a run: its description never changes after this bank first saw it."""

from bank_node.state.directory import PinnedRun, StateDirectory
from fraudfed.errors import ConflictError
from fraudfed.wire.messages import RunStatus


def pin_run(state: StateDirectory, status: RunStatus) -> PinnedRun:
    """Keep the run's description on first sight, and refuse any other later.

    Raises
    ------
    ConflictError
        If the aggregator now describes the run differently.
    """
    seen, pinned = PinnedRun.of(status), state.pinned_run(status.run_id)
    if pinned is None:
        state.pin_run(seen)
    elif pinned != seen:
        changed = [
            name
            for name in type(seen.spec).model_fields
            if getattr(pinned.spec, name) != getattr(seen.spec, name)
        ]
        changed += [
            name
            for name in ("cohort", "public_key")
            if getattr(pinned, name) != getattr(seen, name)
        ]
        raise ConflictError(
            f"run {status.run_id}: the aggregator changed {', '.join(changed)} since this bank "
            "first saw the run; nothing was sent: ask the operator for a new run"
        )
    return seen
