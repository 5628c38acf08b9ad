"""Measure from which size of a terminal or merchant its fraud rate stands out of the noise.

``python -m fraudfed.lab.publish.risk_sizes DIR`` takes what ``data-gen generate --out DIR`` has
made, sums risk tables with noise for some epsilon, and prints the tables of docs/shared-risk.md.
What is asked is the window of 28 days before the last day. The world stands for more customers,
too: what it enters, times a factor, at the same terminals and merchants.

A place is *hot* if it has reports of fraud for at least 5 % of its payments and 2 reports per
factor; it *shows* if its rate from noised tables is at least half of that.
"""

import sys
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd

from fraudfed.communicator import NoisySoloCommunicator
from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.features.formulas import SECONDS_PER_DAY, fraud_rate
from fraudfed.features.shared_risk import RiskEntries, RiskTables, SharedRisk, risk_entries
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.noise import RiskNoise
from fraudfed.features.shared_risk.rounds import sum_tables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.lab.publish.shared_risk import KEY, joined
from fraudfed.privacy.noise.drawing import draw
from fraudfed.wire.messages import RiskEntity, RiskPrivacy, RiskSpec

EPSILONS = (10.0, 3.0, 1.0)
FACTORS = (1, 10, 100)
WINDOW_DAYS = 28
#: Reports that stand out: so many standard deviations of a window's noise.
DEVIATIONS = 3.0
RATES = (0.01, 0.05, 0.2)
HOT_RATE, HOT_REPORTS = 0.05, 2
ENTITIES = (RiskEntity.TERMINAL, RiskEntity.MERCHANT)
#: Payments of a place in the window, per factor, from which its class of size begins.
SIZES = (1, 10, 50, 200)


@dataclass(frozen=True, eq=False)
class Places:
    """All places of one kind, with what all banks saw there in the window.

    Attributes
    ----------
    names : list of str
    payments, frauds : ndarray of shape (n_places,), dtype=int64
    """

    names: list[str]
    payments: Int64Array
    frauds: Int64Array

    @classmethod
    def of(cls, payments: pd.DataFrame, entity: RiskEntity, last_day: int) -> "Places":
        """Count the payments, and the reports, of the window that ends with a day."""
        day = payments["event_time"] // SECONDS_PER_DAY
        reported = (payments["label_time"] // SECONDS_PER_DAY).where(payments["is_fraud"] == 1)
        first = last_day - WINDOW_DAYS + 1
        is_paid = (day >= first) & (day <= last_day)
        entered = np.maximum(reported, day)
        is_reported = (entered >= first) & (entered <= last_day)
        name = payments[f"{entity}_id"]
        paid = name[is_paid].value_counts()
        reports = name[is_reported].value_counts().reindex(paid.index, fill_value=0)
        counts = (each.to_numpy().astype(np.int64) for each in (paid, reports))
        return cls(list(paid.index), *counts)


def spec_of(epsilon: float, first_day: int, last_day: int, *, factor: int) -> RiskSpec:
    """Return tables as they would be: no more columns than the places need."""
    return RiskSpec(
        first_day=first_day,
        last_day=last_day,
        delay_days=0,
        entities=ENTITIES,
        depth=1,
        transaction_width=4096,
        fraud_width=4096,
        min_customers=1,
        days_per_step=31,
        privacy=RiskPrivacy(
            epsilon=epsilon, tolerated_colluders=1, most_a_day=min(2**20 * factor, 2**31)
        ),
    )


def times(entries: RiskEntries, factor: int) -> RiskEntries:
    """Return what so many times as many customers would enter at the same places."""
    return RiskEntries(
        *(
            replace(each, counts=each.counts * factor)
            for each in (entries.transactions, entries.frauds, entries.corrections)
        )
    )


def rates_of(shared: SharedRisk, entity: RiskEntity, places: Places, last_day: int) -> Float64Array:
    """Return the features' rate of each place in the window."""
    n_places = len(places.names)
    found = shared.windows(
        entity,
        places.names,
        np.arange(n_places, dtype=np.int64),
        np.full(n_places, last_day + 1 + shared.publication_lag_days, dtype=np.int64),
        widths=(WINDOW_DAYS,),
    )
    return np.asarray(fraud_rate(found.transactions[0], found.frauds[0]), dtype=np.float64)


def main() -> None:
    """Print what the noise is, and what shows through it."""
    banks = [
        pd.read_parquet(path) for path in sorted(Path(sys.argv[1]).glob("*/transactions.parquet"))
    ]
    payments = pd.concat(banks)
    last_day = int(payments["event_time"].max()) // SECONDS_PER_DAY
    first_day = last_day - WINDOW_DAYS + 1
    print(f"{len(payments):,} payments, {len(banks)} banks; {WINDOW_DAYS} days to the last")
    print(
        "| epsilon | noise of payments, window | of reports | reports that stand out | "
        + " | ".join(f"payments at {rate:.0%} fraud" for rate in RATES)
        + " |"
    )
    print("|--:|--:|--:|--:|" + "--:|" * len(RATES))
    for epsilon in EPSILONS:
        noise = RiskNoise.of(spec_of(epsilon, first_day, last_day, factor=1))
        of_window = [
            sigma * sqrt(WINDOW_DAYS) for sigma in (noise.payment_sigma, noise.fraud_sigma)
        ]
        least = DEVIATIONS * of_window[1]
        sizes = " | ".join(f"{least / rate:,.0f}" for rate in RATES)
        print(
            f"| {epsilon:g} | {of_window[0]:,.0f} | {of_window[1]:,.0f} | {least:,.0f} | {sizes} |"
        )
    places = {entity: Places.of(payments, entity, last_day) for entity in ENTITIES}
    print(
        "\n| epsilon | factor | kind | payments in the window | hot | of these show "
        "| others that show |"
    )
    print("|--:|--:|---|---|--:|--:|--:|")
    rng = np.random.default_rng(0)
    # What is entered depends on neither.
    spec = spec_of(EPSILONS[0], first_day, last_day, factor=1)
    own = joined([risk_entries(bank, spec, hash_key=KEY, draw=rng) for bank in banks])
    for epsilon in EPSILONS:
        for factor in FACTORS:
            spec = spec_of(epsilon, first_day, last_day, factor=factor)
            start = RiskTables(spec, hash_key_id(KEY))
            tables = sum_tables(times(own, factor), NoisySoloCommunicator(draw), start=start)
            shared = SharedRisk([KeyedTables(tables, KEY)])
            for entity, of_kind in places.items():
                rates = rates_of(shared, entity, of_kind, last_day)
                _print_sizes(epsilon, factor, entity, of_kind, rates)


def _print_sizes(
    epsilon: float, factor: int, entity: RiskEntity, places: Places, rates: Float64Array
) -> None:
    is_hot = (places.frauds >= HOT_RATE * places.payments) & (places.frauds >= HOT_REPORTS)
    shows = rates >= HOT_RATE / 2
    for low, high in zip(SIZES, (*SIZES[1:], None), strict=True):
        of_size = places.payments >= low
        if high is not None:
            of_size &= places.payments < high
        hot, others = int((of_size & is_hot).sum()), int((of_size & ~is_hot).sum())
        if hot == 0:
            continue
        shown, false = int((of_size & is_hot & shows).sum()), int((of_size & ~is_hot & shows).sum())
        size = f"{low * factor:,}" + (" and more" if high is None else f" to {high * factor - 1:,}")
        print(
            f"| {epsilon:g} | {factor} | {entity.value} | {size} | {hot:,} | {shown / hot:.0%} | "
            f"{false / max(others, 1):.1%} |"
        )


if __name__ == "__main__":
    main()
