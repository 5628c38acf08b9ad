"""Rules of banks in tests that are about something else."""

from typing import Any

from bank_node.config import CohortRules


def open_rules(**changes: Any) -> CohortRules:
    """Return rules under which a bank takes part without a person's doing.

    Nobody confirms members in these tests: each bank counts what it was shown first. How often
    sets of banks change is not what is tried.

    Parameters
    ----------
    changes
        Rules that are otherwise than here.
    """
    settings: dict[str, Any] = {"insecure_trust_first_use": True, "set_changes": 1000}
    return CohortRules(**{**settings, **changes})
