"""Train the run's model with the other banks, from the first check to the accepted model."""

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bank_node.abort import tell_others
from bank_node.client import AggregatorClient, wait_for
from bank_node.data_contract import TrainingRows, load_training_rows
from bank_node.data_file import DataFile
from bank_node.logs import RUN
from bank_node.membership import require_membership, wait_for_cohort
from bank_node.progress import TrainingProgress
from bank_node.retry import TRAINING_PATIENCE_SECONDS, RetryPolicy
from bank_node.run_rules import check_roster, check_run, pin_run
from bank_node.secure_communicator import DEFAULT_ROUND_TIMEOUT_SECONDS, SecureCommunicator
from bank_node.state import StateDirectory
from bank_node.validation import split_validation
from fraudfed import __version__
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.train import TrainResult, TreeProgress, train
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import ConflictError, ProtocolError, RunFailedError, StateError
from fraudfed.paillier.kernel import select_kernel
from fraudfed.secure_sum.session import SecureSum
from fraudfed.wire.messages import RunState, RunStatus

__all__ = ["TrainingOptions", "train_run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """What the command line says.

    Attributes
    ----------
    data : Path
    min_cohort : int or None
        None takes ``bank.toml``'s.
    round_timeout_seconds : float
    cohort_timeout_seconds : float or None
        None waits without limit.
    """

    data: Path
    min_cohort: int | None = None
    round_timeout_seconds: float = DEFAULT_ROUND_TIMEOUT_SECONDS
    cohort_timeout_seconds: float | None = None


@dataclass(frozen=True)
class _Ready:
    """A bank that has checked everything it can check alone."""

    status: RunStatus
    params: BoosterParams
    package: KeyPackage
    rows: TrainingRows


def train_run(
    state: StateDirectory, options: TrainingOptions, progress: TrainingProgress
) -> dict[str, Any]:
    """Train, have the model accepted, keep it; return the record of the run.

    The bank checks its own file, key and rules before it lets anybody wait for it. From the moment
    the cohort is complete every failure here is told to the others, without any of its values.

    Raises
    ------
    FraudFedError
        As ``fraudfed.errors`` says; the state directory is then as it was, except that the run's
        description is pinned.
    """
    url, token, run_id = require_membership(state)
    DataFile.open(options.data)
    package = state.key_package()
    RUN.set(run_id)
    with AggregatorClient(url, token=token) as client:
        status = client.run(run_id)
        if status.state is RunState.FINISHED:
            return _finished(state, status)
        # A complete cohort waits for this bank already.
        others_wait = status.state is RunState.TRAINING and state.config.name in status.members
        try:
            ready = _prepare(state, options, status, package)
            client.retry = RetryPolicy(patience_seconds=TRAINING_PATIENCE_SECONDS)
            if state.config.name not in status.members:
                status = client.join(run_id)
            status = wait_for_cohort(
                client,
                status,
                timeout_seconds=options.cohort_timeout_seconds,
                on_members=lambda names: progress.banks(names, status.spec.cohort_size),
            )
            others_wait = True
            return _train_with_others(state, options, client, status, ready, progress)
        except BaseException as error:
            if others_wait:
                tell_others(client, run_id, error)
            raise


def _prepare(
    state: StateDirectory, options: TrainingOptions, status: RunStatus, package: KeyPackage
) -> _Ready:
    """Check everything that needs no other bank."""
    if status.state is RunState.FAILED:
        raise RunFailedError(f"run {status.run_id} has failed: {status.failure}")
    pin_run(state, status)
    least = state.config.min_cohort if options.min_cohort is None else options.min_cohort
    params = check_run(status.spec, public_key=package.public_key, min_cohort=least)
    if status.round_number > 0:
        raise ConflictError(
            f"run {status.run_id}: is at round {status.round_number}, this program was not there "
            "from round 0 on and cannot catch up; ask the operator for a new run"
        )
    rows = load_training_rows(options.data, status.spec.contract)
    _log.info("%d rows meet the data contract", rows.table.n_rows)
    return _Ready(status, params, package, rows)


def _train_with_others(
    state: StateDirectory,
    options: TrainingOptions,
    client: AggregatorClient,
    status: RunStatus,
    ready: _Ready,
    progress: TrainingProgress,
) -> dict[str, Any]:
    # What was joined is what was checked.
    pin_run(state, status)
    check_roster(status, state.config.name)
    started = time.time()
    params = ready.params
    communicator = SecureCommunicator(
        client,
        SecureSum(ready.package),
        run_id=status.run_id,
        roster=status.members,
        bank=state.config.name,
        round_timeout_seconds=options.round_timeout_seconds,
    )

    def on_tree(tree: TreeProgress) -> None:
        note = " ".join(f"{name} {value:.5f}" for name, value in tree.metrics.items())
        progress.trees(tree.tree_index + 1, tree.n_trees, note)
        _log.info("tree finished", extra=_tree_record(tree))

    table, validation = ready.rows.table, None
    if params.early_stopping_rounds is not None:
        table, validation = split_validation(table, seed=params.seed)
    progress.trees(0, params.num_boost_round, "")
    result = train(params, table, communicator, validation=validation, on_tree=on_tree)
    model = result.model.to_json()
    sha256 = hashlib.sha256(model).hexdigest()
    client.submit_model(status.run_id, sha256, model)
    _wait_for_acceptance(client, status.run_id, sha256, options.round_timeout_seconds)
    communicator.times.mark("accept")
    record = _record(state, status, ready, communicator, result, sha256)
    record["started_at"], record["finished_at"] = int(started), int(time.time())
    state.save_result(status.run_id, model, record)
    return record


def _wait_for_acceptance(
    client: AggregatorClient, run_id: str, sha256: str, timeout_seconds: float
) -> None:
    """Wait until every bank has submitted the same model."""

    def ask(wait: float) -> RunStatus | None:
        status = client.run(run_id, while_state=RunState.TRAINING, wait_seconds=wait)
        return None if status.state is RunState.TRAINING else status

    status = wait_for(ask, seconds=timeout_seconds)
    if status is None:
        raise ProtocolError(
            f"run {run_id}: not every bank submitted its model within {timeout_seconds:g} s; a "
            "bank is down or too slow: ask the others"
        )
    if status.state is RunState.FAILED:
        raise RunFailedError(f"run {run_id} has failed: {status.failure}")
    if status.model_sha256 != sha256:
        raise ConflictError(
            f"run {run_id}: the aggregator accepted model {status.model_sha256}, this bank trained "
            f"{sha256}; the aggregator is at fault, the model was not kept"
        )


def _record(
    state: StateDirectory,
    status: RunStatus,
    ready: _Ready,
    communicator: SecureCommunicator,
    result: TrainResult,
    sha256: str,
) -> dict[str, Any]:
    """Say what was done and what it cost; holds no value of a row."""
    public = ready.package.public_key
    return {
        "run_id": status.run_id,
        "name": status.spec.name,
        "bank": state.config.name,
        "members": list(status.members),
        "fraudfed_version": __version__,
        "parameters": ready.params.to_mapping(),
        "rows": ready.rows.table.n_rows,
        "trees": len(result.model.trees),
        "best_iteration": result.best_iteration,
        "history": [_tree_record(tree) for tree in result.history],
        "model_sha256": sha256,
        "key_bits": public.key_bits,
        "key_fingerprint": public.fingerprint,
        "kernel": select_kernel().name,
        **communicator.times.to_dict(),
    }


def _tree_record(tree: TreeProgress) -> dict[str, Any]:
    return {"tree": tree.tree_index, "leaves": tree.n_leaves, "metrics": dict(tree.metrics)}


def _finished(state: StateDirectory, status: RunStatus) -> dict[str, Any]:
    """Return the record of a run that this bank has finished before."""
    record = state.record(status.run_id)
    if record is None or record.get("model_sha256") != status.model_sha256:
        raise StateError(
            f"run {status.run_id}: is finished at the aggregator, but this state directory does "
            "not hold its model; restore the directory, or ask the operator for a new run"
        )
    _log.info("run %s was finished before; nothing to do", status.run_id)
    return record
