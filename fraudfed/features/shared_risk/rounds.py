"""Sum the daily sketches of all banks; every bank runs this and ends with the same tables.

Law: the tables depend on what all banks enter together, not on how it is split over them. All that
passes between banks goes through ``Communicator.sum``. Each step sums some days, in two rounds:
first the totals of the days, then their sketches, whose counters are bounded by the totals.

With privacy a step is one release: the sketches alone, with noise in each counter. Nobody learns a
total; bounds are declared, and no sketch is left out.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np

from fraudfed.communicator import Communicator, NoisingCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.features.shared_risk.entries import RiskEntries
from fraudfed.features.shared_risk.noise import FRACTION_BITS, RiskNoise
from fraudfed.features.shared_risk.tables import (
    MAX_DAY_TOTAL,
    DayTable,
    RiskTables,
    packed,
    packed_signed,
)
from fraudfed.held_sums import hold_day_totals, hold_sketch
from fraudfed.wire.messages import RiskSpec

_NOTHING: Int64Array = np.empty(0, dtype=np.int64)


def sum_tables(
    entries: RiskEntries,
    communicator: Communicator,
    *,
    start: RiskTables,
    on_step: Callable[[RiskTables], None] | None = None,
) -> RiskTables:
    """Sum what all banks have entered, beginning with the first day that ``start`` lacks.

    Parameters
    ----------
    entries : RiskEntries
        This bank's; it may have none.
    communicator : Communicator
        A ``NoisingCommunicator`` where the run has privacy.
    start : RiskTables
        Without days at the beginning; the same at every bank.
    on_step : callable or None
        Called with the tables so far after each step.

    Raises
    ------
    SumError
        If totals are none of days, or the counters of a row do not add up to the total of their
        day: a bank contributed something that is not a sketch.
    FraudFedError
        If a sum fails.
    """
    tables, spec = start, start.spec
    while not tables.is_complete:
        first = spec.first_day + len(tables.days)
        days = range(first, min(first + spec.days_per_step, spec.last_day + 1))
        summed = (
            _sum_days(entries, communicator, spec, days)
            if spec.privacy is None
            else _sum_days_with_noise(entries, _noising(communicator), spec, days)
        )
        tables = replace(tables, days=(*tables.days, *summed))
        if on_step is not None:
            on_step(tables)
    return tables


def _sum_days(
    entries: RiskEntries, communicator: Communicator, spec: RiskSpec, days: range
) -> list[DayTable]:
    """Return the tables of some days: one step."""
    kinds = (
        (entries.transactions, spec.transaction_width),
        (entries.frauds, spec.fraud_width),
        (entries.corrections, spec.fraud_width),
    )
    own = np.stack([counted.totals(days) for counted, _ in kinds], axis=1)
    # The totals are few, so wide slots cost nothing.
    totals = communicator.sum(own, bound=MAX_DAY_TOTAL, low=0, label=f"risk_totals:{days.start}")
    hold_day_totals(totals, most=MAX_DAY_TOTAL)
    # A sketch without any entry is known to be zeros, and is not summed.
    values, bounds = [_NOTHING], [_NOTHING]
    for day, of_day in zip(days, totals.tolist(), strict=True):
        for (counted, width), total in zip(kinds, of_day, strict=True):
            if total:
                values.append(counted.sketch(day, width=width).ravel())
                bounds.append(np.full(spec.depth * width, total, dtype=np.int64))
    summed = communicator.sum(
        np.concatenate(values),
        bound=np.concatenate(bounds),
        low=0,
        label=f"risk_sketches:{days.start}",
    )
    tables, at = [], 0
    for of_day in totals.tolist():
        sketches = []
        for (_, width), total in zip(kinds, of_day, strict=True):
            n_counters = spec.depth * width if total else 0
            sketch = np.zeros((spec.depth, width), dtype=np.int64)
            if total:
                sketch[:] = summed[at : at + n_counters].reshape(spec.depth, width)
            at += n_counters
            hold_sketch(sketch, total=total)
            sketches.append(packed(sketch))
        tables.append(DayTable(*sketches))
    return tables


def _noising(communicator: Communicator) -> NoisingCommunicator:
    if not hasattr(communicator, "noised_sum"):
        raise TypeError("a risk run with privacy needs a communicator that adds noise")
    return cast(NoisingCommunicator, communicator)


def _sum_days_with_noise(
    entries: RiskEntries, communicator: NoisingCommunicator, spec: RiskSpec, days: range
) -> list[DayTable]:
    """Return the tables of some days of a run with privacy: one step, one release."""
    if spec.privacy is None:
        raise ValueError("a risk run without privacy has no noise")
    noise = RiskNoise.of(spec)
    n_rows = spec.n_rows
    kinds = ((entries.transactions, spec.transaction_width), (entries.frauds, spec.fraud_width))
    values = np.concatenate(
        [
            counted.sketch_by_row(day, n_rows=n_rows, width=width).ravel()
            for day in days
            for counted, width in kinds
        ]
    )
    payments, frauds = (n_rows * width for _, width in kinds)
    summed = communicator.noised_sum(
        values << FRACTION_BITS,
        bound=spec.privacy.most_a_day << FRACTION_BITS,
        low=0,
        label=f"noised-risk:{days.start}",
        release=noise.release(days, payments=payments, frauds=frauds),
    )
    # To whole counts: half up, which is the same at every bank and changes no bound.
    whole = (summed + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS
    tables = []
    for of_day in whole.reshape(len(days), payments + frauds):
        transactions, reports = (
            packed_signed(part.reshape(n_rows, width))
            for part, (_, width) in zip(np.split(of_day, [payments]), kinds, strict=True)
        )
        nothing = np.zeros((n_rows, spec.fraud_width), dtype=np.int8)
        tables.append(DayTable(transactions, reports, nothing))
    return tables
