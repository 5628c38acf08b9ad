"""Write the features that a run's model looks at, to be looked at or trained on.

What is written is the bank's own: its rows, and what it knows of shared risk. Nothing is sent.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from bank_node.data.contract import ScoringRows, load_features, load_scoring_rows
from bank_node.data.streamed import Bounded, stream_built_rows, stream_scoring_rows
from bank_node.serving.table_file import check_output, write_pieces, write_table
from fraudfed.dtypes import Float32Array
from fraudfed.features import FeatureTable
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import LABEL_NOT_KNOWN
from fraudfed.intake.windows import contract_columns
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract, FeatureSpec


def export_features(
    data: Location,
    out: Path,
    *,
    contract: DataContract,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    bounded: Bounded | None = None,
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
    """
    check_output(out)
    # A CSV file has texts, no dictionaries.
    as_dictionary = out.suffix.lower() != ".csv"

    def built_table(built: FeatureTable) -> pa.Table:
        values = contract_columns(built, contract)
        return _exported(_about(built, contract), values, contract, as_dictionary=as_dictionary)

    def plain_table(rows: ScoringRows) -> pa.Table:
        columns = {} if rows.identifiers is None else {"transaction_id": rows.identifiers}
        return _exported(columns, rows.features, contract, as_dictionary=as_dictionary)

    if bounded is not None:
        if contract.kind == "transactions":
            built = stream_built_rows(data, contract, bounded, mapping=mapping, shared=shared)
            return write_pieces(
                (built_table(piece.built) for piece in built if piece.built.n_rows), out
            )
        rows = stream_scoring_rows(data, contract, bounded, mapping=mapping)
        return write_pieces(map(plain_table, rows), out)
    if contract.kind == "transactions":
        table = built_table(load_features(data, contract, mapping=mapping, shared=shared))
    else:
        table = plain_table(load_scoring_rows(data, contract, mapping=mapping))
    write_table(table, out)
    return int(table.num_rows)


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
