"""Charging noised sums of one generation to this bank's privacy ledger."""

from collections.abc import Sequence

from bank_node.state.privacy_ledger import PrivacyLedger
from fraudfed.privacy.events import Blocks, PrivacyEvent
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms


class GenerationCharges:
    """What the sums of a generation reserve and commit.

    Parameters
    ----------
    ledger : PrivacyLedger
    terms : PrivacyTerms
        Of the run.
    blocks : Blocks
        That this bank's rows of the run lie in.
    run_id : str
    number : int
        Of the generation.
    banks : sequence of str
        The set: the noise of all but ``terms.tolerated_colluders`` of them counts.
    """

    def __init__(
        self,
        ledger: PrivacyLedger,
        terms: PrivacyTerms,
        blocks: Blocks,
        *,
        run_id: str,
        number: int,
        banks: Sequence[str],
    ) -> None:
        self._ledger = ledger
        self._terms = terms
        self._blocks = blocks
        self._run_id = run_id
        self._number = number
        self._banks = tuple(banks)

    def reserve(
        self, context_digest: str, *, label: str, release: NoisedRelease, n_values: int
    ) -> None:
        """Set aside what a release costs, durably, before anything of it is sealed.

        Raises
        ------
        PrivacyBudgetError
            If the budget does not hold it: nothing may be sealed.
        ParameterError
            If this bank's own noise would be below 2^8 units.
        StateError
            If the ledger cannot be written.
        """
        event = PrivacyEvent.of(
            release,
            run_id=self._run_id,
            label=label,
            unit=self._terms.unit,
            banks=self._banks,
            generation=self._number,
            tolerated_colluders=self._terms.tolerated_colluders,
            n_values=n_values,
            blocks=self._blocks,
        )
        self._ledger.reserve(context_digest, event)

    def commit(self, context_digest: str) -> None:
        """Charge what was set aside, durably, before a box for it leaves this bank.

        Raises
        ------
        StateError
            If nothing is set aside, or the ledger cannot be written: nothing may be revealed.
        """
        self._ledger.commit(context_digest)
