"""Worlds in which one bank of several lies, and holds a share of the rows that can be chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from data_gen.settings.config import DAY_SECONDS
from data_gen.settings.presets import PRESETS
from data_gen.world.making import generate
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features.builders import build_recipe
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.windows import windows_in_time
from fraudfed.wire.messages import DataContract, LabelHorizon

#: Days of training, and days after them that judge.
TRAIN_DAYS, JUDGE_DAYS = 75, 35
_BANKS = 5
_PRESET = "small"
#: Enough frauds to judge by in a world of a few thousand customers.
_FRAUD_RATE = 0.02


@dataclass(frozen=True, eq=False)
class BankRows:
    """One bank's rows: those it trains on, and later ones.

    Attributes
    ----------
    name : str
    train : TrainingTable
    judge : JudgedRows
    """

    name: str
    train: TrainingTable
    judge: JudgedRows


@dataclass(frozen=True, eq=False)
class PoisonWorld:
    """A world and its banks.

    Attributes
    ----------
    seed : int
    raw : dict of str to DataFrame
        Transactions by bank, as ``data-gen`` makes them.
    first_day, days : int
        Of the period; days since 1970-01-01 UTC.
    contract : DataContract
    """

    seed: int
    raw: dict[str, pd.DataFrame]
    first_day: int
    days: int
    contract: DataContract

    @property
    def schema(self) -> FeatureSchema:
        """Columns of the banks' rows."""
        return contract_schema(self.contract)

    def banks(self, shared: SharedRisk | None = None) -> list[BankRows]:
        """Build every bank's rows; ``shared`` where the contract has shared risk."""
        found = []
        for name, payments in self.raw.items():
            built = build_recipe(RECIPE, payments, shared=shared)
            windows = windows_in_time(built, payments, self.contract)
            if windows.judge is None:
                raise ValueError("the contract has a judge window")
            found.append(BankRows(name, windows.train, windows.judge))
        return found


def make_world(seed: int, *, customers: int, shared: bool = False) -> PoisonWorld:
    """Make a world of five equal banks that differ in their fraud.

    Parameters
    ----------
    seed : int
    customers : int
        Of all banks.
    shared : bool
        Whether models know shared risk.
    """
    config = replace(
        PRESETS[_PRESET],
        seed=seed,
        banks=_BANKS,
        customers=customers,
        days=TRAIN_DAYS + JUDGE_DAYS,
        fraud_rate=_FRAUD_RATE,
        size_exponent=0.0,
    )
    contract = DataContract(
        kind="transactions",
        features=contract_features(RECIPE, shared=shared),
        recipe=RECIPE,
        shared_risk=("0" * 64,) if shared else (),
        label_horizon_days=LabelHorizon(days=config.clean_delay_days),
        train_until=config.start_time + TRAIN_DAYS * DAY_SECONDS,
        judge_until=config.end_time,
    )
    return PoisonWorld(
        seed=seed,
        raw=dict(generate(config)),
        first_day=config.start_time // DAY_SECONDS,
        days=config.days,
        contract=contract,
    )


def holding(
    rows: TrainingTable, others: int, share: float, draws: np.random.Generator
) -> TrainingTable:
    """Return a bank's rows, drawn so that they are a share of all rows.

    Parameters
    ----------
    rows : TrainingTable
        Drawn with replacement where they are too few.
    others : int
        Rows of the other banks.
    share : float
        In (0, 1).
    draws : numpy.random.Generator
    """
    wanted = max(1, round(share / (1.0 - share) * others))
    chosen = draws.choice(rows.n_rows, wanted, replace=wanted > rows.n_rows)
    return rows_at(rows, np.sort(chosen))


def rows_at(rows: TrainingTable, chosen: Int64Array) -> TrainingTable:
    """Return some rows of a table without weights."""
    return replace(rows, features=rows.features[chosen], labels=rows.labels[chosen])


def together(tables: Sequence[TrainingTable]) -> TrainingTable:
    """Lay tables into one; all of them have weights, or none."""
    first = tables[0]
    weights = [table.weights for table in tables if table.weights is not None]
    return replace(
        first,
        features=np.asfortranarray(np.concatenate([table.features for table in tables])),
        labels=np.concatenate([table.labels for table in tables]),
        weights=np.concatenate(weights) if weights else None,
    )
