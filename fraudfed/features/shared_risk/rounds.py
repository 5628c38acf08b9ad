"""Sum the daily sketches of all banks; every bank runs this and ends with the same tables.

Law: the tables depend on what all banks enter together, not on how it is split over them. All that
passes between banks goes through ``Communicator.sum``. Each step sums some days, in two rounds:
first the totals of the days, then their sketches, whose counters are bounded by the totals.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fraudfed.communicator import Communicator
from fraudfed.dtypes import Int64Array
from fraudfed.features.shared_risk.entries import RiskEntries
from fraudfed.features.shared_risk.tables import MAX_DAY_TOTAL, DayTable, RiskTables, packed
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
        tables = replace(tables, days=(*tables.days, *_sum_days(entries, communicator, spec, days)))
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
