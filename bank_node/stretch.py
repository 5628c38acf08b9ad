"""One stretch of a training after the other: what a bank does with each set of banks.

Everything that is kept behind a step is kept here, in this order: the log of the rounds, the
checkpoint, and then what was sealed for rounds before it is forgotten.
"""

import logging
from dataclasses import dataclass
from typing import Any

from bank_node.ceremony import AcceptedEpoch
from bank_node.client import AggregatorClient, wait_for
from bank_node.connection import Connection
from bank_node.members import ObservedRoster
from bank_node.model_vote import ModelVote, check_signatures
from bank_node.noise_ahead import NoiseAhead
from bank_node.participation import Entry
from bank_node.phases import PhaseTimes
from bank_node.progress import TrainingProgress
from bank_node.secure_communicator import SecureCommunicator
from bank_node.state import PinnedRun, StateDirectory
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainingState, TrainResult, TreeProgress, train
from fraudfed.consortium.documents import roster_digest
from fraudfed.errors import CohortChangedError, CohortError, ConflictError
from fraudfed.secure_sum.session import SecureSum
from fraudfed.wire.messages import ModelSignatures, RunState, RunStatus

__all__ = ["Accepted", "Prepared", "Stretch", "tree_record"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A bank that has checked everything it can check alone."""

    run: PinnedRun
    params: BoosterParams
    epoch: AcceptedEpoch
    observed: ObservedRoster
    n_rows: int
    table: TrainingTable
    validation: TrainingTable | None
    data_sha256: str


@dataclass(frozen=True)
class Accepted:
    """What a training ended with."""

    result: TrainResult
    vote: ModelVote
    model: bytes
    signatures: ModelSignatures


class Stretch:
    """Trains with one set of banks after the other; what stays the same lives here.

    Attributes
    ----------
    checkpoints : Checkpoints
    log : RoundLog
        Of the whole run.
    times : PhaseTimes
        Of this process.
    """

    def __init__(
        self,
        state: StateDirectory,
        connection: Connection,
        run: PinnedRun,
        ready: Prepared,
        progress: TrainingProgress,
        *,
        round_timeout_seconds: float | None,
        threads: int,
    ) -> None:
        self._state = state
        self._round_timeout_seconds = round_timeout_seconds
        self._threads = threads
        self._connection = connection
        self._run = run
        self._ready = ready
        self._progress = progress
        self.checkpoints = state.checkpoints(run.run_id)
        self._outbox = state.outbox(run.run_id)
        self.log = state.round_log(run.run_id)
        self.times = PhaseTimes()

    def train(self, entry: Entry) -> Accepted:
        """Train to the end with the banks of ``entry``, and have the model accepted.

        Raises
        ------
        CohortChangedError
            If other banks take part now; what was finished is on disk.
        """
        run, client = self._run, self._connection.client
        session = self._session(entry.banks)
        noise = NoiseAhead(session)
        # Rounds of the step that is done again are logged again.
        self.log.read(before_round=entry.at.round_number)
        communicator = SecureCommunicator(
            client,
            session,
            run_id=run.run_id,
            epoch=self._ready.epoch.key_epoch.epoch,
            roster=entry.banks,
            bank=self._state.config.name,
            start=entry.at,
            outbox=self._outbox,
            log=self.log,
            round_timeout_seconds=self._round_timeout_seconds,
            noise=noise,
            times=self.times,
        )
        params = self._ready.params

        def on_step(state: TrainingState) -> None:
            self.log.sync()
            after = entry.after(
                state,
                round_number=communicator.round_number,
                transcript=communicator.transcript,
            )
            self.checkpoints.save(after)
            self._outbox.forget_payloads()
            communicator.step = state.n_steps
            self.times.mark("checkpoint")

        done = 0 if entry.start is None else len(entry.start.trees)
        self._progress.trees(done, params.num_boost_round, "")
        with noise:
            result = train(
                params,
                self._ready.table,
                communicator,
                validation=self._ready.validation,
                start=entry.start,
                on_step=on_step,
                on_tree=self._on_tree,
                threads=self._threads,
            )
        return self._accepted(entry, result)

    def _session(self, banks: tuple[str, ...]) -> SecureSum:
        """Return the secure sums of these banks alone: masks and tags are theirs."""
        name, epoch = self._state.config.name, self._ready.epoch
        members = tuple(one for one in epoch.key_epoch.roster if one.name in banks)
        return SecureSum(
            epoch.package,
            bank=name,
            roster=banks,
            roster_digest=roster_digest(members),
            pairwise={
                member.name: self._connection.identity.exchange(member.agreement_key)
                for member in members
                if member.name != name
            },
            threads=self._threads,
        )

    def _on_tree(self, tree: TreeProgress) -> None:
        note = " ".join(f"{name} {value:.5f}" for name, value in tree.metrics.items())
        self._progress.trees(tree.tree_index + 1, tree.n_trees, note)
        _log.info("tree finished", extra=tree_record(tree))

    def _accepted(self, entry: Entry, result: TrainResult) -> Accepted:
        """Vote for the model, and wait until all others have voted for the same."""
        run, client, epoch = self._run, self._connection.client, self._ready.epoch
        model = result.model.to_json()
        vote = ModelVote.of(model, run, epoch.package, self._connection.identity)
        client.submit_model(
            run.run_id,
            vote.sha256,
            vote.body,
            plain_sha256=vote.plain_sha256,
            signature=vote.signature,
        )
        _wait_for_acceptance(
            client,
            run.run_id,
            vote.sha256,
            generation=entry.checkpoint.generation,
            timeout_seconds=self._round_timeout_seconds,
        )
        signatures = client.model_signatures(run.run_id)
        check_signatures(
            signatures,
            run,
            epoch.key_epoch,
            sha256=vote.sha256,
            plain_sha256=vote.plain_sha256,
            banks=entry.banks,
        )
        self.times.mark("accept")
        return Accepted(result, vote, model, signatures)


def _wait_for_acceptance(
    client: AggregatorClient,
    run_id: str,
    sha256: str,
    *,
    generation: int,
    timeout_seconds: float | None,
) -> None:
    """Wait until every bank has submitted the same model."""

    def ask(wait: float) -> RunStatus | None:
        status = client.run(
            run_id,
            while_state=RunState.TRAINING,
            while_generation=generation,
            wait_seconds=wait,
        )
        same = status.state is RunState.TRAINING and status.generation.number == generation
        return None if same else status

    status = wait_for(ask, seconds=timeout_seconds)
    if status is None:
        raise CohortError(
            f"run {run_id}: not every bank submitted its model within {timeout_seconds:g} s; a "
            "bank is down or too slow: ask the others, then start this bank again"
        )
    if status.state is not RunState.FINISHED:
        raise CohortChangedError(
            f"run {run_id}: generation {status.generation.number} is formed before every bank "
            "submitted its model"
        )
    if status.model_sha256 != sha256:
        raise ConflictError(
            f"run {run_id}: the aggregator accepted model {status.model_sha256}, this bank trained "
            f"{sha256}; the aggregator is at fault, the model was not kept"
        )


def tree_record(tree: TreeProgress) -> dict[str, Any]:
    """Return what the log and the run's record say of a tree."""
    return {"tree": tree.tree_index, "leaves": tree.n_leaves, "metrics": dict(tree.metrics)}
