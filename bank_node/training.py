"""Train the run's model with the other banks, from the first check to the accepted model."""

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bank_node.abort import tell_others
from bank_node.ceremony import AcceptedEpoch, accept_epoch
from bank_node.client import AggregatorClient, wait_for
from bank_node.config import CohortRules
from bank_node.connection import Connection, connect
from bank_node.data_contract import TrainingRows, load_training_rows
from bank_node.data_file import DataFile
from bank_node.logs import RUN
from bank_node.members import ObservedRoster, observe_roster, unconfirmed
from bank_node.membership import choose_run, wait_for_cohort
from bank_node.model_vote import ModelVote, check_signatures
from bank_node.noise_ahead import NoiseAhead
from bank_node.progress import TrainingProgress
from bank_node.retry import TRAINING_PATIENCE_SECONDS, RetryPolicy
from bank_node.round_record import protection_of
from bank_node.run_rules import check_epoch, check_members, check_run, pin_run, run_facts
from bank_node.secure_communicator import DEFAULT_ROUND_TIMEOUT_SECONDS, SecureCommunicator
from bank_node.state import PinnedRun, StateDirectory
from bank_node.validation import split_validation
from fraudfed import __version__
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.train import TrainResult, TreeProgress, train
from fraudfed.consortium.documents import roster_digest
from fraudfed.errors import ConflictError, ProtocolError, RunFailedError, StateError
from fraudfed.paillier.kernel import kernel_note, select_kernel
from fraudfed.secure_sum.session import SecureSum
from fraudfed.usage import usage_of
from fraudfed.wire.messages import RunState, RunStatus

__all__ = ["TrainingOptions", "train_run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """What the command line says.

    Attributes
    ----------
    data : Path
    run_id : str or None
        None takes the only run there is for this bank.
    min_cohort : int or None
        None takes ``bank.toml``'s.
    round_timeout_seconds : float
    cohort_timeout_seconds : float or None
        None waits without limit.
    threads : int
        Cores that this bank's work may use at once; no result depends on it.
    """

    data: Path
    run_id: str | None = None
    min_cohort: int | None = None
    round_timeout_seconds: float = DEFAULT_ROUND_TIMEOUT_SECONDS
    cohort_timeout_seconds: float | None = None
    threads: int = 1

    def rules(self, configured: CohortRules) -> CohortRules:
        """Return the bank's rules under these options."""
        if self.min_cohort is None:
            return configured
        return configured.model_copy(update={"min_cohort": self.min_cohort})


@dataclass(frozen=True)
class _Ready:
    """A bank that has checked everything it can check alone."""

    run: PinnedRun
    params: BoosterParams
    epoch: AcceptedEpoch
    observed: ObservedRoster
    rows: TrainingRows


def train_run(
    state: StateDirectory,
    options: TrainingOptions,
    progress: TrainingProgress,
    *,
    passphrase: str | None = None,
) -> dict[str, Any]:
    """Train, have the model accepted, keep it; return the record of the run.

    The bank checks its own file, the members' keys and its rules before it lets anybody wait for
    it. From the moment the cohort is complete every failure here is told to the others, without
    any of its values. A member whose keys have changed is one exception: nothing more is sent.

    Raises
    ------
    FraudFedError
        As ``fraudfed.errors`` says; the state directory is then as it was, except for pins,
        accepted key epochs and the audit log.
    """
    DataFile.open(options.data)
    with connect(state, passphrase) as connection:
        client = connection.client
        observed = observe_roster(state, client)
        status = choose_run(state, client, options.run_id)
        run_id = status.run_id
        RUN.set(run_id)
        if status.state is RunState.FINISHED:
            return _finished(state, status)
        # A complete cohort waits for this bank already.
        others_wait = status.state is RunState.TRAINING and state.config.name in status.members
        try:
            ready = _prepare(state, options, status, connection, observed)
            client.be_patient(RetryPolicy(patience_seconds=TRAINING_PATIENCE_SECONDS))
            state.save_config(state.config.model_copy(update={"run_id": run_id}))
            if state.config.name not in status.members:
                status = client.join(run_id)
            status = wait_for_cohort(
                client,
                status,
                timeout_seconds=options.cohort_timeout_seconds,
                on_members=lambda names: progress.banks(names, len(status.cohort)),
            )
            others_wait = True
            return _train_with_others(state, options, connection, status, ready, progress)
        except BaseException as error:
            if others_wait:
                tell_others(client, run_id, error)
            raise


def _prepare(
    state: StateDirectory,
    options: TrainingOptions,
    status: RunStatus,
    connection: Connection,
    observed: ObservedRoster,
) -> _Ready:
    """Check everything that needs no other bank."""
    if status.state is RunState.FAILED:
        raise RunFailedError(f"run {status.run_id} has failed: {status.failure}")
    run, rules = PinnedRun.of(status), options.rules(state.config.rules)
    params = check_run(run, rules)
    epoch = accept_epoch(state, connection, observed, run.spec.key_epoch)
    check_epoch(run, epoch.key_epoch, latest=max(state.epochs()))
    if run.spec.require_confirmed_roster or rules.require_confirmed_roster:
        observed.pins.require_confirmed(run.cohort)
    pin_run(state, status)
    if status.round_number > 0:
        raise ConflictError(
            f"run {status.run_id}: is at round {status.round_number}, this program was not there "
            "from round 0 on and cannot catch up; ask the operator for a new run"
        )
    rows = load_training_rows(options.data, run.spec.contract)
    _log.info("%d rows meet the data contract", rows.table.n_rows)
    return _Ready(run, params, epoch, observed, rows)


def _train_with_others(
    state: StateDirectory,
    options: TrainingOptions,
    connection: Connection,
    status: RunStatus,
    ready: _Ready,
    progress: TrainingProgress,
) -> dict[str, Any]:
    # What was joined is what was checked.
    run, client, bank = pin_run(state, status), connection.client, state.config.name
    check_members(status, run)
    started = time.time()
    params, key_epoch = ready.params, ready.epoch.key_epoch
    _log.info("Paillier kernel: %s; %d threads", kernel_note(), options.threads)
    session = SecureSum(
        ready.epoch.package,
        bank=bank,
        roster=run.cohort,
        roster_digest=roster_digest(key_epoch.roster),
        pairwise={
            member.name: connection.identity.exchange(member.agreement_key)
            for member in key_epoch.roster
            if member.name != bank
        },
        threads=options.threads,
    )
    noise = NoiseAhead(session)
    communicator = SecureCommunicator(
        client,
        session,
        run_id=run.run_id,
        epoch=key_epoch.epoch,
        roster=run.cohort,
        bank=bank,
        facts=run_facts(run, key_epoch),
        sealed=state.sealed_contexts(run.run_id),
        round_timeout_seconds=options.round_timeout_seconds,
        noise=noise,
    )

    def on_tree(tree: TreeProgress) -> None:
        note = " ".join(f"{name} {value:.5f}" for name, value in tree.metrics.items())
        progress.trees(tree.tree_index + 1, tree.n_trees, note)
        _log.info("tree finished", extra=_tree_record(tree))

    table, validation = ready.rows.table, None
    if params.early_stopping_rounds is not None:
        table, validation = split_validation(table, seed=params.seed)
    progress.trees(0, params.num_boost_round, "")
    with noise:
        result = train(
            params,
            table,
            communicator,
            validation=validation,
            on_tree=on_tree,
            threads=options.threads,
        )
    model = result.model.to_json()
    vote = ModelVote.of(model, run, ready.epoch.package, connection.identity)
    client.submit_model(
        run.run_id,
        vote.sha256,
        vote.body,
        plain_sha256=vote.plain_sha256,
        signature=vote.signature,
    )
    _wait_for_acceptance(client, run.run_id, vote.sha256, options.round_timeout_seconds)
    signatures = client.model_signatures(run.run_id)
    check_signatures(signatures, vote, run, key_epoch)
    communicator.times.mark("accept")
    record = _record(state, ready, communicator, result, vote)
    record["started_at"], record["finished_at"] = int(started), int(time.time())
    record["threads"] = options.threads
    record["process_cpu_seconds"] = round(time.process_time(), 3)
    record["peak_memory_bytes"] = usage_of(os.getpid()).peak_bytes
    state.save_result(run.run_id, model, signatures, record)
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
    ready: _Ready,
    communicator: SecureCommunicator,
    result: TrainResult,
    vote: ModelVote,
) -> dict[str, Any]:
    """Say what was done, what protected it and what it cost; holds no value of a row."""
    public, run = ready.epoch.package.public_key, ready.run
    return {
        "run_id": run.run_id,
        "name": run.spec.name,
        "bank": state.config.name,
        "members": list(run.cohort),
        "fraudfed_version": __version__,
        "parameters": ready.params.to_mapping(),
        "rows": ready.rows.table.n_rows,
        "trees": len(result.model.trees),
        "best_iteration": result.best_iteration,
        "history": [_tree_record(tree) for tree in result.history],
        "model_sha256": vote.plain_sha256,
        "registry_sha256": vote.sha256,
        "model_visibility": run.spec.model_visibility.value,
        "key_epoch": ready.epoch.key_epoch.epoch,
        "key_bits": public.key_bits,
        "key_fingerprint": public.fingerprint,
        "kernel": select_kernel().name,
        "roster_confirmed": not unconfirmed(ready.observed.pins, run.cohort),
        "transport": "https" if state.config.aggregator.startswith("https:") else "loopback",
        "protection": protection_of(communicator.rounds),
        "round_records": [record.to_dict() for record in communicator.rounds],
        **communicator.times.to_dict(),
    }


def _tree_record(tree: TreeProgress) -> dict[str, Any]:
    return {"tree": tree.tree_index, "leaves": tree.n_leaves, "metrics": dict(tree.metrics)}


def _finished(state: StateDirectory, status: RunStatus) -> dict[str, Any]:
    """Return the record of a run that this bank has finished before."""
    record = state.record(status.run_id)
    if record is None or record.get("registry_sha256") != status.model_sha256:
        raise StateError(
            f"run {status.run_id}: is finished at the aggregator, but this state directory does "
            "not hold its model; restore the directory, or ask the operator for a new run"
        )
    _log.info("run %s was finished before; nothing to do", status.run_id)
    return record
