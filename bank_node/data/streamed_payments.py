"""A bank's payments that do not fit into memory, as a training takes them.

Rows to train on go by piece by piece. Those that select and judge are kept in unlinked files that
are mapped into memory, below ``TMPDIR``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from bank_node.data.contract import open_rows
from bank_node.data.digest import RowsDigest, joined_digest
from bank_node.data.row_warnings import row_warnings
from bank_node.data.streamed import Bounded, Gathered, stream_windows
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.catalogue.run_check import contract_recipe
from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.features.mappings.mapping import Mapping as ColumnMapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.pieced_windows import total_counts
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.streamed import MappedColumn
from fraudfed.intake.windows import WindowCounts, Windows
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract

#: Numbers that say which payments have a name in common; by hash, until all are there.
_CODES: Final = ("customers", "cards", "accounts")
_CELL: Final = "cell "


@dataclass(frozen=True, eq=False)
class StreamedPayments:
    """What is known once all pieces have gone by; as ``TrainingRows`` says it. Never leaves it.

    Attributes
    ----------
    windows : Windows
        Without the rows to train on, which went by; ``periods`` are not told.
    rows_read : int
        Rows of the data.
    data_sha256 : str
        ``windows_digest`` of all windows.
    warnings : tuple of str
    """

    windows: Windows
    rows_read: int
    data_sha256: str
    warnings: tuple[str, ...]


class PaymentStream:
    """Payments that go by once; see ``pieces`` and then ``finish``.

    Parameters
    ----------
    location, contract, mapping, shared
        As ``load_training_rows``, for transactions.
    bounded : Bounded
    """

    def __init__(
        self,
        location: Location,
        contract: DataContract,
        bounded: Bounded,
        *,
        mapping: ColumnMapping | None = None,
        shared: SharedRisk | None = None,
    ) -> None:
        self.schema = contract_schema(contract)
        self._source = open_rows(location, contract, mapping).name
        self._contract = contract
        self._gathered = Gathered()
        self._stream = stream_windows(
            location, contract, bounded, mapping=mapping, shared=shared, gathered=self._gathered
        )
        self._digest = RowsDigest(self.schema, max_weight=contract.max_weight)
        self._counts: dict[str, WindowCounts] = {}
        self._n_missing = np.zeros(self.schema.n_features, dtype=np.int64)
        self._labels_seen: set[float] = set()
        self._kept = {"select": _KeptRows(self.schema), "judge": _KeptRows(self.schema)}
        self._is_complete = False

    def pieces(self) -> Iterator[TrainingTable]:
        """Yield the rows to train on; raises as ``load_training_rows`` does.

        Raises
        ------
        DataError, ConfigurationError
            As ``stream_windows``.
        StateError
            If there is no room on disk.
        """
        for windows in self._stream:
            self._counts = total_counts((self._counts, windows.counts))
            for name, rows in (("select", windows.select), ("judge", windows.judge)):
                if rows is not None:
                    self._kept[name].add(rows)
            train = windows.train
            self._digest.add(train)
            if train.n_rows:
                self._n_missing += np.count_nonzero(np.isnan(train.features), axis=0)
                self._labels_seen.update(float(label) for label in np.unique(train.labels))
                yield train
        self._is_complete = True

    def finish(self) -> StreamedPayments:
        """Return what is known of all rows, and log what is unusual; behind the last piece."""
        if not self._is_complete:
            raise ValueError("there are pieces that have not gone by")
        unused = contract_recipe(self._contract).unused
        windows = Windows(
            train=_no_rows(self.schema, self._contract),
            select=self._kept["select"].as_judged(),
            judge=self._kept["judge"].as_judged(),
            counts=self._counts,
        )
        return StreamedPayments(
            windows,
            self._gathered.n_rows,
            joined_digest(self._digest.hexdigest(), windows.select, windows.judge),
            row_warnings(
                self._source,
                self._counts,
                self.schema.names,
                n_rows=self._digest.n_rows,
                labels_seen=tuple(sorted(self._labels_seen)),
                n_missing=self._n_missing.tolist(),
                absent=[name for name in self._gathered.absent if name not in unused],
                more=self._gathered.warnings,
            ),
        )


class _KeptRows:
    """The rows of a window with all that is known of them, in files that grow."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema = schema
        self._columns: dict[str, MappedColumn] | None = None
        self._max_weight = 1.0

    def add(self, rows: JudgedRows) -> None:
        values = _values_of(rows)
        if self._columns is None:
            self._columns = {
                name: MappedColumn(1 if column.ndim == 1 else column.shape[1], column.dtype)
                for name, column in values.items()
            }
            self._max_weight = rows.max_weight
        if values.keys() != self._columns.keys():
            raise ValueError("a piece of rows knows something else of them than the first")
        for name, column in values.items():
            self._columns[name].add(np.ascontiguousarray(column))

    def as_judged(self) -> JudgedRows | None:
        """Return all rows; None if no piece had the window."""
        if self._columns is None:
            return None
        found = {
            name: column.mapped() if name == "features" else column.mapped().reshape(-1)
            for name, column in self._columns.items()
        }
        for name in _CODES:
            if name in found:
                found[name][:] = _by_order(found[name])
        features, weights = found.pop("features"), found.pop("weights", None)
        cells = {name.removeprefix(_CELL): found.pop(name) for name in list(found) if _CELL in name}
        outcomes = Outcomes(**found, cells=cells)
        return JudgedRows(self._schema, features, outcomes, weights, self._max_weight)


def _values_of(rows: JudgedRows) -> Mapping[str, npt.NDArray[Any]]:
    outcomes = rows.outcomes
    values = {
        "features": rows.features,
        "weights": rows.weights,
        **{
            name: getattr(outcomes, name)
            for name in ("labels", "is_blocked", "event_time", "amounts", "is_first_seen", *_CODES)
        },
        **{_CELL + name: cells for name, cells in outcomes.cells.items()},
    }
    return {name: column for name, column in values.items() if column is not None}


def _by_order(codes: Int64Array) -> Int64Array:
    """Return the place of each number in the order in which they come, as in memory; -1 stays."""
    places, _ = pd.factorize(codes[codes >= 0])
    found = np.full(codes.size, -1, dtype=np.int64)
    found[codes >= 0] = places
    return found


def _no_rows(schema: FeatureSchema, contract: DataContract) -> TrainingTable:
    return TrainingTable(
        schema,
        np.empty((0, schema.n_features), dtype=np.float32),
        np.empty(0, dtype=np.float32),
        None if contract.weight is None else np.empty(0, dtype=np.float32),
        contract.max_weight,
    )
