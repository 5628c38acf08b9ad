"""Score a file with an accepted model, on the bank's own machine: nothing is sent.

Law: the scores are those of ``xgboost.Booster.predict`` on the same features. A model is read by
our own strict reader first: XGBoost's crashes or never ends on a file that is no tree.
"""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import xgboost

from bank_node.data.contract import load_scoring_rows
from bank_node.serving.calibration_file import read_calibration
from bank_node.serving.table_file import check_output, write_table
from fraudfed.boosting.model_reader import MOST_MODEL_BYTES, read_model
from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.plain_table import contract_schema
from fraudfed.wire.messages import DataContract, FeatureType

_log = logging.getLogger(__name__)

#: Rows scored at once: bounds the copies that xgboost makes.
_BATCH_ROWS = 1_000_000
_XGBOOST_TYPES = {FeatureType.NUMERIC: "q", FeatureType.CATEGORICAL: "c"}


def score_file(
    data: Path,
    out: Path,
    *,
    model: Path,
    contract: DataContract,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> tuple[int, bool]:
    """Write ``transaction_id`` (or ``row``, from 1) and ``score`` for every row of ``data``.

    With a calibration beside the model, ``probability`` is a third column.

    Parameters
    ----------
    data, out, model : Path
    contract : DataContract
    mapping : Mapping or None
        How the columns of ``data`` become those of the contract.
    shared : SharedRisk or None
        Risk tables, for a contract that ``needs_tables``.

    Returns
    -------
    rows : int
        Number of rows.
    has_probabilities : bool

    Raises
    ------
    DataError
        If the data do not meet the contract.
    StateError
        If the model cannot be read, is of another contract, or ``out`` cannot be written; or if
        the calibration beside it cannot be read, or belongs to another model.
    ConfigurationError
        If ``out`` is neither ``.csv`` nor ``.parquet``.
    """
    check_output(out)
    content = read_model_file(model)
    calibration = read_calibration(model, content)
    booster = _load(content, model, contract)
    rows = load_scoring_rows(data, contract, mapping=mapping, shared=shared)
    scores = predict(booster, rows.features, contract)
    count = len(scores)
    if rows.identifiers is None:
        identifiers = ("row", pa.array(np.arange(1, count + 1, dtype=np.int64)))
    else:
        identifiers = ("transaction_id", rows.identifiers)
    columns = [identifiers, ("score", pa.array(scores))]
    if calibration is not None:
        columns.append(("probability", pa.array(calibration.of(scores))))
    write_table(pa.table(dict(columns)), out)
    return count, calibration is not None


def predict(
    booster: xgboost.Booster, features: Float32Array, contract: DataContract
) -> Float32Array:
    """Return fraud probabilities.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features), dtype=float32
        NaN is missing; categories are codes.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
    """
    names = [spec.name for spec in contract.features]
    types = [_XGBOOST_TYPES[spec.type] for spec in contract.features]
    parts = [
        booster.predict(
            xgboost.DMatrix(
                features[start : start + _BATCH_ROWS],
                feature_names=names,
                feature_types=types,
                enable_categorical=True,
            )
        )
        for start in range(0, len(features), _BATCH_ROWS)
    ]
    return np.concatenate(parts).astype(np.float32, copy=False)


def read_model_file(path: Path) -> bytes:
    """Return the bytes of a model file, one byte more than a model may have at most.

    Raises
    ------
    StateError
        If there is none, or it cannot be read.
    """
    if not path.is_file():
        raise StateError(
            f"{path}: no such model; train first ('bank-node train'), or name one with --model"
        )
    try:
        with path.open("rb") as file:
            return file.read(MOST_MODEL_BYTES + 1)
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror})") from None


def _load(data: bytes, path: Path, contract: DataContract) -> xgboost.Booster:
    """Read a model ourselves, and give XGBoost what we have read (``boosting.model_reader``)."""
    model = read_model(data, schema=contract_schema(contract), source=str(path))
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(model.to_json()))
    except xgboost.core.XGBoostError as error:
        _log.debug("xgboost: %s", error)
        raise StateError(
            f"{path}: xgboost cannot load the model; take another copy of it"
        ) from None
    return booster
