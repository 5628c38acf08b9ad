"""Write the features that a run's model looks at, to be looked at or trained on.

What is written is the bank's own: its rows, and what it knows of shared risk. It stays there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from bank_node.data.scoring_rows import ScoringRows
from bank_node.data.streamed import Bounded
from bank_node.serving.lines import lines_of
from bank_node.serving.table_file import check_output, write_pieces
from fraudfed.dtypes import Float32Array
from fraudfed.features import FeatureTable
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import LABEL_NOT_KNOWN
from fraudfed.intake.windows import contract_columns
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract, FeatureSpec

if TYPE_CHECKING:
    from distributed import Client


def export_features(
    data: Location,
    out: Path,
    *,
    contract: DataContract,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    bounded: Bounded | None = None,
    cluster: "Client | None" = None,
) -> int:
    """Write a row for every payment of ``data`` that the recipe judges, in its order.

    The features are those of the contract, in its order: numbers as float32, categories by name,
    in Parquet as a dictionary of all names. What is missing is null. Before them stand, for
    transactions, ``transaction_id``, ``event_time``, ``label_time`` and the label; for a plain
    table ``transaction_id``, if the file has it.

    Parameters
    ----------
    data, out : Path
    contract : DataContract
    mapping : Mapping or None
        How the columns of ``data`` become those of the contract.
    shared : SharedRisk or None
        Risk tables, for a contract that ``needs_tables``.
    bounded : Bounded or None
        None reads all of ``data`` into memory.
    cluster : Client or None
        As for ``lines_of``.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    DataError
        If the data do not meet the contract.
    ConfigurationError
        If ``out`` is neither ``.csv`` nor ``.parquet``.
    StateError
        If ``out`` cannot be written.
    ClusterError
        If the cluster has gone.
    """
    check_output(out)
    # A CSV file has texts, no dictionaries.
    make = FeaturesOf(contract, as_dictionary=out.suffix.lower() != ".csv")
    lines = lines_of(
        data, contract, make, mapping=mapping, shared=shared, bounded=bounded, cluster=cluster
    )
    return write_pieces(lines, out)


@dataclass(frozen=True, eq=False)
class FeaturesOf:
    """Makes a line of each row: what is known of it, and its features.

    Attributes
    ----------
    contract : DataContract
    as_dictionary : bool
        Whether categories are numbers, with all names beside them.
    """

    contract: DataContract
    as_dictionary: bool

    def __call__(self, rows: FeatureTable | ScoringRows) -> pa.Table:
        """Put some rows into a table."""
        if isinstance(rows, FeatureTable):
            values = contract_columns(rows, self.contract)
            about = _about(rows, self.contract)
        else:
            values = rows.features
            about = {} if rows.identifiers is None else {"transaction_id": rows.identifiers}
        return _exported(about, values, self.contract, as_dictionary=self.as_dictionary)


def _exported(
    about: dict[str, pa.Array],
    values: Float32Array,
    contract: DataContract,
    *,
    as_dictionary: bool,
) -> pa.Table:
    columns = dict(about)
    for column, spec in zip(values.T, contract.features, strict=True):
        columns[spec.name] = _feature(column, spec, as_dictionary=as_dictionary)
    return pa.table(columns)


def _about(built: FeatureTable, contract: DataContract) -> dict[str, pa.Array]:
    """Return what is known of payments beside their features."""
    unknown = built.label_time == LABEL_NOT_KNOWN
    return {
        "transaction_id": pa.array(built.transaction_id, pa.string()),
        "event_time": pa.array(built.event_time),
        "label_time": pa.array(built.label_time, mask=unknown),
        contract.label: pa.array(np.where(unknown, 0, built.labels).astype(np.int8), mask=unknown),
    }


def _feature(values: Float32Array, spec: FeatureSpec, *, as_dictionary: bool) -> pa.Array:
    missing = np.isnan(values)
    if spec.categories is None:
        return pa.array(values, mask=missing)
    codes = pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
    named = pa.DictionaryArray.from_arrays(codes, pa.array(spec.categories, pa.string()))
    return named if as_dictionary else named.cast(pa.string())
