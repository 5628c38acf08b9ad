"""One stretch of a run after the other: what a bank does with each set of banks.

Everything that is kept behind a step is kept here, in this order: the log of the rounds, the
checkpoint, and then what was sealed for rounds before it is forgotten.
"""

import logging
from dataclasses import dataclass
from typing import Any, Generic

from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.consortium.connection import Connection
from bank_node.consortium.members import ObservedRoster
from bank_node.http.client import AggregatorClient, wait_for
from bank_node.run.generations import Entry
from bank_node.run.job import RunWork, S, WorkResult
from bank_node.run.noise_ahead import NoiseAhead
from bank_node.run.phases import PhaseTimes
from bank_node.run.secure_communicator import SecureCommunicator
from bank_node.run.vote import ModelVote, check_signatures
from bank_node.state.directory import PinnedRun, StateDirectory
from fraudfed.consortium.public.documents import roster_digest
from fraudfed.errors import CohortChangedError, CohortError, ConflictError
from fraudfed.secure_sum.session import SecureSum
from fraudfed.wire.messages import ModelSignatures, RunState, RunStatus

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared(Generic[S]):
    """A bank that has checked everything it can check alone."""

    run: PinnedRun
    epoch: AcceptedEpoch
    observed: ObservedRoster
    work: RunWork[S]


@dataclass(frozen=True)
class Accepted:
    """What a run ended with."""

    content: bytes
    facts: dict[str, Any]
    vote: ModelVote
    signatures: ModelSignatures


class Stretch(Generic[S]):
    """Works with one set of banks after the other; what stays the same lives here.

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
        ready: Prepared[S],
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
        self.checkpoints = state.checkpoints(run.run_id)
        self._outbox = state.outbox(run.run_id)
        self.log = state.round_log(run.run_id)
        self.times = PhaseTimes()

    def take_part(self, entry: Entry[S]) -> Accepted:
        """Work to the end with the banks of ``entry``, and have the result accepted.

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

        def on_step(state: S) -> None:
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

        with noise:
            found = self._ready.work.run(communicator, start=entry.start, on_step=on_step)
        return self._accepted(entry, found)

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

    def _accepted(self, entry: Entry[S], found: WorkResult) -> Accepted:
        """Vote for the result, and wait until all others have voted for the same."""
        run, client, epoch = self._run, self._connection.client, self._ready.epoch
        vote = ModelVote.of(found.content, run, epoch.package, self._connection.identity)
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
        return Accepted(found.content, found.facts, vote, signatures)


def _wait_for_acceptance(
    client: AggregatorClient,
    run_id: str,
    sha256: str,
    *,
    generation: int,
    timeout_seconds: float | None,
) -> None:
    """Wait until every bank has submitted the same result."""

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
