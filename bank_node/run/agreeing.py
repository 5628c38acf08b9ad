"""The word of a bank to a generation: its answer and a fresh key, kept before they are sent.

Law: at most one key is ever made for a generation, and it stands for the same data, rules and
release; after an agreement nothing of an earlier generation is sealed or opened.
"""

import json
import logging

from bank_node.config import CohortRules
from bank_node.run.agreement.answers import (
    check_answers,
    check_echo,
    check_entrants,
    check_repeated,
)
from bank_node.run.context import RunContext
from bank_node.run.job import S, Work
from bank_node.run.record import R
from bank_node.state.agreement import Agreement
from bank_node.state.checkpoints import Checkpoint
from fraudfed import __version__
from fraudfed.consortium.ephemeral import EphemeralKey, local_digest
from fraudfed.consortium.public.generations import sign_ephemeral_key
from fraudfed.errors import ProtocolError, StateError
from fraudfed.wire.messages import Generation, Join, Ready, RunState, RunStatus

_log = logging.getLogger(__name__)


def local_sha256(data_sha256: str, rules: CohortRules) -> str:
    """Return the digest of all that a bank's contributions depend on, and others do not know.

    A rule counts whether or not it matters for the run, but for two that never change what is
    sealed: the allowance of the ledger, which may be raised while a run waits for it, and with whom
    finished runs are shared.

    Parameters
    ----------
    data_sha256 : str
        Of its data: ``Work.data_sha256``.
    rules : CohortRules
        Its own; what may be summed of its rows depends on some of them.
    """
    counted = rules.model_dump(mode="json", exclude={"set_changes", "share_finished_runs"})
    return local_digest(data_sha256, json.dumps(counted, sort_keys=True), __version__)


class Agreeing:
    """What one bank has said in a run, and says next.

    Parameters
    ----------
    context : RunContext
    work : Work
    """

    def __init__(self, context: RunContext, work: Work[S, R]) -> None:
        self._context = context
        self._agreements = context.agreements
        self._run = context.run
        self._bank = context.bank
        self._local_sha256 = local_sha256(work.data_sha256, context.rules)
        #: Number of the generation in which this process was told that it waits.
        self._waits_since: int | None = None

    @property
    def last(self) -> Agreement | None:
        """The last agreement."""
        return self._agreements.last

    def may_read(self, generation: int) -> bool:
        """Tell whether closed rounds of a generation can be read: it is the last agreed to."""
        last = self.last
        return (
            last is not None
            and last.generation == generation
            and last.key is not None
            and last.local_sha256 == self._local_sha256
        )

    def check_told(self, status: RunStatus) -> None:
        """Refuse a status that contradicts what this bank said; raises as ``check_echo``."""
        check_echo(status, self._bank, self.last)

    def check_repeated(self, status: RunStatus, number: int) -> None:
        """Refuse a status that does not repeat this bank's agreement; raises as ``check_echo``."""
        self.check_told(status)
        check_repeated(status, self._bank, number)

    def join(self, status: RunStatus) -> RunStatus:
        """Join a run before its start, which is to agree to generation 0.

        Parameters
        ----------
        status : RunStatus
            As this bank was told before.

        Raises
        ------
        StateError
            If it has agreed with other data, rules or another release, or the aggregator knows of
            an agreement that it does not know.
        ProtocolError
            If the aggregator repeats the answer otherwise.
        """
        self.check_told(status)
        ready = self._answer(status.generation, step=0, more_rows=0)
        body = Join(key=ready.key, signature=ready.signature)
        told = self._context.client.join(self._run.run_id, body)
        self.check_repeated(told, 0)
        return told

    def agree(self, generation: Generation, *, step: int, more_rows: int) -> RunStatus:
        """Agree to a generation; say the same again if that was done before.

        Raises
        ------
        StateError, ProtocolError
            As ``join``; ProtocolError also if this bank is said to enter, and never asked to.
        """
        self._require_asked(generation)
        ready = self._answer(generation, step=step, more_rows=more_rows)
        run_id, number = self._run.run_id, generation.number
        told = self._context.client.become_ready(run_id, number, ready)
        self.check_repeated(told, number)
        return told

    def ask(self, status: RunStatus) -> RunStatus:
        """Ask to be let in at the next step, once; return what is told then.

        Parameters
        ----------
        status : RunStatus
            Of a run that this bank does not take part in.

        Raises
        ------
        ProtocolError
            If this bank takes part in the generation after all, or is said not to wait after it
            was told that it does.
        """
        number, last = status.generation.number, self.last
        newest = self._context.checkpoints.latest()
        if newest is not None and newest.generation >= number:
            raise ProtocolError(
                f"run {self._run.run_id}: the aggregator says that {self._bank} does not take part "
                f"in generation {number}, in which it does; the aggregator is at fault"
            )
        if last is not None and last.generation == number > 0:
            # Where it is dropped before the generation begins, that makes another one.
            raise ProtocolError(
                f"run {self._run.run_id}: generation {number} is said to be without {self._bank}, "
                "which has agreed to it; the aggregator is at fault"
            )
        is_told = self._bank in status.waiting
        if is_told and self._has_asked(number):
            self._waits_since = number
            return status
        if self._waits_since == number and not is_told:
            raise ProtocolError(
                f"run {self._run.run_id}: {self._bank} waits to be let in, and is said not to; the "
                "aggregator is at fault"
            )
        _log.warning(
            "this bank does not take part in generation %d (of %s); it asks to rejoin",
            *(number, ", ".join(status.generation.banks)),
        )
        self._agreements.ask(number)
        told = self._context.client.join(self._run.run_id, Join())
        self.check_told(told)
        if self._bank in told.waiting:
            self._waits_since = told.generation.number
        elif self._bank not in told.generation.banks and told.state is not RunState.FINISHED:
            raise ProtocolError(
                f"run {self._run.run_id}: {self._bank} has asked to be let in, and is said not to "
                "wait; the aggregator is at fault"
            )
        return told

    def begun(self, generation: Generation, last: Checkpoint | None) -> Agreement:
        """Return this bank's agreement to a generation that has begun, with everybody's keys.

        Parameters
        ----------
        last : Checkpoint or None
            The newest one.

        Raises
        ------
        StateError
            If this bank has not agreed to it, or with other data, rules or another release.
        ProtocolError, KeyMaterialError
            As ``check_answers`` and ``check_entrants``, or if the generation is described otherwise
            than when this bank agreed to it, or this bank enters it and never asked to.
        """
        agreement, _ = self._agreements.of(generation.number)
        self._require_same_local(agreement)
        keys = check_answers(generation, self._run.run_id, self._context.epoch.key_epoch)
        same_banks = agreement.banks == generation.banks or generation.number == 0
        if not same_banks or agreement.keys not in ((), keys):
            raise ProtocolError(
                f"run {self._run.run_id}: the aggregator describes generation {generation.number} "
                "otherwise than before; the aggregator is at fault"
            )
        if not agreement.keys:
            self._require_asked(generation)
            check_entrants(generation, self._bank, agreement, last)
            self._agreements.begin(keys)
        begun, _ = self._agreements.of(generation.number)
        return begun

    def _answer(self, generation: Generation, *, step: int, more_rows: int) -> Ready:
        """Return what this bank says to a generation; new answers are on disk then."""
        last, number = self.last, generation.number
        if last is None or last.generation < number:
            # In this order: where the next agreement is on disk, nothing of the last one can be
            # opened any more.
            self._context.forget_sealed()
            place = f"{self._run.run_id} {number} {self._bank}"
            binding = f"{place} {self._local_sha256}".encode()
            key = EphemeralKey.generate(binding)
            signature = sign_ephemeral_key(
                self._context.connection.identity,
                run_id=self._run.run_id,
                epoch=self._context.epoch.key_epoch.epoch,
                generation=number,
                bank=self._bank,
                key=key.public,
            )
            newest = self._context.checkpoints.latest()
            known = -1 if newest is None else newest.generation
            is_unknown = last is not None and last.generation > known
            earlier = (*last.earlier, last.banks) if last is not None and is_unknown else ()
            self._agreements.agree(
                Agreement(
                    generation=number,
                    banks=generation.banks,
                    step=step,
                    more_rows=more_rows,
                    local_sha256=self._local_sha256,
                    key=key,
                    signature=signature,
                    earlier=earlier,
                )
            )
        said, key = self._agreements.of(number)
        self._require_same_local(said)
        return Ready(
            step=said.step, more_rows=said.more_rows, key=key.public, signature=said.signature
        )

    def _require_same_local(self, agreement: Agreement) -> None:
        if agreement.local_sha256 != self._local_sha256:
            raise StateError(
                f"run {self._run.run_id}: the data, the rules or the release differ from those "
                f"that this bank agreed to generation {agreement.generation} with, and its key "
                "stands for; nothing was sent: continue with the file, the rules and the release "
                "of then, or ask the operator to drop this bank and start it again"
            )

    def _require_asked(self, generation: Generation) -> None:
        """Refuse to enter a run late without having asked to."""
        if self._bank in generation.entrants and not self._has_asked(generation.number - 1):
            raise ProtocolError(
                f"run {self._run.run_id}: the aggregator lets {self._bank} enter generation "
                f"{generation.number}, which this bank never asked for; nothing was sent, the "
                "aggregator is at fault"
            )

    def _has_asked(self, number: int) -> bool:
        """Tell whether this bank asked to be let in, since it last took part, up to ``number``."""
        newest, asked = self._context.checkpoints.latest(), self._agreements.asked
        after = -1 if newest is None else newest.generation
        return asked is not None and after < asked <= number
