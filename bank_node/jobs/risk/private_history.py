"""Whether the tables that a training names carry noise, by what this bank itself holds of them."""

from bank_node.jobs.risk.history import risk_files
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import ConfigurationError
from fraudfed.privacy.terms import History


def check_private_history(run: PinnedRun, state: StateDirectory) -> None:
    """Refuse ``history: dp-tables`` unless all tables of the contract carry noise.

    Raises
    ------
    ConfigurationError
        If this bank does not hold one of them, or one is exact.
    StateError
        If a file of tables is damaged.
    """
    privacy = run.spec.privacy
    if privacy is None or privacy.history is not History.DP_TABLES:
        return
    held = {file.registry_sha256: file for file in risk_files(state)}
    for sha256 in run.contract.shared_risk:
        file = held.get(sha256)
        if file is None:
            raise ConfigurationError(
                f"run {run.spec.name!r}: says history dp-tables, and this bank does not hold the "
                f"risk tables {sha256}, so that it cannot tell whether they carry noise; take them "
                "first ('bank-node risk update --run RUN_ID')"
            )
        if file.keyed.tables.spec.privacy is None:
            raise ConfigurationError(
                f"run {run.spec.name!r}: says history dp-tables, and the risk tables of run "
                f"{file.run_id} are exact; nothing was sent: ask for a run with tables that carry "
                "noise, or with history 'declared'"
            )
