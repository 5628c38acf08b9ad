"""With whom this bank computes: decided here, whatever the aggregator says.

``check_visibility`` decides who may read the result. ``check_members`` decides on the whole cohort
before the bank joins a run, ``check_partners`` and ``Trust.is_enough`` on every set of banks that
the run continues with.
"""

from bank_node.config import CohortRules
from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium.trust import Trust, TrustKind
from fraudfed.errors import CohortError, ConfigurationError, ForbiddenError, ProtocolError
from fraudfed.wire.messages import Generation


def check_visibility(run: PinnedRun, rules: CohortRules) -> None:
    """Refuse a run with readers of the result that this bank does not allow.

    Raises
    ------
    ConfigurationError
        If this bank does not allow the run's ``model_visibility``.
    """
    spec = run.spec
    if spec.model_visibility not in rules.model_visibility:
        raise ConfigurationError(
            f"run {spec.name!r}: model_visibility is {spec.model_visibility.value!r}, this bank "
            f"allows {' and '.join(v.value for v in rules.model_visibility)} (bank.toml); ask for "
            "another run, or allow it there"
        )


def check_members(run: PinnedRun, trust: Trust) -> None:
    """Refuse a run with members that this bank does not count, or with too few.

    That the run may continue with fewer than this bank takes part with is no reason to refuse it:
    this bank then waits, see ``bank_node.run.generations``.

    Raises
    ------
    ForbiddenError
        If a member of the cohort is not confirmed or has left, or the run takes no bank that
        counts members which nobody has confirmed.
    CohortError
        As ``Trust.require_enough``.
    ConfigurationError
        If the noise of the run's sums counts on more banks than this bank does.
    """
    spec = run.spec
    if spec.require_confirmed_roster and trust.kind is not TrustKind.CONFIRMED:
        raise ForbiddenError(
            f"run {spec.name!r}: takes only banks with a confirmed roster "
            "(require_confirmed_roster), this bank has insecure_trust_first_use = true; nothing "
            "was sent: confirm the roster (`bank-node roster`) and take the line out of bank.toml"
        )
    trust.require_members(run.cohort)
    trust.require_enough(run.cohort, where=f"run {spec.name!r}: its cohort")
    terms = spec.noise_terms
    if terms is None:
        return
    counted = terms.tolerated_colluders
    if counted < trust.tolerated_colluders:
        raise ConfigurationError(
            f"run {spec.name!r}: the noise of its sums suffices without that of {counted} banks "
            "(tolerated_colluders of its privacy terms), this bank tolerates "
            f"{trust.tolerated_colluders} that put their parts together; nothing was sent: ask for "
            "a run that tolerates as many, or lower tolerated_colluders in bank.toml"
        )


def check_partners(generation: Generation, run: PinnedRun, bank: str) -> None:
    """Refuse a set of banks that the run cannot continue with, whatever this bank's rules are.

    Whether there are enough for this bank is ``Trust.is_enough``.

    Parameters
    ----------
    bank : str
        This bank's name.

    Raises
    ------
    ProtocolError
        If a bank of it is foreign or named twice, or this one is not in it.
    CohortError
        If it has fewer banks than the run allows.
    """
    banks = generation.banks
    if bank not in banks or banks != tuple(sorted(set(banks) & set(run.cohort))):
        raise ProtocolError(
            f"run {run.run_id}: generation {generation.number} is said to be of "
            f"{', '.join(banks) or 'nobody'}, expected some of {', '.join(run.cohort)} with this "
            "bank among them; the aggregator is at fault"
        )
    least = min(run.spec.min_cohort, len(run.cohort))
    if len(banks) < least:
        raise CohortError(
            f"run {run.run_id}: generation {generation.number} is of {len(banks)} banks, the run "
            f"continues with {least} and more (min_cohort); nothing was sent: the aggregator is at "
            "fault"
        )
