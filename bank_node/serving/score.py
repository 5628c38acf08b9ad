"""Score a file with an accepted model, on the bank's own machine: nothing is sent.

Law: the scores are those of ``xgboost.Booster.predict`` on the same features (``scorer``).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from bank_node.data.contract import load_scoring_rows
from bank_node.serving.scorer import Scorer
from bank_node.serving.table_file import check_output, write_table
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract


def score_file(
    data: Location,
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
    scorer = Scorer.read(model, contract)
    rows = load_scoring_rows(data, contract, mapping=mapping, shared=shared)
    scores = scorer.scores(rows.features)
    count = len(scores)
    if rows.identifiers is None:
        identifiers = ("row", pa.array(np.arange(1, count + 1, dtype=np.int64)))
    else:
        identifiers = ("transaction_id", rows.identifiers)
    columns = [identifiers, ("score", pa.array(scores))]
    if scorer.calibration is not None:
        columns.append(("probability", pa.array(scorer.calibration.of(scores))))
    write_table(pa.table(dict(columns)), out)
    return count, scorer.calibration is not None
