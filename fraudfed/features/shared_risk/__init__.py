"""Payments and frauds per terminal, merchant and payee and per day, counted over all banks.

In the order in which data flows: ``entries`` is what one bank enters for each day, ``counting``
counts it, ``sketch`` stores counts under hashed identifiers, ``rounds`` sums the sketches over the
banks, ``tables`` holds the sums of a run, ``history`` looks up windows in the tables of several
runs, and ``columns`` turns them into features. These modules know no bank, no file and no key
package: callers pass the hash key.

The names below are imported when they are first used: only ``counting`` needs pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraudfed.features.shared_risk.counting import risk_entries
    from fraudfed.features.shared_risk.entries import Entries, RiskEntries
    from fraudfed.features.shared_risk.history import SharedRisk
    from fraudfed.features.shared_risk.rounds import sum_tables
    from fraudfed.features.shared_risk.tables import RiskTables

_MODULES = {
    "Entries": "fraudfed.features.shared_risk.entries",
    "RiskEntries": "fraudfed.features.shared_risk.entries",
    "RiskTables": "fraudfed.features.shared_risk.tables",
    "SharedRisk": "fraudfed.features.shared_risk.history",
    "risk_entries": "fraudfed.features.shared_risk.counting",
    "sum_tables": "fraudfed.features.shared_risk.rounds",
}

__all__ = ["Entries", "RiskEntries", "RiskTables", "SharedRisk", "risk_entries", "sum_tables"]


def __getattr__(name: str) -> object:
    """Import a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found
