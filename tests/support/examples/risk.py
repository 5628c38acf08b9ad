"""A small world of payments at several banks, and the risk tables that they must end up with.

The tables of each bank alone, added up, are the oracle: what a bank enters is the bank's own
matter, and the federation's tables are their sum.
"""

import time
import unicodedata
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pandas as pd
from federations.bank_states import Aggregator

from fraudfed.communicator import SoloCommunicator
from fraudfed.features.shared_risk import RiskTables, risk_entries, sum_tables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.features.shared_risk.tables import DayTable, packed
from fraudfed.wire.messages import ModelVisibility, RiskSpec, RunKind, RunSpec

DAY = 86400
#: Monday 2023-05-29 00:00:00 UTC.
START = 1_685_318_400
DAYS, DELAY_DAYS = 12, 2
SPEC = RiskSpec(
    first_day=START // DAY + DELAY_DAYS,
    last_day=START // DAY + DAYS + DELAY_DAYS,
    delay_days=DELAY_DAYS,
    depth=2,
    transaction_width=64,
    fraud_width=16,
    min_customers=2,
    days_per_step=1,
)
PARAMETERS = {"num_boost_round": 2, "max_depth": 2, "max_bin": 8}


def payments(seed: int) -> pd.DataFrame:
    """One bank's payments; half of those at terminal t0 are fraud."""
    rng = np.random.default_rng(seed)
    n_rows = 150 + 50 * seed
    terminal = rng.integers(0, 6, n_rows)
    time_of = START + rng.integers(0, DAYS * DAY, n_rows)
    fraud = (terminal == 0) & (rng.random(n_rows) < 0.5)
    return pd.DataFrame(
        {
            "transaction_id": [f"b{seed}-{i:04d}" for i in range(n_rows)],
            "event_time": time_of,
            "label_time": time_of + rng.integers(0, 3 * DAY, n_rows),
            "customer_id": [f"c{i}" for i in rng.integers(0, 12, n_rows)],
            "merchant_id": [f"caf\u00e9 {i % 3}" for i in terminal],
            "terminal_id": [f"t{i}" for i in terminal],
            "payee_id": None,
            "device_id": None,
            "channel": "pos",
            "merchant_category": "grocery",
            "amount_minor": rng.integers(1, 10_000, n_rows),
            "latitude": 52.0,
            "longitude": 13.0,
            "is_fraud": fraud.astype(np.int64),
        }
    )


def as_bank_writes(seed: int, rows: pd.DataFrame) -> pd.DataFrame:
    """Write the same identifiers as another bank would: in capitals, decomposed, with blanks."""
    merchants, terminals = rows["merchant_id"], rows["terminal_id"]
    written = (
        (merchants.str.upper(), terminals + "  "),
        (merchants.map(lambda text: unicodedata.normalize("NFD", text)), "\u00a0" + terminals),
        (merchants.str.replace(" ", "\u2002 ").str.title(), terminals + "\0\0"),
    )
    merchant, terminal = written[seed % 3]
    return rows.assign(merchant_id=merchant, terminal_id=terminal)


def expected_tables(
    key: bytes, spec: RiskSpec = SPEC, banks: Callable[[int], Collection[int]] = lambda _: range(3)
) -> RiskTables:
    """Add up the tables that each bank would have alone.

    Parameters
    ----------
    banks : callable
        Number of a day, from 0 -> banks that took part in it.
    """
    begin = RiskTables(spec, hash_key_id(key))
    alone = [
        sum_tables(
            risk_entries(payments(seed), spec, hash_key=key), SoloCommunicator(), start=begin
        )
        for seed in range(4)
    ]
    days = []
    for number, of_day in enumerate(zip(*(tables.days for tables in alone), strict=True)):
        counted = [of_day[bank] for bank in banks(number)]
        days.append(
            DayTable(
                packed(sum(day.transactions.astype(np.int64) for day in counted)),
                packed(sum(day.frauds.astype(np.int64) for day in counted)),
                packed(sum(day.corrections.astype(np.int64) for day in counted)),
            )
        )
    return RiskTables(spec, begin.key_id, tuple(days))


def risk_run(key_epoch: int, **changes: Any) -> RunSpec:
    """Describe a risk run."""
    settings: dict[str, Any] = {
        "name": "risk",
        "key_epoch": key_epoch,
        "kind": RunKind.RISK,
        "risk": SPEC,
        "model_visibility": ModelVisibility.MEMBERS,
        **changes,
    }
    return RunSpec(**settings)


def wait_until_round(aggregator: Aggregator, run_id: str, number: int) -> None:
    deadline = time.monotonic() + 60
    while aggregator.status(run_id).round_number < number:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.02)
