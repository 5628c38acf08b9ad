"""Write the features that a run's model looks at, to be looked at or trained on.

What is written is the bank's own: its rows, and what it knows of shared risk. Nothing is sent.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from bank_node.data.contract import load_features, load_scoring_rows
from bank_node.serving.table_file import check_output, write_table
from fraudfed.dtypes import Float32Array
from fraudfed.features import FeatureTable
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import LABEL_NOT_KNOWN
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract, FeatureSpec


def export_features(
    data: Location,
    out: Path,
    *,
    contract: DataContract,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
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
    if contract.kind == "transactions":
        built = load_features(data, contract, mapping=mapping, shared=shared)
        columns = _about(built, contract)
        indices = [built.names.index(spec.name) for spec in contract.features]
        values = built.values.T[indices].T
    else:
        rows = load_scoring_rows(data, contract, mapping=mapping)
        columns = {} if rows.identifiers is None else {"transaction_id": rows.identifiers}
        values = rows.features
    # A CSV file has texts, no dictionaries.
    as_dictionary = out.suffix.lower() != ".csv"
    for column, spec in zip(values.T, contract.features, strict=True):
        columns[spec.name] = _feature(column, spec, as_dictionary=as_dictionary)
    write_table(pa.table(columns), out)
    return len(values)


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
