"""The rules of banks in tests that are about something else."""

from typing import Any

from bank_node.config import CohortRules


def open_rules(**changes: Any) -> CohortRules:
    """Return rules under which a bank takes part whatever the others are.

    Parameters
    ----------
    changes
        Rules that are otherwise than here.
    """
    # How often sets of banks change is not what is tried.
    settings: dict[str, Any] = {"set_changes": 1000}
    return CohortRules(**{**settings, **changes})
