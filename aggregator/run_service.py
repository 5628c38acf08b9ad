"""What the API does: state machine, ciphertexts, store and waiters put together.

Order of every change: read, decide (``run_machine``), multiply, commit, wake the waiters, answer.
The commit fails if the run has changed since it was read; then the change starts over. A lock per
run makes that rare within one process; it is no part of the correctness.
"""

import hashlib
import logging
import threading
from collections.abc import Callable
from functools import lru_cache

from aggregator import combine
from aggregator import run_machine as machine
from aggregator.auth import Principal, hash_token, new_token
from aggregator.effects import Payload
from aggregator.store import Snapshot, StaleError, Store
from aggregator.waiters import Waiters
from fraudfed.errors import ForbiddenError, NotFoundError, ProtocolError, RunFailedError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames
from fraudfed.wire.messages import (
    BankToken,
    FrameHeader,
    ModelReceipt,
    RoundList,
    RoundReceipt,
    RunCreated,
    RunList,
    RunSpec,
    RunState,
    RunStatus,
)

__all__ = ["RunService"]

_log = logging.getLogger(__name__)

#: Effects that a waiting bank can observe; the others wake nobody.
_OBSERVABLE = (
    machine.TrainingStarted,
    machine.ProductComplete,
    machine.RoundClosed,
    machine.ModelAccepted,
    machine.RunFailed,
)


class RunService:
    """All that can be done with banks, runs, rounds and models."""

    def __init__(
        self, store: Store, waiters: Waiters, *, insecure_allow_small_keys: bool = False
    ) -> None:
        self._store = store
        self._waiters = waiters
        self._insecure_allow_small_keys = insecure_allow_small_keys
        self._locks_guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        # A run's key never changes.
        self._key = lru_cache(maxsize=64)(self._read_key)

    # Banks and runs

    def register_bank(self, name: str) -> BankToken:
        """Make a bank known; raises ``ConflictError`` if its name is taken."""
        token = new_token()
        self._store.register_bank(name, hash_token(token))
        _log.info("bank %s registered", name)
        return BankToken(name=name, token=token)

    def create_run(self, spec: RunSpec) -> RunCreated:
        """Open a run; raises ``KeyMaterialError`` if its public key cannot be used."""
        combine.public_key(
            spec.public_key, insecure_allow_small_keys=self._insecure_allow_small_keys
        )
        run_id = self._store.create_run(spec)
        _log.info("run %s opened for %d banks", run_id, spec.cohort_size)
        return RunCreated(run_id=run_id)

    def list_runs(self, caller: Principal) -> RunList:
        """Return the runs that the caller may see."""
        return RunList(runs=self._store.statuses(visible_to=caller.bank))

    def status(
        self, run_id: str, caller: Principal, *, while_state: RunState | None, seconds: float
    ) -> RunStatus:
        """Return the status, after waiting up to ``seconds`` while the run is in ``while_state``.

        Raises
        ------
        RunFailedError
            If the run has failed and the caller is a bank; the operator gets the status.
        """

        def read() -> RunStatus | None:
            status = self._visible_status(run_id, caller)
            return None if status.state is while_state else status

        found = self._waiters.wait(run_id, read, seconds=seconds)
        return found if found is not None else self._visible_status(run_id, caller)

    def join(self, run_id: str, bank: str) -> RunStatus:
        """Make a bank a member; a member already stays one."""
        self._change(run_id, None, machine.Join(bank))
        return self._store.status(run_id)

    def abort(self, run_id: str, caller: Principal, reason: str) -> RunStatus:
        """End a run without a model."""
        # One line, because it becomes part of one-line errors and log lines everywhere.
        event = machine.Abort(caller.bank, " ".join(reason.split()))
        self._change(run_id, None, event)
        return self._store.status(run_id)

    def rounds(self, run_id: str, caller: Principal, *, start: int, limit: int) -> RoundList:
        """Return what is on record of a run's rounds."""
        self._visible_status(run_id, caller, members_only=True)
        summaries = self._store.round_summaries(run_id, start=start, limit=limit)
        return RoundList(run_id=run_id, rounds=summaries)

    # Rounds

    def contribute(self, run_id: str, number: int, bank: str, body: bytes) -> RoundReceipt:
        """Multiply a bank's ciphertexts into the round's product."""
        snapshot = self._member_snapshot(run_id, bank, number)
        header, vector = combine.read_contribution(
            body, key=self._key(run_id), run_id=run_id, round_number=number, bank=bank
        )
        event = machine.Contribute(bank, number, _terms(header), _sha256(body))
        if machine.advance(snapshot.run, snapshot.round, event).effects:
            # Outside the lock: this is the long part, and needs only the bank's own ciphertexts.
            vector.check()

        def multiply(step: machine.Transition) -> Payload:
            if not any(isinstance(e, machine.ContributionAccepted) for e in step.effects):
                return Payload()
            running = self._store.product(run_id, number)
            return Payload(received_bytes=len(body), product=combine.multiply(running, vector))

        step = self._change(run_id, number, event, multiply)
        _raise_failure(step)
        received = len(step.round.contributions) if step.round else 0
        return _receipt(step.run, number, received)

    def product(
        self, run_id: str, number: int, bank: str, *, shard: int, seconds: float
    ) -> bytes | None:
        """Return the frame with a shard of the product, or None if it is not complete in time."""
        key = self._key(run_id)

        def read() -> bytes | None:
            snapshot = self._member_snapshot(run_id, bank, number)
            cohort_size = snapshot.run.cohort_size
            if shard >= cohort_size:
                raise ProtocolError(
                    f"run {run_id}: shard {shard} was asked for, expected 0 to {cohort_size - 1}"
                )
            current = self._opened_round(snapshot, number)
            if current is None or len(current.contributions) < cohort_size:
                return None
            data = self._store.product(run_id, number)
            if data is None:
                raise _gone(snapshot.run, number, "product")
            return combine.product_frame(
                CiphertextVector(key, data),
                run_id=run_id,
                round_number=number,
                label=current.terms.label,
                context=current.terms.context,
                shard=shard,
                n_shards=cohort_size,
            )

        return self._waiters.wait(run_id, read, seconds=seconds)

    def open(self, run_id: str, number: int, bank: str, body: bytes) -> RoundReceipt:
        """Store a bank's sealed opening of its shard."""
        self._member_snapshot(run_id, bank)
        header = combine.read_opening(body, run_id=run_id, round_number=number, bank=bank)
        event = machine.Open(bank, number, _terms(header), header.shard, _sha256(body))
        payload = Payload(received_bytes=len(body), opening=body)
        step = self._change(run_id, number, event, lambda _: payload)
        return _receipt(step.run, number, len(step.round.openings) if step.round else 0)

    def openings(self, run_id: str, number: int, bank: str, *, seconds: float) -> bytes | None:
        """Return all openings of a round joined, or None if they are not all in in time."""

        def read() -> bytes | None:
            snapshot = self._member_snapshot(run_id, bank, number)
            current = self._opened_round(snapshot, number)
            if current is None or len(current.openings) < snapshot.run.cohort_size:
                return None
            stored = self._store.opening_frames(run_id, number)
            if stored is None:
                raise _gone(snapshot.run, number, "openings")
            return frames.encode_many(stored)

        return self._waiters.wait(run_id, read, seconds=seconds)

    # Models

    def submit_model(self, run_id: str, bank: str, sha256: str, body: bytes) -> ModelReceipt:
        """Store a bank's vote; the last equal vote of the cohort stores the model."""
        self._member_snapshot(run_id, bank)
        actual = _sha256(body)
        if actual != sha256:
            raise ProtocolError(
                f"run {run_id}: model was sent to address {sha256}, but its bytes have sha256 "
                f"{actual}; the body was altered on its way"
            )
        event = machine.Vote(bank, sha256)
        payload = Payload(model=body)
        step = self._change(run_id, None, event, lambda _: payload)
        _raise_failure(step)
        return ModelReceipt(
            run_id=run_id,
            sha256=sha256,
            votes=len(step.run.votes),
            expected=step.run.cohort_size,
            accepted=step.run.state is RunState.FINISHED,
        )

    def model(self, run_id: str, caller: Principal) -> tuple[str, bytes]:
        """Return hash and bytes of a run's accepted model.

        Raises
        ------
        NotFoundError
            If no model is accepted yet.
        """
        status = self._visible_status(run_id, caller, members_only=True)
        content = self._store.model(status.model_sha256) if status.model_sha256 else None
        if status.model_sha256 is None or content is None:
            raise NotFoundError(
                f"run {run_id} is {status.state} and has no accepted model; it has one when every "
                "bank has submitted the same"
            )
        return status.model_sha256, content

    # Parts

    def _change(
        self,
        run_id: str,
        number: int | None,
        event: machine.Event,
        payload: Callable[[machine.Transition], Payload] = lambda _: Payload(),
    ) -> machine.Transition:
        with self._lock_of(run_id):
            while True:
                before = self._store.snapshot(run_id, number)
                step = machine.advance(before.run, before.round, event)
                if not step.effects:
                    return step
                try:
                    self._store.commit(before, step, payload(step))
                except StaleError:
                    continue
                break
        if any(isinstance(effect, _OBSERVABLE) for effect in step.effects):
            self._waiters.changed(run_id)
        _log_effects(step)
        return step

    def _lock_of(self, run_id: str) -> threading.Lock:
        with self._locks_guard:
            return self._locks.setdefault(run_id, threading.Lock())

    def _read_key(self, run_id: str) -> PublicKey:
        return combine.public_key(
            self._store.spec(run_id).public_key,
            insecure_allow_small_keys=self._insecure_allow_small_keys,
        )

    def _member_snapshot(self, run_id: str, bank: str, number: int | None = None) -> Snapshot:
        snapshot = self._store.snapshot(run_id, number)
        machine.require_active_member(snapshot.run, bank)
        return snapshot

    def _visible_status(
        self, run_id: str, caller: Principal, *, members_only: bool = False
    ) -> RunStatus:
        status = self._store.status(run_id)
        if caller.bank is None:
            return status
        is_open = status.state is RunState.OPEN and not members_only
        if caller.bank not in status.members and not is_open:
            raise ForbiddenError(
                f"{caller.bank} is no member of run {run_id}, which is no longer open"
            )
        if status.state is RunState.FAILED:
            raise RunFailedError(f"run {run_id} has failed: {status.failure}")
        return status

    def _opened_round(self, snapshot: Snapshot, number: int) -> machine.Round | None:
        if number > snapshot.run.round_number:
            raise NotFoundError(
                f"run {snapshot.run.run_id} has no round {number} yet; round "
                f"{snapshot.run.round_number} is the next to be closed"
            )
        return snapshot.round


def _log_effects(step: machine.Transition) -> None:
    run_id = step.run.run_id
    for effect in step.effects:
        match effect:
            case machine.MemberJoined(bank):
                _log.info("run %s: %s joined", run_id, bank)
            case machine.RoundClosed(number):
                _log.info("run %s: round %d closed", run_id, number)
            case machine.ModelAccepted(sha256):
                _log.info("run %s: model %s accepted", run_id, sha256)
            case machine.RunFailed(reason):
                _log.warning("run %s failed: %s", run_id, reason)
            case _:
                _log.debug("run %s: %s", run_id, effect)


def _raise_failure(step: machine.Transition) -> None:
    if step.run.state is RunState.FAILED:
        raise RunFailedError(f"run {step.run.run_id} has failed: {step.run.failure}")


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _terms(header: FrameHeader) -> machine.Terms:
    return machine.Terms(header.label, header.context, header.count)


def _receipt(run: machine.Run, number: int, received: int) -> RoundReceipt:
    return RoundReceipt(
        run_id=run.run_id, round_number=number, received=received, expected=run.cohort_size
    )


def _gone(run: machine.Run, number: int, what: str) -> NotFoundError:
    return NotFoundError(
        f"run {run.run_id}: the {what} of round {number} are no longer kept, every bank has gone "
        f"on to round {run.round_number}"
    )
