"""What the demo runs on, wherever it comes from: files for the bank nodes, and rows for itself.

A demo may look at everything, which is how it can train the models that a federation is compared
with. ``transactions`` and ``feature_table`` make a :class:`DemoData` each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.errors import CohortError
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.intake.windows import Windows
from fraudfed.lab.report.mules import ArrivalTruth
from fraudfed.wire.messages import DataContract, RiskSpec

#: Fewer banks than this and "sum minus own" is somebody's statistic.
MIN_BANKS = 3


@dataclass(frozen=True)
class BankSource:
    """One bank's files: what its node trains on and what it scores."""

    name: str
    train_file: Path
    test_file: Path
    title: str = ""
    """What the data call it, where that is not its name."""


@dataclass(frozen=True, eq=False)
class BankRows:
    """One bank's rows as the models see them that a federation is compared with.

    Attributes
    ----------
    train : TrainingTable
    select : JudgedRows
        Rows to choose parameters and the number of trees by.
    judge : JudgedRows
        Rows that judge, those without a known label left out.
    judge_positions : ndarray of shape (n_rows of the bank's test file,), dtype=bool
        Which rows of that file ``judge`` holds, in file order.
    windows : Windows
        The same, those without a known label included.
    """

    train: TrainingTable
    select: JudgedRows
    judge: JudgedRows
    judge_positions: BoolArray
    windows: Windows

    @classmethod
    def of(cls, windows: Windows, judge_positions: BoolArray) -> "BankRows":
        """Return the rows of a bank.

        Parameters
        ----------
        windows : Windows
            With rows to select and to judge by.
        judge_positions : ndarray of shape (n_rows of the bank's test file,), dtype=bool
            Which rows of that file ``windows.judge`` holds.
        """
        if windows.select is None or windows.judge is None:
            raise ValueError("windows without rows to select and to judge by")
        known = ~windows.judge.outcomes.is_censored
        positions = np.zeros_like(judge_positions)
        positions[np.flatnonzero(judge_positions)[known]] = True
        judge = taken(windows.judge, known)
        return cls(windows.train, windows.select, judge, positions, windows)


@dataclass(frozen=True, eq=False)
class PooledRows:
    """Everybody's rows in one place.

    Attributes
    ----------
    train : TrainingTable
    select : JudgedRows
    judges : tuple of JudgedRows
        The rows of each bank that judge, those of its :class:`BankRows` and in their order.
    """

    train: TrainingTable
    select: JudgedRows
    judges: tuple[JudgedRows, ...]


@dataclass(frozen=True)
class RiskPlan:
    """How risk is shared: what is counted, and the contract of a model that looks at it."""

    spec: RiskSpec
    contract: DataContract


@dataclass(frozen=True, eq=False)
class DemoData:
    """Everything the demo knows about its input.

    Attributes
    ----------
    data, split : str
        One sentence each: what the rows are, and how the windows are set apart.
    contract : DataContract
        Of a model without shared risk.
    banks : tuple of BankSource
    rows : int
        Rows of all banks, whichever window they are in.
    load : callable
        Gives one bank's rows; is given the bank and, where risk is shared, the file of features
        that its node has written.
    pool : callable
        Gives everybody's rows, as if the banks were one.
    risk : RiskPlan or None
        None where the rows name no terminals, merchants and payees.
    truth : callable or None
        Gives what is true of the payments that a bank judges, in the order of its file; None where
        it is not known.
    notes : tuple of str
        What is allowed in the rows and yet unusual, and what was chosen from them, a line each.
    """

    data: str
    split: str
    contract: DataContract
    banks: tuple[BankSource, ...]
    rows: int
    load: Callable[[BankSource, Path | None], BankRows]
    pool: Callable[[], PooledRows]
    risk: RiskPlan | None = None
    truth: Callable[[BankSource], ArrivalTruth] | None = None
    notes: tuple[str, ...] = ()


def with_features(rows: BankRows, contract: DataContract) -> BankRows:
    """Return a bank's rows with the features of a contract, in its order."""
    return replace(
        rows,
        train=pick_features(rows.train, contract),
        select=_pick_judged(rows.select, contract),
        judge=_pick_judged(rows.judge, contract),
    )


def pick_features(table: TrainingTable, contract: DataContract) -> TrainingTable:
    """Return the table with the features of a contract, in its order."""
    schema, features = _picked(table.schema, table.features, contract)
    return replace(table, schema=schema, features=features)


def _pick_judged(rows: JudgedRows, contract: DataContract) -> JudgedRows:
    schema, features = _picked(rows.schema, rows.features, contract)
    return replace(rows, schema=schema, features=features)


def _picked(
    schema: FeatureSchema, features: Float32Array, contract: DataContract
) -> tuple[FeatureSchema, Float32Array]:
    names = [spec.name for spec in contract.features]
    if names == list(schema.names):
        return schema, features
    where = [schema.names.index(name) for name in names]
    picked = FeatureSchema(
        names=tuple(names),
        n_categories=tuple(schema.n_categories[i] for i in where),
        categories=tuple(schema.categories[i] for i in where if schema.categories),
    )
    return picked, features.T[where].T


def taken(rows: JudgedRows, chosen: BoolArray) -> JudgedRows:
    """Return some of the rows."""
    if chosen.all():
        return rows
    return replace(
        rows,
        features=rows.features[chosen],
        outcomes=rows.outcomes.take(chosen),
        weights=None if rows.weights is None else rows.weights[chosen],
    )


def pool_judged(parts: Sequence[JudgedRows]) -> JudgedRows:
    """Lay banks' rows in one, in the order given; of their outcomes the labels remain."""
    weights = [part.weights for part in parts if part.weights is not None]
    return replace(
        parts[0],
        features=np.concatenate([part.features for part in parts]),
        outcomes=Outcomes(
            labels=np.concatenate([part.outcomes.labels for part in parts]),
            is_blocked=np.concatenate([part.outcomes.is_blocked for part in parts]),
        ),
        weights=np.concatenate(weights) if len(weights) == len(parts) else None,
    )


def require_cohort(found: int, *, what: str) -> None:
    """Raise CohortError if there are too few banks."""
    if found < MIN_BANKS:
        raise CohortError(
            f"{what}: {found} banks, expected at least {MIN_BANKS}; with fewer, the sum minus a "
            "bank's own part is another bank's statistic"
        )


def schema_of(contract: DataContract) -> FeatureSchema:
    """Return names and numbers of categories of a contract's features."""
    return FeatureSchema(
        names=tuple(spec.name for spec in contract.features),
        n_categories=tuple(len(spec.categories or ()) for spec in contract.features),
        categories=tuple(spec.categories or () for spec in contract.features),
    )
