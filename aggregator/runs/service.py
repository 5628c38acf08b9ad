"""What the API does with runs, rounds and models: changes, ciphertexts, store and waiters."""

import logging
from functools import lru_cache

from aggregator import run_machine as machine
from aggregator.caller import Caller
from aggregator.consortium.members import Members
from aggregator.runs import combine
from aggregator.runs.cache import Snapshot
from aggregator.runs.changes import RunChanges
from aggregator.runs.effects import Payload
from aggregator.runs.store import RunStore
from aggregator.runs.waiters import Waiters
from fraudfed.consortium.public.documents import verify_model_signature
from fraudfed.consortium.public.generations import verify_ephemeral_key
from fraudfed.errors import (
    CohortChangedError,
    ForbiddenError,
    FraudFedError,
    NotFoundError,
    ProtocolError,
    RunFailedError,
)
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire.messages import (
    MODEL_PLAIN_HEADER,
    AbortReason,
    FrameHeader,
    Join,
    ModelReceipt,
    ModelSignatures,
    ModelVisibility,
    RoundList,
    RoundReceipt,
    RoundSummary,
    RunCreated,
    RunList,
    RunSpec,
    RunState,
    RunStatus,
)

_log = logging.getLogger(__name__)


class RunService:
    """All that can be done with runs, rounds and models."""

    def __init__(
        self,
        store: RunStore,
        changes: RunChanges,
        members: Members,
        waiters: Waiters,
        *,
        insecure_allow_small_keys: bool = False,
    ) -> None:
        self._store = store
        self._changes = changes
        self._members = members
        self._waiters = waiters
        self._insecure_allow_small_keys = insecure_allow_small_keys
        # A run's key never changes.
        self._key = lru_cache(maxsize=64)(self._read_key)

    # Runs

    def create_run(self, spec: RunSpec, caller: Caller) -> RunCreated:
        """Open a run for the banks of its key epoch, which must be active."""
        run_id = self._store.create_run(spec, caller)
        _log.info("run %s opened with key epoch %d", run_id, spec.key_epoch)
        return RunCreated(run_id=run_id)

    def list_runs(self, caller: Caller) -> RunList:
        """Return the runs that the caller may see."""
        return RunList(runs=self._store.statuses(visible_to=caller.bank))

    def status(
        self,
        run_id: str,
        caller: Caller,
        *,
        while_state: RunState | None,
        while_generation: int | None = None,
        seconds: float,
    ) -> RunStatus:
        """Return the status, after waiting up to ``seconds`` while the run is as named.

        Raises
        ------
        RunFailedError
            If the run has failed and the caller is a bank; the operator gets the status.
        """

        def read() -> RunStatus | None:
            status = self.visible_status(run_id, caller)
            same_generation = while_generation in (None, status.generation.number)
            return None if status.state is while_state and same_generation else status

        found = self._waiters.wait(run_id, read, seconds=seconds)
        return found if found is not None else self.visible_status(run_id, caller)

    def join(self, run_id: str, caller: Caller, body: Join) -> RunStatus:
        """Make a bank of the cohort a member; a member already stays one.

        Raises
        ------
        ProtocolError
            If it joins before the start without its key of generation 0.
        AuthError, KeyMaterialError
            If the key is not signed by the bank, or is none.
        """
        status = self._store.status(run_id)
        if body.key is not None and body.signature is not None:
            verify_ephemeral_key(
                self._members.signing_key(caller.name),
                body.signature,
                run_id=run_id,
                epoch=status.spec.key_epoch,
                generation=0,
                bank=caller.name,
                key=body.key,
            )
        elif status.state is RunState.OPEN and caller.name in status.cohort:
            raise ProtocolError(
                f"run {run_id}: {caller.name} joins before the start without an ephemeral key; "
                "send the bank's signed key of generation 0 with the request"
            )
        event = machine.Join(caller.name, body.key or "", body.signature or "")
        self._changes.apply(run_id, event, caller)
        return self._store.status(run_id)

    def abort(self, run_id: str, caller: Caller, reason: str) -> RunStatus:
        """End a run without a model.

        Raises
        ------
        ProtocolError
            If a bank gives a reason that is no ``AbortReason``.
        """
        if caller.bank is not None:
            self._changes.member_snapshot(run_id, caller.bank)
            if reason not in frozenset(AbortReason):
                # Not shown: what a bank should not say must not stand in the log either.
                raise ProtocolError(
                    f"run {run_id}: {caller.bank} ends it with a reason of its own, expected one "
                    f"of {', '.join(AbortReason)}; details stay at the bank"
                )
        # One line, because it becomes part of one-line errors and log lines everywhere.
        event = machine.Abort(caller.bank, " ".join(reason.split()))
        self._changes.apply(run_id, event, caller)
        return self._store.status(run_id)

    def end_runs_of(self, bank: str, caller: Caller) -> None:
        """End every run that waits for a bank that left: it can never finish."""
        for run_id in self._store.active_with(bank):
            event = machine.Abort(None, f"{bank} was removed from the consortium")
            self._changes.apply(run_id, event, caller)

    def rounds(self, run_id: str, caller: Caller, *, start: int, limit: int) -> RoundList:
        """Return what is on record of a run's rounds."""
        self.visible_status(run_id, caller)
        summaries = self._store.round_summaries(run_id, start=start, limit=limit)
        return RoundList(run_id=run_id, rounds=summaries)

    def recent_rounds(self, run_id: str, *, start: int, limit: int) -> tuple[RoundSummary, ...]:
        """Return the same for a caller that has been shown the run's status."""
        return self._store.round_summaries(run_id, start=start, limit=limit)

    # Rounds

    def contribute(self, run_id: str, number: int, caller: Caller, body: bytes) -> RoundReceipt:
        """Multiply a bank's ciphertexts into the round's product."""
        bank = caller.name
        self._changes.member_snapshot(run_id, bank, number)
        header, vector = combine.read_contribution(
            body, key=self._key(run_id), run_id=run_id, round_number=number, bank=bank
        )
        event = machine.Contribute(bank, number, _terms(header), caller.sent_sha256)
        if self._changes.advanced(run_id, number, event)[1].effects:
            # Outside the lock: this is the long part, and needs only the bank's own ciphertexts.
            vector.check()

        def received(step: machine.Transition) -> Payload:
            if not step.has(machine.ContributionAccepted):
                return Payload()
            commitment = header.commitment or ""
            return Payload(received_bytes=len(body), factor=vector, commitment=commitment)

        step = self._changes.apply(run_id, event, caller, number=number, payload=received)
        _raise_failure(step)
        if step.has(machine.GenerationFormed):
            raise CohortChangedError(
                f"run {run_id}: contribution to round {number} refused, generation "
                f"{step.run.generation} is formed for step {event.terms.step}; agree to it"
            )
        arrived = len(step.round.contributions) if step.round else 0
        return _receipt(step.run, number, arrived)

    def product(
        self, run_id: str, number: int, bank: str, *, shard: int | None = None, seconds: float
    ) -> bytes | None:
        """Return the frame with a shard of the product, or None if it is not complete in time.

        Parameters
        ----------
        shard : int or None
            None for the one that the bank opens.
        seconds : float
            How long to wait.
        """
        key = self._key(run_id)

        def read() -> bytes | None:
            snapshot = self._changes.member_snapshot(run_id, bank, number)
            current, run = self._opened_round(snapshot, number, bank), snapshot.run
            if current is not None and current.closed:
                raise _gone(run, number, bank, "product")
            wanted = run.banks.index(bank) if shard is None else shard
            if wanted >= run.size:
                raise ProtocolError(
                    f"run {run_id}: shard {wanted} was asked for, expected 0 to {run.size - 1}"
                )
            if current is None or len(current.contributions) < run.size:
                return None
            data = self._store.product(run_id, number)
            commitments = self._store.commitments(run_id, number)
            if data is None or commitments is None:
                raise _gone(run, number, bank, "product")
            return combine.product_frame(
                CiphertextVector(key, data),
                run_id=run_id,
                round_number=number,
                label=current.terms.label,
                context=current.terms.context,
                commitments=commitments,
                shard=wanted,
                n_shards=run.size,
            )

        return self._waiters.wait(run_id, read, seconds=seconds)

    def open(self, run_id: str, number: int, caller: Caller, body: bytes) -> RoundReceipt:
        """Store a bank's sealed opening of its shard."""
        bank = caller.name
        self._changes.member_snapshot(run_id, bank)
        header = combine.read_opening(body, run_id=run_id, round_number=number, bank=bank)
        event = machine.Open(bank, number, _terms(header), header.shard, caller.sent_sha256)
        payload = Payload(received_bytes=len(body), opening=body)
        step = self._changes.apply(run_id, event, caller, number=number, payload=lambda _: payload)
        return _receipt(step.run, number, len(step.round.openings) if step.round else 0)

    def openings(self, run_id: str, number: int, bank: str, *, seconds: float) -> bytes | None:
        """Return all openings of a round joined, or None if they are not all in in time."""

        def read() -> bytes | None:
            snapshot = self._changes.member_snapshot(run_id, bank, number)
            current = self._opened_round(snapshot, number, bank)
            if current is None or not current.closed:
                return None
            joined = self._store.openings(run_id, number)
            if joined is None:
                raise _gone(snapshot.run, number, bank, "openings")
            return joined

        return self._waiters.wait(run_id, read, seconds=seconds)

    # Models

    def submit_model(
        self, run_id: str, caller: Caller, model: machine.ModelHashes, signature: str, body: bytes
    ) -> ModelReceipt:
        """Store a bank's vote; the last equal vote of the generation stores the model.

        Parameters
        ----------
        model : ModelHashes
            As the bank announced them.
        signature : str
            The bank's over run and plain model, hexadecimal.
        body : bytes
            The model, sealed if the run says ``model_visibility: members``.
        """
        bank = caller.name
        self._changes.member_snapshot(run_id, bank)
        actual = caller.sent_sha256
        if actual != model.stored:
            raise ProtocolError(
                f"run {run_id}: model was sent to address {model.stored}, but its bytes have "
                f"sha256 {actual}; the body was altered on its way"
            )
        _check_sealed(run_id, self._store.status(run_id).spec.model_visibility, model)
        verify_model_signature(
            self._members.signing_key(bank),
            signature,
            bank=bank,
            run_id=run_id,
            plain_sha256=model.plain,
        )
        payload = Payload(model=body, model_signature=signature)
        step = self._changes.apply(
            run_id, machine.Vote(bank, model), caller, payload=lambda _: payload
        )
        _raise_failure(step)
        return ModelReceipt(
            run_id=run_id,
            sha256=model.stored,
            votes=len(step.run.votes),
            expected=step.run.size,
            accepted=step.run.state is RunState.FINISHED,
        )

    def model(self, run_id: str, caller: Caller) -> tuple[str, bytes, ModelVisibility]:
        """Return hash and bytes of a run's accepted model as it is stored, and its visibility.

        Raises
        ------
        NotFoundError
            If no model is accepted yet.
        """
        status, sha256 = self._accepted_model(run_id, caller)
        content = self._store.model(sha256)
        if content is None:
            raise NotFoundError(f"run {run_id}: model {sha256} is no longer kept")
        return sha256, content, status.spec.model_visibility

    def model_signatures(self, run_id: str, caller: Caller) -> ModelSignatures:
        """Return what every bank that took part at the end signed for the accepted model.

        Raises
        ------
        NotFoundError
            If no model is accepted yet.
        """
        _, sha256 = self._accepted_model(run_id, caller)
        plain, signatures = self._store.model_signatures(run_id)
        return ModelSignatures(
            run_id=run_id, sha256=sha256, plain_sha256=plain, signatures=signatures
        )

    def _accepted_model(self, run_id: str, caller: Caller) -> tuple[RunStatus, str]:
        status = self.visible_status(run_id, caller)
        if status.model_sha256 is None:
            raise NotFoundError(
                f"run {run_id} is {status.state} and has no accepted model; it has one when every "
                "bank has submitted the same"
            )
        return status, status.model_sha256

    # Parts

    def _read_key(self, run_id: str) -> PublicKey:
        return combine.public_key(
            self._store.public_key(run_id),
            insecure_allow_small_keys=self._insecure_allow_small_keys,
        )

    def visible_status(self, run_id: str, caller: Caller) -> RunStatus:
        """Return the status of a run of the caller's; all are the operator's.

        Raises
        ------
        NotFoundError
            If there is no such run.
        ForbiddenError
            If the caller is a bank outside the cohort.
        RunFailedError
            If the run has failed and the caller is a bank.
        """
        status = self.require_cohort(run_id, caller)
        if caller.bank is not None and status.state is RunState.FAILED:
            raise RunFailedError(f"run {run_id} has failed: {status.failure}")
        return status

    def require_cohort(self, run_id: str, caller: Caller) -> RunStatus:
        """Return the status of a run, failed or not.

        Raises
        ------
        NotFoundError
            If there is no such run.
        ForbiddenError
            If the caller is a bank outside the cohort.
        """
        status = self._store.status(run_id)
        if caller.bank is not None and caller.bank not in status.cohort:
            raise ForbiddenError(f"{caller.bank} is not in the cohort of run {run_id}")
        return status

    def _opened_round(self, snapshot: Snapshot, number: int, bank: str) -> machine.Round | None:
        """Return a round that is closed, or that the current banks can close.

        Raises
        ------
        NotFoundError
            If it is of the future.
        CohortChangedError
            If it was abandoned, or the bank does not take part any more.
        """
        run, current = snapshot.run, snapshot.round
        if number > run.round_number:
            raise NotFoundError(
                f"run {run.run_id} has no round {number} yet; round {run.round_number} is the next "
                "to be closed"
            )
        if current is None or not current.closed:
            machine.require_together(run, bank, what=f"round {number}", number=number)
        return current


def _raise_failure(step: machine.Transition) -> None:
    if step.run.state is RunState.FAILED:
        raise RunFailedError(f"run {step.run.run_id} has failed: {step.run.failure}")


def _check_sealed(run_id: str, visibility: ModelVisibility, model: machine.ModelHashes) -> None:
    if visibility is ModelVisibility.MEMBERS and model.stored == model.plain:
        raise ProtocolError(
            f"run {run_id}: model was sent in the clear, but the run's models are for members "
            "only; seal it"
        )
    if visibility is ModelVisibility.AGGREGATOR and model.stored != model.plain:
        raise ProtocolError(
            f"run {run_id}: header {MODEL_PLAIN_HEADER} is {model.plain}, but the model's bytes "
            f"have sha256 {model.stored}; the run's models are not sealed"
        )


def _terms(header: FrameHeader) -> machine.Terms:
    return machine.Terms(header.label, header.context, header.count, header.step)


def _receipt(run: machine.Run, number: int, received: int) -> RoundReceipt:
    return RoundReceipt(
        run_id=run.run_id, round_number=number, received=received, expected=run.size
    )


def _gone(run: machine.Run, number: int, bank: str, what: str) -> FraudFedError:
    """Return why something is not kept any more: other banks take part, or the round is past."""
    try:
        machine.require_together(run, bank, what=f"the {what} of round {number}", number=number)
    except CohortChangedError as change:
        return change
    return NotFoundError(
        f"run {run.run_id}: the {what} of round {number} can no longer be read, the run is at "
        f"round {run.round_number} of step {run.step}"
    )
