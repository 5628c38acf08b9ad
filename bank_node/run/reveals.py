"""Asking this bank's ledger whether it may sum with a set of banks, and noting that it does.

The ledger is asked without noting before the bank joins a run, asks to rejoin, or agrees to a
generation; and noted in before the first box of every step of a generation is made.

In a run with privacy terms another set of banks costs a part of the privacy budget, as every sum is
drawn and charged anew, and nothing of ``set_changes``. Such sets are noted apart from the others:
what an exact sum shows beside a noised one is hidden by the noise.
"""

from collections.abc import Iterable, Sequence

from bank_node.run.budget import RunBudget, require_ledger
from bank_node.run.context import RunContext
from bank_node.run.job import S, Work
from bank_node.run.record import R
from bank_node.state.ledger import Reveal
from fraudfed.errors import CohortError, PrivacyBudgetError
from fraudfed.wire.messages import RunState, RunStatus

#: What to do about a set that cannot be paid for.
ADVICE = (
    "take part with the banks that were there before, or with rows that were never summed; if the "
    "members agree that the difference may be seen, allow more set_changes"
)
#: No set of banks is refused by what was noted of noised sums.
_ANY_SETS = 1_000_000


def reveal_of(context: RunContext, number: int, banks: Iterable[str]) -> Reveal:
    """Return what the ledger is asked for: a generation of the run and its banks."""
    return Reveal.of(context.run_id, number, banks, context.epoch.key_epoch.roster)


def refusal(
    context: RunContext, work: Work[S, R], number: int, banks: Iterable[str], *, step: int | None
) -> str | None:
    """Return why this bank cannot sum with some banks, or None if it can. Nothing is noted.

    Parameters
    ----------
    number : int
        Of the generation.
    step : int or None
        The step that would be summed first; None asks for the whole run.
    """
    budget = RunBudget.of(context, work.sources(None))
    if budget is not None:
        return budget.refusal(require_ledger(context), context.run_id)
    return context.ledger.refusal(
        work.sources(step),
        reveal_of(context, number, banks),
        set_changes=context.rules.set_changes,
    )


def check_joinable(context: RunContext, work: Work[S, R], status: RunStatus) -> None:
    """Refuse a run that this bank never joined, if it could not sum with its banks.

    Raises
    ------
    CohortError
        If another set of banks was noted and the allowance is used up.
    PrivacyBudgetError
        If the run has privacy terms, and its whole plan costs more than is left.
    """
    if context.bank in status.members or status.state is RunState.FINISHED:
        return
    generation = status.generation
    banks = {*generation.banks, *status.waiting, context.bank}
    refused = refusal(context, work, generation.number, banks, step=None)
    if refused is not None and context.run.spec.noise_terms is not None:
        raise PrivacyBudgetError(f"{refused}; the run was not joined, and nothing was sent")
    if refused is not None:
        raise CohortError(f"{refused}; the run was not joined: {ADVICE}")


class LedgerGate:
    """Notes in the ledger whom this bank reveals sums with; a ``RevealGate``.

    Parameters
    ----------
    context : RunContext
    work : Work
    number : int
        Of the generation.
    banks : sequence of str
    step : int
        Finished steps of the work.

    Attributes
    ----------
    step : int
        Its owner counts them.
    """

    def __init__(
        self, context: RunContext, work: Work[S, R], number: int, banks: Sequence[str], *, step: int
    ) -> None:
        self._ledger = context.ledger
        self._is_noised = context.run.spec.noise_terms is not None
        self._set_changes = _ANY_SETS if self._is_noised else context.rules.set_changes
        self._sources = work.sources
        self._reveal = reveal_of(context, number, banks)
        self.step = step

    def require(self) -> None:
        """Note the reveal durably, unless it is noted already.

        Raises
        ------
        CohortError
            If another set of banks was noted and the allowance is used up.
        StateError
            If the ledger cannot be written.
        """
        keys = self._sources(self.step)
        if self._is_noised:
            keys = [self._ledger.key("noised", bytes.fromhex(key)) for key in keys]
        self._ledger.note(keys, self._reveal, set_changes=self._set_changes)
