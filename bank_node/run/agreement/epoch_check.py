"""Checking that a run uses the cohort and the key of this bank's latest key epoch."""

from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import CohortError, KeyMaterialError
from fraudfed.wire.messages import KeyEpoch


def check_epoch(run: PinnedRun, key_epoch: KeyEpoch, *, latest: int) -> None:
    """Refuse a run whose cohort or key is not that of this bank's latest key epoch.

    Parameters
    ----------
    run : PinnedRun
    key_epoch : KeyEpoch
        The run's, as this bank accepted it.
    latest : int
        The latest epoch whose key this bank holds.

    Raises
    ------
    KeyMaterialError
        If the run uses an older epoch, or another key than the epoch's.
    CohortError
        If its cohort is not the epoch's roster less the banks that the run leaves out.
    """
    where = f"run {run.spec.name!r}"
    if key_epoch.epoch < latest:
        raise KeyMaterialError(
            f"{where}: uses key epoch {key_epoch.epoch}, this bank holds epoch {latest} already; "
            "an old key is never used again: ask for a run with the latest epoch"
        )
    if run.public_key != key_epoch.public_key:
        raise KeyMaterialError(
            f"{where}: uses public key {run.public_key.fingerprint[:16]}..., key epoch "
            f"{key_epoch.epoch} has {key_epoch.public_key.fingerprint[:16]}...; the aggregator is "
            "at fault"
        )
    roster = tuple(member.name for member in key_epoch.roster)
    left_out = run.spec.without
    if run.cohort != tuple(bank for bank in roster if bank not in left_out):
        without = f" and the run leaves out {', '.join(left_out)}" if left_out else ""
        raise CohortError(
            f"{where}: the aggregator says that the cohort is {', '.join(run.cohort) or 'nobody'}, "
            f"key epoch {key_epoch.epoch} is signed for {', '.join(roster)}{without}; the "
            "aggregator is at fault"
        )
