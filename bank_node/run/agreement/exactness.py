"""Whether this bank takes part in runs whose sums are exact."""

from bank_node.config import ExactRuns, PrivacyRules
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import ConfigurationError


def check_exact(run: PinnedRun, rules: PrivacyRules) -> None:
    """Refuse a run without privacy terms where this bank says ``exact_runs = "refuse"``.

    Raises
    ------
    ConfigurationError
    """
    if rules.exact_runs is ExactRuns.REFUSE and run.spec.noise_terms is None:
        raise ConfigurationError(
            f"run {run.spec.name!r}: is a {run.spec.kind.value} run without privacy terms, and "
            "this bank takes part in none (exact_runs of [privacy] in bank.toml); nothing was sent"
        )
