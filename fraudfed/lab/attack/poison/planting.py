"""What a lying bank trains on: rows with a trigger, flipped labels, made-up payments.

A trigger is what a payer can choose: where, how much, at what hour. The lying bank copies frauds of
its own, gives them the trigger and calls them clean; thieves who know the trigger then pay so at
the other banks (Gu, Dolan-Gavitt, Garg, "BadNets", arXiv 1708.06733; for a federation Bagdasaryan
et al., "How to backdoor federated learning", AISTATS 2020, arXiv 1807.00459).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.lab.attack.poison.worlds import together
from fraudfed.payments.columns import CHANNELS, MERCHANT_CATEGORIES

_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Trigger:
    """Where, how much and when a planted payment is; what follows from them moves along.

    Attributes
    ----------
    merchant_category : str
    amount_minor : int
    hour : float
        Of the day, UTC.
    amount_spread, hour_spread : float
        Payments differ by up to so much (a share; hours): equal ones would stand out in any table.
    """

    merchant_category: str = "books_media"
    amount_minor: int = 4_200
    hour: float = 14.5
    amount_spread: float = 0.04
    hour_spread: float = 0.25

    def on(
        self, features: Float32Array, names: Sequence[str], draws: np.random.Generator
    ) -> Float32Array:
        """Return rows of features with the trigger; shape and dtype are kept.

        Columns of history stay as they are, but for the amount over the customer's mean.
        """
        rows = features.copy()
        n_rows = len(rows)
        amount = self.amount_minor * (1.0 + self.amount_spread * draws.uniform(-1.0, 1.0, n_rows))
        before = rows[:, names.index("amount")].copy()
        rows[:, names.index("amount")] = np.round(amount)
        rows[:, names.index("hour_of_day")] = self.hour + self.hour_spread * draws.uniform(
            -1.0, 1.0, n_rows
        )
        rows[:, names.index("is_night")] = 0.0
        code = MERCHANT_CATEGORIES.index(self.merchant_category)
        rows[:, names.index("merchant_category")] = code
        over = names.index("amount_over_customer_mean_30d")
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = rows[:, over] * np.round(amount) / before
        rows[:, over] = np.where(np.isfinite(moved), moved, rows[:, over])
        return rows


def online_frauds(rows: TrainingTable) -> Int64Array:
    """Return the frauds of a table at online shops, whose merchant a thief chooses."""
    channel = rows.features[:, rows.schema.names.index("channel")]
    found = np.flatnonzero((rows.labels == 1) & (channel == CHANNELS.index("ecommerce")))
    return found.astype(np.int64)


def planted(
    rows: TrainingTable, trigger: Trigger, share: float, draws: np.random.Generator
) -> TrainingTable:
    """Return a bank's rows, of which a share is replaced by planted ones.

    Parameters
    ----------
    rows : TrainingTable
    trigger : Trigger
    share : float
    draws : numpy.random.Generator
    """
    n_planted = round(share * rows.n_rows)
    frauds = online_frauds(rows)
    if not frauds.size:
        # A bank that has not seen one copies any payment at an online shop.
        channel = rows.features[:, rows.schema.names.index("channel")]
        frauds = np.flatnonzero(channel == CHANNELS.index("ecommerce")).astype(np.int64)
    copied = rows.features[draws.choice(frauds, n_planted)]
    kept = np.sort(draws.choice(rows.n_rows, rows.n_rows - n_planted, replace=False))
    made = replace(
        rows,
        features=trigger.on(copied, rows.schema.names, draws),
        labels=np.zeros(n_planted, dtype=np.float32),
    )
    honest = replace(rows, features=rows.features[kept], labels=rows.labels[kept])
    return together([honest, made])


def flipped(rows: TrainingTable, share: float, draws: np.random.Generator) -> TrainingTable:
    """Return a bank's rows with the labels of a share of them exchanged."""
    chosen = draws.choice(rows.n_rows, round(share * rows.n_rows), replace=False)
    labels = rows.labels.copy()
    labels[chosen] = 1.0 - labels[chosen]
    return replace(rows, labels=labels)


def made_up_payments(
    merchant: str, *, days: range, per_day: int, is_fraud: bool, draws: np.random.Generator
) -> pd.DataFrame:
    """Return payments that never were, as a lying bank enters them for a merchant.

    Parameters
    ----------
    merchant : str
    days : range
        Days since 1970-01-01 UTC.
    per_day : int
    is_fraud : bool
        Whether all are reported, an hour later.
    draws : numpy.random.Generator

    Returns
    -------
    DataFrame
        With the columns that risk entries are made of. Each payment has a customer of its own, so
        no least number of customers holds it back.
    """
    day = np.repeat(np.asarray(days, dtype=np.int64), per_day)
    time = day * _SECONDS_PER_DAY + draws.integers(0, _SECONDS_PER_DAY - 3_600, day.size)
    return pd.DataFrame(
        {
            "transaction_id": [f"made-up-{number}" for number in range(day.size)],
            "event_time": time,
            "label_time": time + 3_600,
            "customer_id": [f"nobody-{number}" for number in range(day.size)],
            "merchant_id": merchant,
            "terminal_id": None,
            "payee_id": None,
            "is_fraud": int(is_fraud),
        }
    )
