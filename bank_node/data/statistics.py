"""What a bank's file holds, counted as a statistics run asks for it."""

from dataclasses import dataclass

import pandas as pd

from bank_node.config import CohortRules
from bank_node.data.contract import load_built_rows, load_training_rows
from bank_node.data.cutoffs import time_text
from fraudfed.errors import DataError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import FeatureTable
from fraudfed.intake.outcomes import stopped_payments
from fraudfed.intake.windows import horizon_seconds, labels_as_of
from fraudfed.reading.location import Location
from fraudfed.statistics.contents import Contents, contents_of
from fraudfed.statistics.counts import Counts, count
from fraudfed.statistics.layout import Layout
from fraudfed.wire.messages import DataContract, StatisticsSpec


@dataclass(frozen=True)
class Thresholds:
    """The least that this bank enters: the run's, or its own rule where that is higher.

    Attributes
    ----------
    count : int
        A smaller count is entered as 0.
    customers : int
        An identifier with fewer customers of this bank is not entered.
    """

    count: int
    customers: int

    @classmethod
    def of(cls, spec: StatisticsSpec, rules: CohortRules) -> "Thresholds":
        """Return those of a run at this bank."""
        return cls(
            count=max(spec.min_count, rules.min_statistics_count),
            customers=max(spec.min_customers, rules.min_risk_customers or 1),
        )


def count_file(
    path: Location,
    contract: DataContract,
    layout: Layout,
    *,
    min_customers: int,
    hash_key: bytes,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> Counts:
    """Read and check a file, and count it; nothing is rounded yet.

    Of transactions the rows of the training window count, whether their label is known or not.

    Parameters
    ----------
    path : Path
    contract : DataContract
    layout : Layout
        Of that contract.
    min_customers : int
    hash_key : bytes of length 32
    mapping : Mapping or None
        How the file's columns become those of the contract; None: they are those.
    shared : SharedRisk or None
        Risk tables, for a contract that ``needs_tables``.

    Raises
    ------
    DataError
        Naming file, row, column, value and what was expected; or if no row lies in the window.
    ConfigurationError
        If the contract cannot be met by this release, or the mapping is of another kind.
    """
    if contract.kind == "table":
        table = load_training_rows(path, contract, mapping=mapping).windows.train
        features = dict(zip(table.schema.names, table.features.T, strict=True))
        contents = contents_of(
            layout,
            features=features,
            labels=table.labels,
            transactions=None,
            min_customers=min_customers,
        )
    else:
        rows, built = load_built_rows(path, contract, mapping=mapping, shared=shared)
        contents = _transactions(path, contract, layout, rows, built, min_customers=min_customers)
    return count(contents, layout, hash_key=hash_key)


def _transactions(
    path: Location,
    contract: DataContract,
    layout: Layout,
    rows: pd.DataFrame,
    built: FeatureTable,
    *,
    min_customers: int,
) -> Contents:
    until = contract.train_until
    inside = built.rows_between(start=contract.train_from, stop=None)
    if until is not None:
        horizon = horizon_seconds(rows, built.positions, contract.label_horizon_days)
        inside &= built.event_time < until - horizon
    if not inside.any():
        raise DataError(
            f"{path}: none of {built.n_rows} payments is mature: from "
            f"{time_text(contract.train_from)} on, and older than the label horizon of "
            f"{contract.label_horizon_days.text} on {time_text(until)} (train_until); give older "
            "payments"
        )
    labels = labels_as_of(
        until, built.labels, built.label_time, stopped_payments(rows)[built.positions]
    )
    used = built.take(inside)
    return contents_of(
        layout,
        features=dict(zip(used.names, used.values.T, strict=True)),
        labels=labels[inside],
        transactions=rows.iloc[used.positions].reset_index(drop=True),
        min_customers=min_customers,
    )
