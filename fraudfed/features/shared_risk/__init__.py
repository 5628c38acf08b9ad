"""Payments and frauds per terminal, merchant and payee and per day, counted over all banks.

In the order in which data flows: ``entries`` counts what one bank enters for each day, ``sketch``
stores counts under hashed identifiers, ``rounds`` sums the sketches over the banks, ``tables``
holds the sums of a run, ``history`` looks up windows in the tables of several runs, and ``columns``
turns them into features. These modules know no bank, no file and no key package: callers pass the
hash key.
"""

from fraudfed.features.shared_risk.entries import Entries, RiskEntries, risk_entries
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.shared_risk.rounds import sum_tables
from fraudfed.features.shared_risk.tables import RiskTables

__all__ = ["Entries", "RiskEntries", "RiskTables", "SharedRisk", "risk_entries", "sum_tables"]
