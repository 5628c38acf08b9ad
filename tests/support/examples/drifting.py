"""Scored payments of a generated bank over some weeks, and drifts that are planted in the last."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.dtypes import Float64Array
from fraudfed.evaluation.drift.cells import WatchedFeature
from fraudfed.evaluation.drift.rows import (
    HOUR,
    MONITORED_CHANNELS,
    MONITORED_KINDS,
    WEEK,
    MonitoredRows,
    Weeks,
)
from fraudfed.evaluation.drift.watch import Watch
from fraudfed.payments.columns import CHANNELS, MERCHANT_CATEGORIES
from fraudfed.payments.fraud_kinds import fraud_kind_of
from fraudfed.payments.merchant_categories import CATEGORY_OF

N_REFERENCE = 12
WEEKS_OF_WORLD = N_REFERENCE + 1
FEATURES = (
    WatchedFeature("amount"),
    WatchedFeature("hour_of_day"),
    WatchedFeature("channel", CHANNELS),
    WatchedFeature("merchant_category", MERCHANT_CATEGORIES),
    WatchedFeature("distance"),
)
ALERTED = np.float32(-0.5)
#: A kind that the generator does not have, so that no world has it by itself.
NEW_KIND = MONITORED_KINDS.index("romance_scam")


def world(seed: int, *, customers: int = 800, growth: float = 0.3) -> tuple[MonitoredRows, Weeks]:
    """Return the payments of one bank, without drift but growth, paydays, weekdays and campaigns.

    The score stands for a model's: it knows frauds as well as a usual model does.
    """
    config = WorldConfig(
        seed=seed,
        banks=1,
        customers=customers,
        days=7 * WEEKS_OF_WORLD,
        fraud_rate=0.006,
        drift_days=(),
        growth_per_year=growth,
        label_delay_scale=0.2,
    )
    ((_, table),) = generate(config)
    rng = np.random.default_rng([seed, 7])
    n = len(table)
    time = table["event_time"].to_numpy(np.int64)
    amount = table["amount_minor"].to_numpy(np.float32)
    hour = ((time % 86_400) / 3600).astype(np.float32)
    channel = _coded(table["channel"], CHANNELS.index)
    category = _coded(
        table["merchant_category"],
        lambda text: (
            MERCHANT_CATEGORIES.index(CATEGORY_OF[text]) if text in CATEGORY_OF else np.nan
        ),
    )
    distance = np.abs(table["latitude"].to_numpy(np.float32) - 51.5)
    is_fraud = table["is_fraud"].to_numpy(np.int64) == 1
    kinds = _coded(table["fraud_kind"], lambda text: MONITORED_KINDS.index(fraud_kind_of(text)))
    margins = -6 + 0.4 * np.log(amount / 3000) + 0.5 * (hour < 6) + rng.normal(0, 1.2, n)
    margins += np.where(is_fraud, 5.0, 0.0)
    rows = MonitoredRows(
        event_time=time,
        channel=channel.astype(np.int64),
        margins=margins.astype(np.float32),
        is_alert=margins >= ALERTED,
        is_fallback=rng.random(n) < 0.001,
        features=np.stack(
            [
                amount,
                hour,
                channel.astype(np.float32),
                category.astype(np.float32),
                distance,
            ],
            axis=1,
        ),
        is_unknown=np.zeros((n, len(FEATURES)), dtype=np.bool_),
        report_time=np.where(is_fraud, table["label_time"].to_numpy(np.int64), -1),
        fraud_kind=np.where(np.isnan(kinds), len(MONITORED_KINDS) - 1, kinds).astype(np.int64),
    )
    return rows, Weeks(config.start_time, WEEKS_OF_WORLD, N_REFERENCE)


def _coded(column: "pd.Series[Any]", code: Callable[[str], float]) -> Float64Array:
    """Return the code of each text, looked up once for each; NaN where there is none."""
    codes, texts = pd.factorize(column)
    found = np.array([*(code(str(text)) for text in texts), np.nan], dtype=np.float64)
    values: Float64Array = found[codes]
    return values


def watched(rows: MonitoredRows, weeks: Weeks, *, slot_seconds: int = HOUR) -> Watch:
    """Return what is counted of rows."""
    watch = Watch(weeks, FEATURES, slot_seconds=slot_seconds)
    watch.update(rows)
    return watch


def with_last_week(watch: Watch, rows: MonitoredRows, changed: MonitoredRows) -> Watch:
    """Return what is counted once the last week's rows have left and changed ones have entered.

    By the laws of metrics that is what is counted of all changed rows; earlier weeks are the same.
    """
    found = Watch(watch.weeks, watch.features, slot_seconds=watch.slot_seconds)
    for metric, held in zip(found.metrics, watch.metrics, strict=True):
        metric.counts = held.counts
    start = watch.weeks.stop - WEEK
    found.revert(rows.take(rows.event_time >= start))
    found.update(changed.take(changed.event_time >= start))
    return found


def shifted_amounts(rows: MonitoredRows, weeks: Weeks) -> MonitoredRows:
    """Return rows whose amounts are doubled in the last week."""
    features = rows.features.copy()
    features[rows.event_time >= weeks.stop - WEEK, 0] *= 2
    return replace(rows, features=features)


def missing_column(rows: MonitoredRows, weeks: Weeks) -> MonitoredRows:
    """Return rows of which half have no category in the last week."""
    features = rows.features.copy()
    chosen = np.flatnonzero(rows.event_time >= weeks.stop - WEEK)[::2]
    features[chosen, 3] = np.nan
    return replace(rows, features=features)


def new_code(rows: MonitoredRows, weeks: Weeks) -> MonitoredRows:
    """Return rows of which one in 25 has a category that nobody knows in the last week."""
    features, unknown = rows.features.copy(), rows.is_unknown.copy()
    there = (rows.event_time >= weeks.stop - WEEK) & ~np.isnan(rows.features[:, 3])
    chosen = np.flatnonzero(there)[::25]
    features[chosen, 3], unknown[chosen, 3] = np.nan, True
    return replace(rows, features=features, is_unknown=unknown)


def fewer_payments(rows: MonitoredRows, weeks: Weeks) -> MonitoredRows:
    """Return rows of which one in four of a channel is left in the last week."""
    transfer = rows.channel == MONITORED_CHANNELS.index("transfer")
    chosen = np.flatnonzero((rows.event_time >= weeks.stop - WEEK) & transfer)
    leaves = np.delete(chosen, np.arange(0, chosen.size, 4))
    keeps = np.ones(len(rows), dtype=np.bool_)
    keeps[leaves] = False
    return rows.take(keeps)


def more_frauds(rows: MonitoredRows, weeks: Weeks) -> MonitoredRows:
    """Return rows with ten times the frauds in the last week, reported as quickly, as one kind."""
    return _frauds(rows, weeks, times=10.0, kind=None, found=True)


def new_kind(rows: MonitoredRows, weeks: Weeks) -> MonitoredRows:
    """Return rows with a kind of fraud in the last week that there was not, and no score finds."""
    return _frauds(rows, weeks, times=1.5, kind=NEW_KIND, found=False)


def _frauds(
    rows: MonitoredRows, weeks: Weeks, *, times: float, kind: int | None, found: bool
) -> MonitoredRows:
    rng = np.random.default_rng(11)
    last = rows.event_time >= weeks.stop - WEEK
    known = (rows.report_time >= 0) & (rows.report_time < weeks.stop - WEEK)
    usual = int(known.sum() / N_REFERENCE)
    clean = np.flatnonzero(last & (rows.report_time < 0) & (rows.event_time < weeks.stop - 43_200))
    chosen = rng.choice(clean, int(usual * times), replace=False)
    report, kinds = rows.report_time.copy(), rows.fraud_kind.copy()
    report[chosen] = rows.event_time[chosen] + 40_000
    kinds[chosen] = MONITORED_KINDS.index("remote_purchase") if kind is None else kind
    margins = rows.margins.copy()
    margins[chosen] += 5 if found else 0
    return replace(
        rows,
        report_time=report,
        fraud_kind=kinds,
        margins=margins,
        is_alert=margins >= ALERTED,
    )
