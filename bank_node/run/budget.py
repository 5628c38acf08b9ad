"""What a run with privacy terms costs this bank, and of which of its rows.

The privacy ledger is asked for the whole plan before the bank joins, and before it agrees to
another set of banks; each sum is set aside in it before it is sealed, and charged before its box is
sent. A step that other banks do again has other noise, and is charged again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from bank_node.run.charges import GenerationCharges
from bank_node.run.context import RunContext
from bank_node.state.privacy_ledger import PrivacyLedger
from fraudfed.catalogue.privacy_days import days_of_months, privacy_days
from fraudfed.errors import StateError
from fraudfed.features.shared_risk.noise import RiskNoise, steps_of
from fraudfed.privacy.accounting import on_grid, rho_of, usable_delta
from fraudfed.privacy.declared import kind_of
from fraudfed.privacy.events import Blocks
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms
from fraudfed.wire.messages import RiskSpec

#: Of the sum over the rows that judge; all others are over those that train.
_JUDGING = "noised-scores"


@dataclass(frozen=True)
class RunBudget:
    """What a run costs, and what it is charged to.

    Attributes
    ----------
    terms : PrivacyTerms
    trains : Blocks
        Of the rows that train.
    judges : Blocks
        Of the rows that judge; those that train, where rows have no times or none judge.
    """

    terms: PrivacyTerms
    trains: Blocks
    judges: Blocks

    @classmethod
    def of(cls, context: RunContext, keys: Sequence[str]) -> "RunBudget | RiskBudget | None":
        """Return the budget of a run; None without privacy terms.

        Parameters
        ----------
        keys : sequence of str
            The ledger's, of the file: ``Work.sources``.
        """
        spec = context.run.spec
        if spec.risk is not None:
            return None if spec.noise_terms is None else RiskBudget(spec.noise_terms, spec.risk)
        if spec.privacy is None or spec.contract is None:
            return None
        days = privacy_days(spec.contract)
        if days is None:
            table = Blocks.of_table(keys)
            return cls(spec.privacy.terms(), table, table)
        trains = Blocks(days=days.trains)
        judges = trains if days.judges is None else Blocks(days=days.judges)
        return cls(spec.privacy.terms(), trains, judges)

    def costs(self) -> tuple[tuple[Fraction, Blocks], ...]:
        """Return the rho of the whole plan, by the rows that it is about."""
        terms = self.terms
        total = rho_of(terms.epsilon, usable_delta(terms.epsilon, terms.delta))
        if self.judges == self.trains:
            return ((total, self.trains),)
        judging = total * Fraction(terms.metric_share)
        return ((total - judging, self.trains), (judging, self.judges))

    def blocks_of(self, label: str) -> Blocks:
        """Return the rows that a sum is about."""
        return self.judges if kind_of(label) == _JUDGING else self.trains

    def refusal(self, ledger: PrivacyLedger, run_id: str) -> str | None:
        """Return why the plan cannot be paid for, or None if it can. Nothing is written."""
        return _refusal(self, ledger, run_id)


@dataclass(frozen=True)
class RiskBudget:
    """What tables with noise cost, month by month: a step is about all rows of its months.

    Attributes
    ----------
    terms : PrivacyTerms
    spec : RiskSpec
    """

    terms: PrivacyTerms
    spec: RiskSpec

    def costs(self) -> tuple[tuple[Fraction, Blocks], ...]:
        """Return the rho of each step and its months."""
        noise = RiskNoise.of(self.spec)
        return tuple(
            (on_grid(noise.moved(days) / 2), self._blocks(days)) for days in steps_of(self.spec)
        )

    def blocks_of(self, label: str) -> Blocks:
        """Return the months of the step that a sum is of."""
        first = int(label.partition(":")[2])
        return self._blocks(next(days for days in steps_of(self.spec) if days.start == first))

    def refusal(self, ledger: PrivacyLedger, run_id: str) -> str | None:
        """Return why all steps together cannot be paid for, or None if they can."""
        return _refusal(self, ledger, run_id)

    def _blocks(self, days: range) -> Blocks:
        return Blocks(days=days_of_months(days))


def _refusal(budget: RunBudget | RiskBudget, ledger: PrivacyLedger, run_id: str) -> str | None:
    together: dict[Blocks, Fraction] = {}
    for rho, blocks in budget.costs():
        together[blocks] = together.get(blocks, Fraction(0)) + rho
    return ledger.refusal(together, unit=budget.terms.unit, run_id=run_id)


def require_ledger(context: RunContext) -> PrivacyLedger:
    """Return the privacy ledger of a run with privacy terms.

    Raises
    ------
    StateError
        If there is none: nothing is sealed.
    """
    if context.privacy_ledger is None:
        raise StateError(
            f"run {context.run_id}: has privacy terms, and no privacy ledger is open; nothing was "
            "sent"
        )
    return context.privacy_ledger


class RunCharges:
    """Charges the noised sums of one generation; a ``Charges``.

    Parameters
    ----------
    context : RunContext
    budget : RunBudget or RiskBudget
    number : int
        Of the generation.
    banks : sequence of str
    """

    def __init__(
        self,
        context: RunContext,
        budget: RunBudget | RiskBudget,
        *,
        number: int,
        banks: Sequence[str],
    ) -> None:
        self._ledger = require_ledger(context)
        self._budget = budget
        self._run_id, self._number, self._banks = context.run_id, number, tuple(banks)

    def reserve(
        self, context_digest: str, *, label: str, release: NoisedRelease, n_values: int
    ) -> None:
        """Set aside what a release costs, durably; raises as ``GenerationCharges.reserve``."""
        charges = GenerationCharges(
            self._ledger,
            self._budget.terms,
            self._budget.blocks_of(label),
            run_id=self._run_id,
            number=self._number,
            banks=self._banks,
        )
        charges.reserve(context_digest, label=label, release=release, n_values=n_values)

    def commit(self, context_digest: str) -> None:
        """Charge what was set aside, durably; raises as ``PrivacyLedger.commit``."""
        self._ledger.commit(context_digest)
