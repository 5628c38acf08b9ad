"""What a bank's file holds, counted as a statistics run asks for it."""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from bank_node.config import CohortRules
from bank_node.data.contract import load_built_rows, load_training_rows, open_rows
from bank_node.data.cutoffs import time_text
from bank_node.data.looks.look import Reading
from bank_node.data.looks.pieces import buckets_of, check_problems
from bank_node.data.streamed import Bounded, bounded_rows, bytes_at_once, stream_built_rows
from bank_node.data.streamed_table import stream_training_rows
from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.errors import DataError
from fraudfed.features.by_key.buckets import bucket_numbers, rows_by_bucket
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import FeatureTable
from fraudfed.intake.outcomes import stopped_payments
from fraudfed.intake.spill import SpilledTable
from fraudfed.intake.windows import horizon_seconds, labels_as_of
from fraudfed.reading.location import Location
from fraudfed.statistics.contents import (
    Contents,
    Identifiers,
    contents_of,
    identifiers_of,
    payers_of,
)
from fraudfed.statistics.counts import Counts, count, together, with_identifiers
from fraudfed.statistics.layout import Layout
from fraudfed.wire.messages import DataContract, StatisticsSpec

_PAYERS: Final = pa.schema([("identifier", pa.string()), ("customer", pa.string())])


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
    memory_limit: int | None = None,
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
    memory_limit : int or None
        Bytes above which rows are counted in pieces; None keeps them in memory. The counts are the
        same.

    Raises
    ------
    DataError
        Naming file, row, column, value and what was expected; or if no row lies in the window.
    ConfigurationError
        If the contract cannot be met by this release, or the mapping is of another kind.
    StateError
        If there is no room on disk for what lies there meanwhile.
    """
    file = open_rows(path, contract, mapping)
    if memory_limit is not None and contract.kind == "table":
        if bytes_at_once(file, contract) > memory_limit:
            return _table_in_pieces(
                path, contract, layout, mapping, hash_key=hash_key, memory_limit=memory_limit
            )
    elif memory_limit is not None:
        bounded = bounded_rows(
            path,
            contract,
            mapping=mapping,
            memory_limit=memory_limit,
            directory=Path(tempfile.gettempdir()),
        )
        if bounded is not None:
            return _in_pieces(
                path,
                contract,
                layout,
                bounded,
                min_customers=min_customers,
                hash_key=hash_key,
                mapping=mapping,
                shared=shared,
            )
    if contract.kind == "table":
        table = load_training_rows(path, contract, mapping=mapping).windows.train
        contents = _of_table(table, layout)
    else:
        rows, built = load_built_rows(path, contract, mapping=mapping, shared=shared)
        contents = _transactions(contract, layout, rows, built, min_customers=min_customers)
        _check_any(path, contract, contents.n_rows, built.n_rows)
    return count(contents, layout, hash_key=hash_key)


def _of_table(table: TrainingTable, layout: Layout) -> Contents:
    return contents_of(
        layout,
        features=dict(zip(table.schema.names, table.features.T, strict=True)),
        labels=table.labels,
        transactions=None,
        min_customers=None,
    )


def _table_in_pieces(
    path: Location,
    contract: DataContract,
    layout: Layout,
    mapping: Mapping | None,
    *,
    hash_key: bytes,
    memory_limit: int,
) -> Counts:
    rows = stream_training_rows(path, contract, mapping=mapping, memory_limit=memory_limit)
    counts = (
        count(_of_table(table, layout), layout, hash_key=hash_key)
        for table in rows.windows.train.pieces()
    )
    return reduce(lambda one, other: together([one, other]), counts)


def _in_pieces(
    path: Location,
    contract: DataContract,
    layout: Layout,
    bounded: Bounded,
    *,
    min_customers: int,
    hash_key: bytes,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> Counts:
    """Count transactions piece by piece; who paid at which identifier lies on disk meanwhile."""
    file = open_rows(path, contract, mapping)
    check_problems(file, Reading(mapping, contract), bounded)
    n_buckets, n_inside, n_built = buckets_of(file, bounded), 0, 0
    total: Counts | None = None
    with ExitStack() as opened:
        payers = {
            entity: opened.enter_context(
                SpilledTable(_PAYERS, bounded.directory, n_buckets=n_buckets)
            )
            for entity in layout.entities
        }
        for piece in stream_built_rows(
            path, contract, bounded, mapping=mapping, shared=shared, tells=False
        ):
            inside, labels = _mature(contract, piece.rows, piece.built)
            contents = _contents(layout, piece.rows, piece.built.take(inside), labels, None)
            own = count(contents, layout, hash_key=hash_key)
            total = own if total is None else together([total, own])
            n_inside, n_built = n_inside + contents.n_rows, n_built + piece.built.n_rows
            chosen = piece.rows.iloc[piece.built.positions[inside]]
            for entity, table in payers.items():
                _divide(payers_of(chosen, entity), table, n_buckets=n_buckets)
        _check_any(path, contract, n_inside, n_built)
        identifiers = {}
        for entity, table in payers.items():
            found = [
                identifiers_of(table.read(bucket).to_pandas(), min_customers)
                for bucket in range(n_buckets)
            ]
            identifiers[entity] = Identifiers(
                sorted(chain.from_iterable(each.all for each in found)),
                sorted(chain.from_iterable(each.with_customers for each in found)),
            )
    if total is None:
        raise file.no_rows()
    return with_identifiers(total, identifiers, layout, hash_key=hash_key)


def _divide(pairs: pd.DataFrame, table: SpilledTable, *, n_buckets: int) -> None:
    numbers = bucket_numbers(pairs, "identifier", n_buckets=n_buckets)
    whole = pa.table(
        [pa.array(pairs[name].to_numpy(dtype=object), pa.string()) for name in _PAYERS.names],
        schema=_PAYERS,
    )
    for bucket, these in enumerate(rows_by_bucket(numbers, n_buckets=n_buckets)):
        if these.size:
            table.add(bucket, whole.take(pa.array(these)))


def _transactions(
    contract: DataContract,
    layout: Layout,
    rows: pd.DataFrame,
    built: FeatureTable,
    *,
    min_customers: int,
) -> Contents:
    inside, labels = _mature(contract, rows, built)
    return _contents(layout, rows, built.take(inside), labels, min_customers)


def _mature(
    contract: DataContract, rows: pd.DataFrame, built: FeatureTable
) -> tuple[BoolArray, Float32Array]:
    """Return which payments are counted, and the labels of these as of ``train_until``."""
    until = contract.train_until
    inside = built.rows_between(start=contract.train_from, stop=None)
    if until is not None:
        horizon = horizon_seconds(rows, built.positions, contract.label_horizon_days)
        inside &= built.event_time < until - horizon
    labels = labels_as_of(
        until, built.labels, built.label_time, stopped_payments(rows)[built.positions]
    )
    return inside, labels[inside]


def _contents(
    layout: Layout,
    rows: pd.DataFrame,
    used: FeatureTable,
    labels: Float32Array,
    min_customers: int | None,
) -> Contents:
    return contents_of(
        layout,
        features=dict(zip(used.names, used.values.T, strict=True)),
        labels=labels,
        transactions=rows.iloc[used.positions].reset_index(drop=True),
        min_customers=min_customers,
    )


def _check_any(path: Location, contract: DataContract, n_inside: int, n_built: int) -> None:
    if n_inside:
        return
    until = time_text(contract.train_until)
    raise DataError(
        f"{path}: none of {n_built} payments is mature: from "
        f"{time_text(contract.train_from)} on, and older than the label horizon of "
        f"{contract.label_horizon_days.text} on {until} (train_until); give older payments"
    )
