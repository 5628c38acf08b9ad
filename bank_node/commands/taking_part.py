"""What every command that takes part in a run does before and after its job."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bank_node.commands.engine import opened
from bank_node.commands.options import Output, end_in_order_when_terminated
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from bank_node.run.record import RunRecord
    from fraudfed.dask_engine.options import ClusterOptions


def take_part_in(
    kind: RunKind,
    state: StateDirectory,
    output: Output,
    *,
    passphrase_file: Path | None,
    options: dict[str, Any],
    cluster: "ClusterOptions | None" = None,
) -> "RunRecord[Any]":
    """Take part in a run to its end, and return its record.

    Parameters
    ----------
    kind : RunKind
    state : StateDirectory
    output : Output
        Shows the progress.
    passphrase_file : Path or None
    options : dict
        Of ``run_options`` and others, by the names of ``RunOptions``.
    cluster : ClusterOptions or None
        Where the rows are worked on; None for this machine.

    Raises
    ------
    FraudFedError
        As ``take_part``, ``read_passphrase`` and ``opened``.
    """
    # Jobs take a second to import, which no other command needs.
    from bank_node.jobs.registry import JOBS
    from bank_node.run.context import RunOptions
    from bank_node.run.lifecycle import take_part
    from bank_node.run.progress import RunProgress

    end_in_order_when_terminated()
    passphrase = read_passphrase(passphrase_file)
    with (
        opened(cluster) as client,
        state.locked(),
        RunProgress(output.console, enabled=output.progress) as progress,
    ):
        chosen = RunOptions(**options, cluster=client)
        return take_part(state, chosen, kind, JOBS, progress, passphrase=passphrase)
