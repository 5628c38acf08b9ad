"""What the API and the deadlines do with generations: agreement, drops, handovers."""

from functools import lru_cache

from aggregator import run_machine as machine
from aggregator.caller import Caller, Role
from aggregator.consortium.members import Members
from aggregator.runs.changes import RunChanges
from aggregator.runs.handovers import Handovers
from aggregator.runs.store import RunStore
from aggregator.runs.waiters import Waiters
from fraudfed.consortium.public.generations import (
    verify_ephemeral_key,
    verify_handover_signature,
)
from fraudfed.errors import CohortChangedError, ForbiddenError
from fraudfed.wire.messages import DropRequest, HandoverReceipt, Ready, RunSpec, RunStatus

_DEADLINE = Caller("deadline", Role.SERVICE)


class GenerationService:
    """All that decides which banks take part in a run that is under way."""

    def __init__(
        self,
        store: RunStore,
        changes: RunChanges,
        handovers: Handovers,
        members: Members,
        waiters: Waiters,
    ) -> None:
        self._store = store
        self._changes = changes
        self._handovers = handovers
        self._members = members
        self._waiters = waiters
        # A run's description never changes.
        self._spec = lru_cache(maxsize=64)(lambda run_id: store.status(run_id).spec)

    def become_ready(self, run_id: str, generation: int, caller: Caller, body: Ready) -> RunStatus:
        """Note that a bank agrees to a generation; the last one lets it begin.

        Raises
        ------
        AuthError, KeyMaterialError
            If its ephemeral key is not signed by the bank, or is none.
        """
        bank = caller.name
        self._changes.member_snapshot(run_id, bank)
        verify_ephemeral_key(
            self._members.signing_key(bank),
            body.signature,
            run_id=run_id,
            epoch=self._spec(run_id).key_epoch,
            generation=generation,
            bank=bank,
            key=body.key,
        )
        readiness = machine.Readiness(bank, body.step, body.more_rows, body.key, body.signature)
        self._changes.apply(run_id, machine.BecomeReady(generation, readiness), caller)
        return self._store.status(run_id)

    def decline(self, run_id: str, generation: int, caller: Caller) -> RunStatus:
        """Note that a bank does not agree to a generation; another may be formed."""
        self._changes.apply(run_id, machine.Decline(caller.name, generation), caller)
        return self._store.status(run_id)

    def drop(self, run_id: str, caller: Caller, body: DropRequest) -> RunStatus:
        """Continue without a bank."""
        event = machine.Drop(body.bank, " ".join(body.reason.split()))
        self._changes.apply(run_id, event, caller)
        return self._store.status(run_id)

    def pass_deadline(self, run_id: str, stage: tuple[str, int, int]) -> None:
        """Continue without banks that stay away too long, if the same is still waited for."""
        self._changes.apply(run_id, machine.DeadlinePassed(stage), _DEADLINE)

    def stages(self) -> dict[str, tuple[RunSpec, machine.Stage | None]]:
        """Return what each run that has not ended waits for, by its id."""
        found = {}
        for run_id in self._store.active():
            snapshot = self._store.snapshot(run_id)
            found[run_id] = self._spec(run_id), machine.stage_of(snapshot.run, snapshot.round)
        return found

    def put_handover(
        self, run_id: str, generation: int, caller: Caller, signature: str, body: bytes
    ) -> HandoverReceipt:
        """Keep what the banks of a generation hand to those that enter it.

        Parameters
        ----------
        signature : str
            The bank's over the body, hexadecimal.

        Raises
        ------
        AuthError
            If the signature is not the bank's over this body.
        """
        run = self._changes.member_snapshot(run_id, caller.name).run
        what = f"handover to generation {generation}"
        machine.require_training(run, what=what)
        machine.require_together(run, caller.name, what=what)
        if generation != run.generation:
            raise CohortChangedError(
                f"run {run_id}: {what} refused, the run is at generation {run.generation}"
            )
        if caller.name in run.entrants:
            raise ForbiddenError(f"run {run_id}: {what} refused, {caller.name} enters it itself")
        verify_handover_signature(
            self._members.signing_key(caller.name),
            signature,
            bank=caller.name,
            run_id=run_id,
            epoch=self._spec(run_id).key_epoch,
            generation=generation,
            step=run.first_step,
            sha256=caller.sent_sha256,
        )
        if self._handovers.put(run_id, generation, body, signature, caller):
            self._waiters.changed(run_id)
        return HandoverReceipt(run_id=run_id, generation=generation, sha256=caller.sent_sha256)

    def handover(
        self, run_id: str, generation: int, caller: Caller, *, seconds: float
    ) -> bytes | None:
        """Return what is handed to those that enter a generation, and who has signed it.

        None until every bank that stays has.
        """

        def read() -> bytes | None:
            run = self._changes.member_snapshot(run_id, caller.name).run
            what = f"handover to generation {generation}"
            machine.require_together(run, caller.name, what=what)
            if generation != run.generation:
                raise CohortChangedError(
                    f"run {run_id}: {what} is not kept, the run is at generation {run.generation}"
                )
            staying = tuple(bank for bank in run.banks if bank not in run.entrants)
            return self._handovers.get(run_id, generation, signed_by=staying)

        return self._waiters.wait(run_id, read, seconds=seconds)
