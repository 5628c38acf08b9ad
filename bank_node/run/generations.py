"""From which step, and with which banks, this bank enters a run, at its start and ever after.

A run goes from one *generation* of banks to the next. The run continues without a bank that stays
away too long, and when the bank rejoins, the others let it in at the next step. Whatever happened -
this program was killed, the aggregator was, this bank or another one was dropped - this bank does
the same: it asks the aggregator for the current generation, checks it (``agreement.partners``), and
continues from the last step that is on disk.

All banks must continue from the same state: the work as it was when the step was finished (the
*base*), and what follows for other banks from public facts. So a checkpoint at the beginning of a
generation holds the base and not what was made of it.
"""

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import Generic

from bank_node.http.client import LONG_POLL_SECONDS, wait_for
from bank_node.run.agreeing import Agreeing
from bank_node.run.agreement.facts import run_facts
from bank_node.run.agreement.partners import check_partners
from bank_node.run.context import RunContext
from bank_node.run.handover import hand_over, take_handover
from bank_node.run.job import S, Work
from bank_node.run.record import R
from bank_node.run.reveals import ADVICE, refusal
from bank_node.run.sums.secure_communicator import StartingPoint
from bank_node.state.checkpoints import Checkpoint
from fraudfed.errors import CohortError, ProtocolError, StateError
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.wire.messages import Generation, RunState, RunStatus

_log = logging.getLogger(__name__)

#: Between two looks at a run that gathers, so that people see which banks have agreed.
_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Entry(Generic[S]):
    """The entry into a generation: a stretch of the work with the same banks.

    Attributes
    ----------
    banks : tuple of str
        In the order of the generation.
    checkpoint : Checkpoint
        On disk.
    start : state of the work, or None
        Where the work continues; None at its beginning.
    at : StartingPoint
        Where the sums continue.
    """

    banks: tuple[str, ...]
    checkpoint: Checkpoint
    start: S | None
    at: StartingPoint

    def after(self, state: S, *, round_number: int, transcript: str) -> Checkpoint:
        """Return the checkpoint after a step that was finished since this entry."""
        began = self.checkpoint
        return replace(
            began,
            step=state.n_steps,
            round_number=round_number,
            transcript=transcript,
            # All of these are counted now: in the preparation, or by their bound.
            counted=tuple(sorted({*began.counted, *began.cohort})),
            more_rows=0,
            state=state.to_bytes(),
        )


def rows_bound(n_rows: int) -> int:
    """Return the least power of two from ``n_rows`` on: all that others learn of it."""
    return 1 << max(n_rows - 1, 0).bit_length()


class Generations(Generic[S, R]):
    """The way of one bank through the generations of a run.

    Parameters
    ----------
    context : RunContext
    work : Work
    """

    def __init__(self, context: RunContext, work: Work[S, R]) -> None:
        self._context = context
        self._work = work
        self._client = context.client
        self._checkpoints = context.checkpoints
        self._run = context.run
        self._bank = context.bank
        self._timeout_seconds = context.options.cohort_timeout_seconds
        self._agreeing = Agreeing(context, work)
        self._has_caught_up = False

    def next_entry(self) -> Entry[S] | None:
        """Wait until this bank can continue, and return how; None if the run is finished.

        Raises
        ------
        RunFailedError
            If the run has failed.
        CohortError
            If the others did not agree in time, or too few banks are left for this bank.
        CohortChangedError
            If yet another generation was formed before this bank had agreed to one; ask again.
        ForbiddenError
            If this bank was dropped too often to rejoin.
        StateError
            If its checkpoints are damaged, or not those it needs; or if this bank has agreed to a
            later generation, or not to this one.
        ProtocolError, KeyMaterialError
            If the aggregator repeats what this bank said otherwise, or what others said is not
            signed by them.
        FraudFedError
            As the aggregator's answers say.
        """
        while True:
            status = self._client.run(self._run.run_id)
            if status.state is RunState.FINISHED:
                return None
            if self._bank not in status.generation.banks:
                self._come_back(status)
                continue
            generation = status.generation
            check_partners(generation, self._run, self._bank)
            if not self._context.trust.is_enough(generation.banks):
                self._wait_for_more(status)
                continue
            self._agreeing.check_told(status)
            last = self._checkpoints.latest()
            refused = self._refusal(status, last)
            if status.state is RunState.TRAINING and refused is None:
                entry = self._entry(status, last)
                if entry is not None:
                    self._has_caught_up = True
                    return entry
            elif (
                status.state is RunState.GATHERING
                and last is not None
                and self._can_catch_up(generation, last)
            ):
                # What the others have closed before this program was started can still be read.
                self._has_caught_up = True
                return self._resume(status, last, catches_up=True)
            elif refused is None:
                self._agree(generation)
            else:
                self._hold_back(status, refused)

    def _wait_for_more(self, status: RunStatus) -> None:
        """Do not agree to a generation of too few banks, and wait until it changes.

        A bank that is missing may come back; nothing is sent meanwhile.

        Raises
        ------
        CohortError
            If the generation has begun all the same, or nobody came back in time.
        """
        generation, trust = status.generation, self._context.trust
        where = f"run {status.run_id}: generation {generation.number}"
        if status.state is not RunState.GATHERING:
            trust.require_enough(generation.banks, where=where)
        _log.warning(
            "%s is of %s, this bank takes part from %d on; it waits for more",
            *(where, ", ".join(generation.banks), trust.least_banks),
        )

        def question(wait: float) -> RunStatus | None:
            found = self._client.run(
                status.run_id,
                while_state=RunState.GATHERING,
                while_generation=generation.number,
                wait_seconds=min(wait, _LOOK_SECONDS),
            )
            same = (found.generation.number, found.generation.banks) == (
                generation.number,
                generation.banks,
            )
            return None if same and found.state is RunState.GATHERING else found

        if wait_for(question, seconds=self._timeout_seconds) is None:
            trust.require_enough(generation.banks, where=where)

    def was_finished_by_others(self) -> bool:
        """Tell whether other banks have finished the run without this one."""
        status = self._client.run(self._run.run_id)
        finished = status.state is RunState.FINISHED
        return finished and self._bank not in status.generation.banks

    def _can_catch_up(self, generation: Generation, last: Checkpoint) -> bool:
        """Tell whether this bank may read what the others have closed before the next agreement."""
        if self._has_caught_up or self._bank in generation.entrants:
            return False
        # Once it has agreed to another generation, nothing of the last one is opened any more.
        return self._agreeing.may_read(last.generation)

    def _entry(self, status: RunStatus, last: Checkpoint | None) -> Entry[S] | None:
        generation = status.generation
        if last is not None and last.generation > generation.number:
            raise StateError(
                f"run {status.run_id}: this bank has taken part in generation {last.generation}, "
                f"the aggregator says that there is generation {generation.number}; it was "
                "restored from an older back-up, or is at fault: ask its operator"
            )
        if last is not None and last.generation == generation.number:
            self._require_same_data(last)
        self._agreeing.begun(generation, last)
        if last is not None and last.generation == generation.number:
            if (last.cohort, last.first_step, last.first_round) != (
                generation.banks,
                generation.first_step,
                generation.first_round,
            ):
                raise ProtocolError(
                    f"run {status.run_id}: the aggregator describes generation "
                    f"{generation.number} otherwise than before; the aggregator is at fault"
                )
            return self._resume(status, last)
        return self._enter(status)

    def _resume(self, status: RunStatus, last: Checkpoint, *, catches_up: bool = False) -> Entry[S]:
        """Continue from a checkpoint, in its own generation."""
        self._require_same_data(last)
        if last.step or last.round_number:
            _log.info(
                "continuing from step %d, round %d of generation %d with %s",
                *(last.step, last.round_number, last.generation, ", ".join(last.cohort)),
            )
        transcript = Transcript.resume(self._context.epoch.package.expose_secret(), last.transcript)
        point = StartingPoint(
            round_number=last.round_number,
            step=last.step,
            transcript=transcript,
            closed_rounds=status.round_number,
            contributed=not catches_up and self._bank in status.contributed,
            catches_up=catches_up,
        )
        return Entry(last.cohort, last, self._start(last), point)

    def _require_same_data(self, last: Checkpoint) -> None:
        if last.data_sha256 != self._work.data_sha256:
            raise StateError(
                f"run {self._run.run_id}: the data differ from those that this bank began the run "
                "with; name the file that it began with, unchanged"
            )

    def _start(self, checkpoint: Checkpoint) -> S | None:
        if checkpoint.step == 0:
            return None
        state = self._work.decode(checkpoint.state)
        if checkpoint.generation > 0 and checkpoint.step == checkpoint.first_step:
            # The checkpoint that began the generation: other banks continue from here.
            return self._work.regroup(state, more_rows=checkpoint.more_rows)
        return state

    def _enter(self, status: RunStatus) -> Entry[S] | None:
        """Begin a generation; None if it is no longer the current one."""
        generation = status.generation
        base: bytes = b""
        counted: tuple[str, ...] = ()
        if generation.first_step == 0:
            pass  # from the beginning
        elif self._bank in generation.entrants:
            found = take_handover(self._context, self._work, generation)
            if found is None:
                return None
            base, counted = found
            self._require_own_state(generation, base)
        else:
            mine = self._checkpoints.at(generation.first_step)
            if mine is None:
                raise StateError(
                    f"run {status.run_id}: generation {generation.number} begins at step "
                    f"{generation.first_step}, which this state directory does not hold; restore "
                    "the newest copy, or ask the operator to drop this bank and start it again"
                )
            base, counted = mine.state, mine.counted
            if generation.entrants:
                hand_over(self._context, generation, base, counted)
        more_rows = sum(one.more_rows for one in generation.ready if one.bank not in counted)
        facts = run_facts(
            self._run,
            self._context.epoch.key_epoch,
            generation,
            base=base,
            more_rows=more_rows,
        )
        transcript = Transcript.begin(self._context.epoch.package.expose_secret(), facts)
        checkpoint = Checkpoint(
            run_id=self._run.run_id,
            bank=self._bank,
            step=generation.first_step,
            generation=generation.number,
            cohort=generation.banks,
            first_step=generation.first_step,
            first_round=generation.first_round,
            round_number=generation.first_round,
            transcript=transcript.digest,
            facts_sha256=hashlib.sha256(facts).hexdigest(),
            data_sha256=self._work.data_sha256,
            counted=counted,
            more_rows=more_rows,
            state=base,
        )
        self._checkpoints.save(checkpoint)
        if generation.number > 0:
            _log.info(
                "generation %d of %s begins at step %d with round %d",
                *(generation.number, ", ".join(generation.banks)),
                *(generation.first_step, generation.first_round),
            )
        return self._resume(status, checkpoint)

    def _refusal(self, status: RunStatus, last: Checkpoint | None) -> str | None:
        """Return why this bank cannot sum with the banks of the current generation, if so."""
        generation = status.generation
        step = 0 if last is None else last.step
        begins = status.state is RunState.TRAINING and (
            last is None or last.generation != generation.number
        )
        if begins:
            step = generation.first_step
        return refusal(self._context, self._work, generation.number, generation.banks, step=step)

    def _hold_back(self, status: RunStatus, refused: str) -> None:
        """Neither agree nor contribute, and wait until another generation is formed.

        Raises
        ------
        CohortError
            If that does not happen in time.
        """
        run_id, number, state = self._run.run_id, status.generation.number, status.state
        # Banks that were not there before are turned away, if there are any.
        is_gathering = state is RunState.GATHERING
        if is_gathering and self._client.decline(run_id, number).generation.number != number:
            return
        _log.warning("%s; this bank sends nothing and waits for another set of banks", refused)

        def question(wait: float) -> RunStatus | None:
            now = self._client.run(
                run_id, while_state=state, while_generation=number, wait_seconds=wait
            )
            return None if (now.state, now.generation.number) == (state, number) else now

        if wait_for(question, seconds=self._timeout_seconds) is None:
            raise CohortError(
                f"{refused}; no other generation was formed within {self._timeout_seconds:g} s: "
                f"{ADVICE}"
            )

    def _require_own_state(self, generation: Generation, base: bytes) -> None:
        """Refuse a base that is not this bank's own state of the step, if it has one."""
        own = self._checkpoints.at(generation.first_step)
        if own is not None and own.state != base:
            raise ProtocolError(
                f"run {self._run.run_id}: what is handed over for generation {generation.number} "
                f"differs from this bank's own state after step {generation.first_step}; nothing "
                "was sent: a bank of the run uses another release, or is at fault"
            )

    def _agree(self, generation: Generation) -> None:
        """Agree to a generation, and wait until it begins or another one is formed."""
        last = self._checkpoints.latest()
        _log.info("agreeing to generation %d of %s", generation.number, ", ".join(generation.banks))
        run_id, number = self._run.run_id, generation.number
        status = self._agreeing.agree(
            generation,
            step=0 if last is None else last.step,
            more_rows=self._more_rows(generation, last),
        )

        def question(wait: float) -> RunStatus | None:
            nonlocal status
            agreed = tuple(one.bank for one in status.generation.ready)
            self._context.progress.banks(agreed, len(status.generation.banks))
            status = self._client.run(
                run_id,
                while_state=RunState.GATHERING,
                while_generation=number,
                wait_seconds=min(wait, _LOOK_SECONDS),
            )
            self._agreeing.check_repeated(status, number)
            same = status.state is RunState.GATHERING and status.generation.number == number
            return None if same else status

        if wait_for(question, seconds=self._timeout_seconds) is None:
            missing = set(generation.banks) - {one.bank for one in status.generation.ready}
            raise CohortError(
                f"run {run_id}: {', '.join(sorted(missing))} did not agree to generation {number} "
                f"within {self._timeout_seconds:g} s; ask them, or wait longer with "
                "--cohort-timeout"
            )

    def _more_rows(self, generation: Generation, last: Checkpoint | None) -> int:
        """Return what this bank says of its rows: nothing where the run declares their number."""
        if self._run.spec.noise_terms is not None or self._is_counted(generation, last):
            return 0
        return rows_bound(self._work.n_rows)

    def _is_counted(self, generation: Generation, last: Checkpoint | None) -> bool:
        """Tell whether every step that others may continue from counts this bank's rows."""
        if last is None or self._bank in generation.entrants:
            return False
        before = self._checkpoints.at(last.step - 1) if last.step > 0 else None
        kept = [one for one in (last, before) if one is not None and one.step > 0]
        return all(self._bank in one.counted for one in kept)

    def _come_back(self, status: RunStatus) -> None:
        """Ask to rejoin, and wait until something changes."""
        self._agreeing.check_told(status)
        if self._bank in status.waiting or self._may_ask(status):
            status = self._agreeing.ask(status)
            if self._bank in status.generation.banks:
                return
        self._client.run(
            self._run.run_id,
            while_state=status.state,
            while_generation=status.generation.number,
            wait_seconds=LONG_POLL_SECONDS,
        )

    def _may_ask(self, status: RunStatus) -> bool:
        """Tell whether this bank could sum with those that continue without it, if it came in.

        While a generation gathers it asks anyway: others may come in, too.
        """
        if status.state is not RunState.TRAINING:
            return True
        generation = status.generation
        banks = {*generation.banks, *status.waiting, self._bank}
        # A later step than any that this bank has begun may be of other rows or days.
        last = self._checkpoints.latest()
        step = max(generation.first_step, 0 if last is None else last.step)
        refused = refusal(self._context, self._work, generation.number + 1, banks, step=step)
        if refused is not None:
            _log.warning("%s; this bank does not ask to rejoin", refused)
        return refused is None
