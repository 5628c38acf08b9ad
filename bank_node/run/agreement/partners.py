"""With whom this bank computes: decided here, whatever the aggregator says.

``check_cohort`` decides before the bank joins a run, on the run's description.
``check_confirmed`` decides whether people must have compared the members' fingerprints.
``check_partners`` decides again for every set of banks that the run continues with.
"""

from bank_node.config import CohortRules
from bank_node.state.directory import PinnedRun
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.errors import CohortError, ConfigurationError, ProtocolError
from fraudfed.wire.messages import Generation


def check_cohort(run: PinnedRun, rules: CohortRules) -> None:
    """Refuse a run of too few banks, or with readers of the result that this bank does not allow.

    Raises
    ------
    CohortError
        If the cohort, or what the run may continue with, is smaller than this bank allows.
    ConfigurationError
        If this bank does not allow the run's ``model_visibility``.
    """
    spec, size = run.spec, len(run.cohort)
    if size < rules.min_cohort:
        raise CohortError(
            f"run {spec.name!r}: cohort of {size} banks, this bank takes part from "
            f"{rules.min_cohort} on, as sums over fewer show single banks; ask for a larger "
            "cohort, or allow it by --min-cohort"
        )
    if spec.model_visibility not in rules.model_visibility:
        raise ConfigurationError(
            f"run {spec.name!r}: model_visibility is {spec.model_visibility.value!r}, this bank "
            f"allows {' and '.join(v.value for v in rules.model_visibility)} (bank.toml); ask for "
            "another run, or allow it there"
        )
    if min(spec.min_cohort, size) < rules.min_cohort:
        raise CohortError(
            f"run {spec.name!r}: may continue with {spec.min_cohort} banks when others drop out "
            f"(min_cohort of the run), this bank takes part from {rules.min_cohort} on; ask for "
            "another run, or allow it by --min-cohort"
        )


def check_confirmed(run: PinnedRun, rules: CohortRules, pins: PinnedRoster) -> None:
    """Refuse members with unconfirmed fingerprints, if the run or this bank asks for that.

    Raises
    ------
    ForbiddenError
        As ``PinnedRoster.require_confirmed``.
    """
    if run.spec.require_confirmed_roster or rules.require_confirmed_roster:
        pins.require_confirmed(run.cohort)


def check_partners(generation: Generation, run: PinnedRun, bank: str, *, min_cohort: int) -> None:
    """Refuse a set of banks that this bank does not sum with.

    Parameters
    ----------
    bank : str
        This bank's name.
    min_cohort : int
        This bank's own; the run's counts as well.

    Raises
    ------
    ProtocolError
        If a bank of it is foreign or named twice, or this one is not in it.
    CohortError
        If it has fewer banks than the run or this bank allows.
    """
    banks = generation.banks
    if bank not in banks or banks != tuple(sorted(set(banks) & set(run.cohort))):
        raise ProtocolError(
            f"run {run.run_id}: generation {generation.number} is said to be of "
            f"{', '.join(banks) or 'nobody'}, expected some of {', '.join(run.cohort)} with this "
            "bank among them; the aggregator is at fault"
        )
    least = max(min(run.spec.min_cohort, len(run.cohort)), min(min_cohort, len(run.cohort)))
    if len(banks) < least:
        raise CohortError(
            f"run {run.run_id}: generation {generation.number} is of {len(banks)} banks, this "
            f"bank takes part from {least} on; nothing was sent"
        )
