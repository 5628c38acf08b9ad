"""Payments of banks that differ in size, channels, amounts and customers, and their statistics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from cohorts.exact import run_cohort

from fraudfed.dtypes import Float32Array
from fraudfed.features import RECIPE, contract_features
from fraudfed.statistics.compare.everything import differences
from fraudfed.statistics.compare.finding import Difference
from fraudfed.statistics.contents import contents_of
from fraudfed.statistics.counts import Counts, count
from fraudfed.statistics.layout import Layout
from fraudfed.statistics.pooled import Statistics
from fraudfed.statistics.rounds import PooledAndOwn, pool
from fraudfed.wire.messages import DataContract, ModelVisibility, RunKind, RunSpec, StatisticsSpec

DAY = 86_400
#: Monday 2024-01-01 00:00:00 UTC.
START = 1_704_067_200
DAYS = 60
KEY = bytes(range(32))
SPEC = StatisticsSpec(width=4096)
#: Rows by hour of the day, by channel: shops, the web, transfers, cash machines.
_PROFILES = {
    "pos": (0.7, 0.4, 0.2, 0.2, 0.3, 0.8, 2, 4, 6, 7, 8, 9, 9, 8, 7, 7, 8, 9, 8, 6, 4, 3, 2, 1),
    "ecommerce": (3, 2, 1, 0.7, 0.5, 0.7, 1, 2, 3, 4, 5, 5, 6, 5, 5, 5, 5, 6, 7, 9, 9, 8, 6, 4),
    "transfer": (0.5, 0.3, 0.2, 0.2, 0.3, 1, 3, 6, 9, 8, 7, 6, 5, 6, 6, 5, 4, 4, 3, 3, 2, 2, 1, 1),
    "atm": (2, 1.5, 1, 0.7, 0.5, 0.6, 1, 2, 4, 5, 6, 6, 7, 6, 6, 6, 7, 8, 7, 6, 5, 4, 3, 2),
}
_CHANNELS = tuple(_PROFILES)


def contract(**changes: Any) -> DataContract:
    """Return a contract of few features."""
    names = ("amount", "hour_of_day", "is_night")
    settings: dict[str, Any] = {
        "kind": "transactions",
        "recipe": RECIPE,
        "features": tuple(spec for spec in contract_features() if spec.name in names),
        **changes,
    }
    return DataContract(**settings)


def payments(bank: int, *, seed: int = 0, n_rows: int | None = None) -> pd.DataFrame:
    """Return one bank's payments; banks of higher numbers are smaller.

    Each bank has its own mix of channels, its own level and spread of amounts, hours that
    its customers prefer, and merchants that they go to.
    """
    rng = np.random.default_rng([seed, bank])
    n = int(6000 / (1 + bank)) if n_rows is None else n_rows
    mix = rng.dirichlet((6.0, 5.0, 3.0, 1.5))
    channel = rng.choice(_CHANNELS, n, p=mix)
    hour = np.zeros(n, dtype=np.int64)
    for name in _CHANNELS:
        shares = np.array(_PROFILES[name]) * rng.lognormal(0.0, 0.15, 24)
        chosen = channel == name
        hour[chosen] = rng.choice(24, int(chosen.sum()), p=shares / shares.sum())
    weekdays = np.array((10, 10, 11, 12, 15, 13, 7)) * rng.lognormal(0.0, 0.05, 7)
    day = 7 * rng.integers(0, DAYS // 7, n) + rng.choice(7, n, p=weekdays / weekdays.sum())
    time = START + day * DAY + hour * 3600 + rng.integers(0, 3600, n)
    amount = rng.lognormal(np.log(4000) + rng.normal(0, 0.4), 1.0 + rng.uniform(-0.2, 0.3), n)
    popular = 1.0 / np.arange(1, 201) ** 0.6 * rng.lognormal(0.0, 0.5, 200)
    merchant = rng.choice(200, n, p=popular / popular.sum())
    is_transfer, at_terminal = channel == "transfer", np.isin(channel, ("pos", "atm"))
    fraud = rng.random(n) < 0.02 * rng.lognormal(0, 0.3)
    return pd.DataFrame(
        {
            "transaction_id": [f"{seed}-{bank}-{i}" for i in range(n)],
            "event_time": time,
            "label_time": time + DAY,
            "customer_id": [f"c{i}" for i in rng.integers(0, max(n // 20, 4), n)],
            "merchant_id": pd.Series([f"m{i:05}" for i in merchant]).mask(is_transfer),
            "terminal_id": pd.Series([f"0{i:07}" for i in merchant]).mask(~at_terminal),
            "payee_id": pd.Series([f"GB00ACME{i:06}" for i in merchant]).mask(~is_transfer),
            "channel": channel,
            "merchant_category": pd.Series(["grocery"] * n).mask(is_transfer),
            "amount_minor": amount.astype(np.int64) + 1,
            "is_fraud": fraud.astype(np.int64),
        }
    )


def layout(n_banks: int, **changes: Any) -> Layout:
    """Return the layout of a run over ``contract``."""
    return Layout.of(contract(**changes), SPEC, n_banks=n_banks)


def counted(rows: pd.DataFrame, at: Layout, *, min_customers: int = 3) -> Counts:
    """Count a bank's rows."""
    hours = (rows["event_time"].to_numpy() % DAY / 3600).astype(np.float32)
    features: dict[str, Float32Array] = {
        "amount": rows["amount_minor"].to_numpy(np.float32),
        "hour_of_day": hours,
        "is_night": (hours < 6).astype(np.float32),
    }
    contents = contents_of(
        at,
        features=features,
        labels=rows["is_fraud"].to_numpy(np.float32),
        transactions=rows,
        min_customers=min_customers,
    )
    return count(contents, at, hash_key=KEY)


def pooled(counts: Sequence[Counts], at: Layout, *, least: int = 10) -> list[PooledAndOwn]:
    """Sum the counts of banks; the sums are the same at each."""
    return run_cohort(
        len(counts),
        lambda bank, communicator: pool(counts[bank], at, communicator, least=least, hash_key=KEY),
    )


def differences_of(
    banks: Sequence[pd.DataFrame], changed: dict[int, pd.DataFrame] | None = None
) -> dict[int, tuple[Difference, ...]]:
    """Return how each bank that was changed differs from the others, or every one."""
    at = layout(len(banks))
    rows = {**dict(enumerate(banks)), **(changed or {})}
    counts = [counted(rows[bank], at) for bank in range(len(banks))]
    found = pooled(counts, at)
    return {
        bank: differences(
            counts[bank], found[bank].pooled.without(found[bank].own), is_table=False, least=10
        )
        for bank in (range(len(banks)) if changed is None else changed)
    }


def statistics_run(key_epoch: int, **changes: Any) -> RunSpec:
    """Describe a statistics run."""
    settings: dict[str, Any] = {
        "name": "statistics",
        "key_epoch": key_epoch,
        "kind": RunKind.STATISTICS,
        "contract": contract(),
        "statistics": SPEC,
        "model_visibility": ModelVisibility.MEMBERS,
        **changes,
    }
    return RunSpec(**settings)


def read(content: bytes, n_banks: int) -> Statistics:
    """Read the result of ``statistics_run``."""
    return Statistics.from_bytes(content, layout=layout(n_banks))
