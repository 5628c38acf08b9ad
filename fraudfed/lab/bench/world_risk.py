"""Risk tables of generated banks, summed in one process."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from fraudfed.communicator import SoloCommunicator
from fraudfed.features.shared_risk.counting import risk_entries
from fraudfed.features.shared_risk.entries import Entries, RiskEntries
from fraudfed.features.shared_risk.history import KeyedTables, SharedRisk
from fraudfed.features.shared_risk.rounds import sum_tables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.features.shared_risk.tables import RiskTables
from fraudfed.wire.messages import RiskSpec

#: Places identifiers in sketches; in one process there is nobody to hide them from.
_HASH_KEY = bytes(range(32))
_SKETCH_WIDTH = 8192


def risk_of_banks(
    banks: Iterable[pd.DataFrame],
    *,
    first_day: int,
    days: int,
    transaction_width: int = _SKETCH_WIDTH,
) -> SharedRisk:
    """Sum what all banks enter.

    Parameters
    ----------
    banks : iterable of DataFrame
        Raw transactions of each.
    first_day : int
        Days since 1970-01-01 UTC.
    days : int
        Of the period.
    transaction_width : int
        Columns of the sketch of a day's payments.
    """
    spec = RiskSpec(
        first_day=first_day,
        last_day=first_day + days - 1,
        delay_days=0,
        transaction_width=transaction_width,
    )
    parts = [risk_entries(payments, spec, hash_key=_HASH_KEY) for payments in banks]
    everything = RiskEntries(
        transactions=_together([part.transactions for part in parts]),
        frauds=_together([part.frauds for part in parts]),
        corrections=_together([part.corrections for part in parts]),
    )
    nothing = RiskTables(spec, hash_key_id(_HASH_KEY))
    tables = sum_tables(everything, SoloCommunicator(), start=nothing)
    return SharedRisk([KeyedTables(tables, _HASH_KEY)])


def _together(parts: list[Entries]) -> Entries:
    days = np.concatenate([part.days for part in parts])
    order = np.argsort(days, kind="stable")
    return Entries(
        days=days[order],
        counts=np.concatenate([part.counts for part in parts])[order],
        hashes=np.concatenate([part.hashes for part in parts])[order],
    )
