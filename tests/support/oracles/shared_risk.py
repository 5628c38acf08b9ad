"""Shared risk counted the slow, obvious way: dictionaries of exact counts, one row at a time."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fraudfed.communicator import SoloCommunicator
from fraudfed.features.shared_risk import RiskTables, risk_entries, sum_tables
from fraudfed.features.shared_risk.history import KeyedTables, SharedRisk
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.wire.messages import RiskSpec
from oracles.features import DAY, START

KEY = bytes(range(32))
FIRST_DAY = START // DAY

#: (day of entry, kind of entity, identifier) -> count
Exact = Counter[tuple[int, str, str]]


def risk_spec(**changes: object) -> RiskSpec:
    """Every entry of ``random_table``; wide enough that few identifiers hardly ever collide."""
    settings: dict[str, object] = {
        "first_day": FIRST_DAY - 1,
        "last_day": FIRST_DAY + 200,
        "delay_days": 7,
        "depth": 4,
        "transaction_width": 1 << 12,
        "fraud_width": 1 << 12,
        "min_customers": 1,
        **changes,
    }
    return RiskSpec.model_validate(settings)


def exact_entries(frame: pd.DataFrame, spec: RiskSpec) -> tuple[Exact, Exact]:
    """Count payments and frauds of one bank per day of entry."""
    payments, frauds = Counter(), Counter()
    paid: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    rows = frame.to_dict("records")
    for row in rows:
        for entity in spec.entities:
            if not pd.isna(row[f"{entity}_id"]):
                place = (str(entity), row[f"{entity}_id"])
                paid[place].append((row["event_time"] // DAY, row["customer_id"]))
    for row in rows:
        day = row["event_time"] // DAY
        for entity in spec.entities:
            identifier = row[f"{entity}_id"]
            if pd.isna(identifier):
                continue
            recent = {
                customer
                for when, customer in paid[str(entity), identifier]
                if day - 29 <= when <= day
            }
            entry = day + spec.delay_days
            if len(recent) >= spec.min_customers and spec.first_day <= entry <= spec.last_day:
                payments[entry, str(entity), identifier] += 1
            if row["is_fraud"] == 1:
                entry = max(entry, row["label_time"] // DAY)
                if spec.first_day <= entry <= spec.last_day:
                    frauds[entry, str(entity), identifier] += 1
    return payments, frauds


def solo_tables(frame: pd.DataFrame, spec: RiskSpec, *, key: bytes = KEY) -> RiskTables:
    """Return the tables of one bank that has everything."""
    entries = risk_entries(frame, spec, hash_key=key)
    return sum_tables(entries, SoloCommunicator(), start=RiskTables(spec, hash_key_id(key)))


def solo_history(
    frame: pd.DataFrame, spec: RiskSpec, *, key: bytes = KEY, lag: int = 1
) -> SharedRisk:
    """Return the history of one bank that has everything."""
    return SharedRisk(
        [KeyedTables(solo_tables(frame, spec, key=key), key)], publication_lag_days=lag
    )


def split(frame: pd.DataFrame, n_banks: int, rng: np.random.Generator) -> Sequence[pd.DataFrame]:
    """Deal the rows out to banks; some may get none."""
    bank = rng.integers(0, n_banks, len(frame))
    return [frame[bank == number] for number in range(n_banks)]
