"""What commands that train have in common: their options, and a run that MLflow is told of."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bank_node.commands.engine import engine_options
from bank_node.commands.options import F, Output, memory_option, run_options, state_option
from bank_node.commands.serving.track import checked_tracking, track_or_warn, tracking_options
from bank_node.commands.taking_part import take_part_in
from bank_node.state.directory import StateDirectory
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from bank_node.run.record import RunRecord
    from fraudfed.dask_engine.options import ClusterOptions


def training_options(command: F) -> F:
    """Add the options that ``train_and_track`` takes."""
    for add in (tracking_options, engine_options, memory_option, run_options, state_option):
        command = add(command)
    return command


def train_and_track(
    kind: RunKind,
    output: Output,
    *,
    path: Path,
    passphrase_file: Path | None,
    tracking_uri: str | None,
    experiment: str,
    cluster: "ClusterOptions | None",
    **options: Any,
) -> "RunRecord[Any]":
    """Take part in a run to its end, log it where the options say, and return its record.

    Parameters
    ----------
    kind : RunKind
    output : Output
    path : Path
        State directory.
    passphrase_file : Path or None
    tracking_uri : str or None
    experiment : str
    cluster : ClusterOptions or None
    **options
        As those of ``take_part_in``.

    Raises
    ------
    FraudFedError
        As ``checked_tracking``, before anything is done, and ``take_part_in``.
    """
    tracking = checked_tracking(tracking_uri, experiment)
    state = StateDirectory(path)
    record = take_part_in(
        kind, state, output, passphrase_file=passphrase_file, options=options, cluster=cluster
    )
    track_or_warn(state, record.run_id, tracking)
    return record
