"""Pinning a run: its description never changes after this bank first saw it."""

from bank_node.approval.digest import canonical_bytes, differences
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import ConflictError
from fraudfed.wire.messages import RunStatus


def pin_run(state: StateDirectory, status: RunStatus) -> PinnedRun:
    """Keep the run's description on first sight, and refuse any other later.

    Raises
    ------
    ConflictError
        If the aggregator now describes the run differently.
    ProtocolError
        As ``canonical_bytes``.
    """
    seen, pinned = PinnedRun.of(status), state.pinned_run(status.run_id)
    # Also where nothing is compared: what has no canonical bytes cannot be agreed to.
    description = canonical_bytes(seen)
    if pinned is None:
        state.pin_run(seen)
    elif description != canonical_bytes(pinned):
        changed = differences(pinned, seen)
        raise ConflictError(
            f"run {status.run_id}: the aggregator changed {', '.join(changed)} since this bank "
            "first saw the run; nothing was sent: ask the operator for a new run"
        )
    return seen
