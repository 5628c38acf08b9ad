"""Write the features that a run's model looks at, to be looked at or trained on.

What is written is the bank's own: its rows, and what it knows of shared risk. Nothing is sent.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from bank_node.data.contract import load_features
from bank_node.serving.table_file import check_output, write_table
from fraudfed.dtypes import Float32Array
from fraudfed.errors import ConfigurationError
from fraudfed.features import FeatureTable
from fraudfed.features.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import LABEL_NOT_KNOWN
from fraudfed.wire.messages import DataContract, FeatureSpec


def export_features(
    data: Path,
    out: Path,
    *,
    contract: DataContract,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> int:
    """Write a row for every payment of ``data`` that the recipe judges, in its order.

    Columns are ``transaction_id``, ``event_time``, ``label_time``, the label, and the features of
    the contract: numbers as float32, categories by name. What is missing is null.

    Parameters
    ----------
    data, out : Path
    contract : DataContract
        Of transactions.
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
        If the contract is of a plain table, whose features are in the file already, or ``out`` is
        neither ``.csv`` nor ``.parquet``.
    StateError
        If ``out`` cannot be written.
    """
    check_output(out)
    if contract.kind != "transactions":
        raise ConfigurationError(
            "features: the run's data contract is of a plain table, expected one of transactions; "
            "the file holds the features itself"
        )
    built = load_features(data, contract, mapping=mapping, shared=shared)
    write_table(_arrow_table(built, contract), out)
    return built.n_rows


def _arrow_table(built: FeatureTable, contract: DataContract) -> pa.Table:
    unknown = built.label_time == LABEL_NOT_KNOWN
    columns = {
        "transaction_id": pa.array(built.transaction_id, pa.string()),
        "event_time": pa.array(built.event_time),
        "label_time": pa.array(built.label_time, mask=unknown),
        contract.label: pa.array(np.where(unknown, 0, built.labels).astype(np.int8), mask=unknown),
    }
    for spec in contract.features:
        columns[spec.name] = _feature(built.values[:, built.names.index(spec.name)], spec)
    return pa.table(columns)


def _feature(values: Float32Array, spec: FeatureSpec) -> pa.Array:
    missing = np.isnan(values)
    if spec.categories is None:
        return pa.array(values, mask=missing)
    codes = pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(codes, pa.array(spec.categories, pa.string())).cast(
        pa.string()
    )
