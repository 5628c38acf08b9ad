"""What the demo runs on, wherever it comes from: files for the bank nodes, and rows for itself.

A demo may look at everything, which is how it can train the models that a federation is compared
with. ``transactions`` and ``feature_table`` make a :class:`DemoData` each.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import BoolArray
from fraudfed.errors import CohortError
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
    """One bank's rows as the reference models see them.

    Attributes
    ----------
    train, test : TrainingTable
    test_positions : ndarray of shape (n_rows of the bank's test file,), dtype=bool
        Which rows of that file ``test`` holds, in file order.
    """

    train: TrainingTable
    test: TrainingTable
    test_positions: BoolArray


@dataclass(frozen=True, eq=False)
class PooledRows:
    """Everybody's rows in one place.

    Attributes
    ----------
    train : TrainingTable
    tests : tuple of TrainingTable
        The test rows of each bank, those of its :class:`BankRows` and in their order.
    """

    train: TrainingTable
    tests: tuple[TrainingTable, ...]


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
        One sentence each: what the rows are, and how test rows are set apart.
    contract : DataContract
        Of a model without shared risk.
    banks : tuple of BankSource
    rows : int
        Rows of all banks, train and test.
    load : callable
        Gives one bank's rows for the reference models; is given the bank and, where risk is
        shared, the file of features that its node has written.
    pool : callable
        Gives everybody's rows, as if the banks were one.
    risk : RiskPlan or None
        None where the rows name no terminals, merchants and payees.
    truth : callable or None
        Gives what is true of the payments that a bank judges, in the order of its file; None where
        it is not known.
    notes : tuple of str
        What is allowed in the rows and yet unusual, a line each.
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


def pick_features(table: TrainingTable, contract: DataContract) -> TrainingTable:
    """Return the table with the features of a contract, in its order."""
    names = [spec.name for spec in contract.features]
    if names == list(table.schema.names):
        return table
    where = [table.schema.names.index(name) for name in names]
    schema = FeatureSchema(
        names=tuple(names),
        n_categories=tuple(table.schema.n_categories[i] for i in where),
        categories=tuple(table.schema.categories[i] for i in where if table.schema.categories),
    )
    return replace(table, schema=schema, features=table.features.T[where].T)


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
