"""One attempt at a run's result, with one set of banks.

Everything that is kept after a step is kept here, in this order: the log of the rounds, the
checkpoint; then what was sealed for earlier rounds is forgotten.
"""

from bank_node.http.client import wait_for
from bank_node.run.budget import RunBudget, RunCharges
from bank_node.run.context import RunContext
from bank_node.run.generations import Entry
from bank_node.run.job import Outcome, S, Work
from bank_node.run.record import R
from bank_node.run.reveals import LedgerGate
from bank_node.run.sums.noise_ahead import NoiseAhead
from bank_node.run.sums.noising import PrivateSums
from bank_node.run.sums.phases import PhaseTimes
from bank_node.run.sums.secure_communicator import SecureCommunicator
from bank_node.run.vote import Accepted, ModelVote, check_signatures
from fraudfed.consortium.ephemeral import pair_secret
from fraudfed.consortium.public.generations import generation_digest
from fraudfed.errors import CohortChangedError, CohortError, ConflictError, StateError
from fraudfed.secure_sum.session import SecureSum
from fraudfed.wire.messages import RunState, RunStatus


def work_to_the_end(
    context: RunContext, work: Work[S, R], entry: Entry[S], times: PhaseTimes
) -> Outcome[R]:
    """Compute the result with the banks of ``entry``.

    Parameters
    ----------
    times : PhaseTimes
        Of this process; the attempt adds to it.

    Raises
    ------
    CohortChangedError
        If other banks take part now; the finished steps are on disk.
    FraudFedError
        As ``Work.run`` and ``SecureCommunicator.sum``.
    """
    session = session_of(context, banks=entry.banks, generation=entry.checkpoint.generation)
    noise = NoiseAhead(session)
    # Rounds of the step that is done again are logged again.
    context.log.read(before_round=entry.at.round_number)
    gate = LedgerGate(context, work, entry.checkpoint.generation, entry.banks, step=entry.at.step)
    communicator = SecureCommunicator(
        context,
        session,
        roster=entry.banks,
        start=entry.at,
        gate=gate,
        noise=noise,
        times=times,
        private=_private_sums(context, work, entry),
    )

    def on_step(state: S) -> None:
        context.log.sync()
        after = entry.after(
            state,
            round_number=communicator.round_number,
            transcript=communicator.transcript,
        )
        context.checkpoints.save(after)
        context.forget_sealed()
        communicator.step = gate.step = state.n_steps
        times.mark("checkpoint")

    with noise:
        return work.run(communicator, start=entry.start, on_step=on_step)


def _private_sums(context: RunContext, work: Work[S, R], entry: Entry[S]) -> PrivateSums | None:
    """Return how the sums of a generation carry noise; None in a run without privacy terms."""
    budget = RunBudget.of(context, work.sources(None))
    if budget is None:
        return None
    number = entry.checkpoint.generation
    charges = RunCharges(context, budget, number=number, banks=entry.banks)
    return PrivateSums(budget.terms, charges)


def have_accepted(context: RunContext, entry: Entry[S], content: bytes) -> Accepted:
    """Vote for a result, and wait until all other banks of ``entry`` have voted for the same.

    Raises
    ------
    CohortChangedError
        If other banks take part now.
    CohortError
        If a bank does not vote in time.
    ConflictError, AuthError
        If the registry accepted another result, or a signature is missing or forged.
    """
    run, client, epoch = context.run, context.client, context.epoch
    vote = ModelVote.of(content, run, epoch.package, context.connection.identity)
    client.submit_model(
        run.run_id,
        vote.sha256,
        vote.body,
        plain_sha256=vote.plain_sha256,
        signature=vote.signature,
    )
    _wait_for_acceptance(context, vote.sha256, generation=entry.checkpoint.generation)
    signatures = client.model_signatures(run.run_id)
    check_signatures(
        signatures,
        run,
        epoch.key_epoch,
        sha256=vote.sha256,
        plain_sha256=vote.plain_sha256,
        banks=entry.banks,
    )
    return Accepted(content, signatures)


def session_of(context: RunContext, *, banks: tuple[str, ...], generation: int) -> SecureSum:
    """Return the secure sums of a generation: masks and tags are its banks' alone.

    Raises
    ------
    StateError
        If it is not the generation that this bank agreed to last, or that has not begun.
    """
    epoch = context.epoch
    agreement, own = context.agreements.of(generation)
    keys = dict(agreement.keys)
    if tuple(keys) != banks:
        raise StateError(
            f"run {context.run_id}: generation {generation} has not begun with "
            f"{', '.join(banks)} at this bank; nothing was sent"
        )
    members = tuple(one for one in epoch.key_epoch.roster if one.name in banks)
    return SecureSum(
        epoch.package,
        bank=context.bank,
        roster=banks,
        roster_digest=generation_digest(
            members,
            run_id=context.run_id,
            epoch=epoch.key_epoch.epoch,
            generation=generation,
            keys=keys,
        ),
        pairwise={
            member.name: pair_secret(
                own.exchange(keys[member.name]),
                context.connection.identity.exchange(member.agreement_key),
                names=(context.bank, member.name),
                run_id=context.run_id,
                generation=generation,
            )
            for member in members
            if member.name != context.bank
        },
        signer=context.connection.identity,
        signing_keys={member.name: member.signing_key for member in members},
        threads=context.options.threads,
    )


def _wait_for_acceptance(context: RunContext, sha256: str, *, generation: int) -> None:
    """Wait until every bank has submitted the same result."""
    run_id, timeout_seconds = context.run_id, context.options.round_timeout_seconds

    def ask(wait: float) -> RunStatus | None:
        status = context.client.run(
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
