"""Score a file with an accepted model, on the bank's own machine: nothing is sent.

Law: the scores are those of ``xgboost.Booster.predict`` on the same features (``scorer``).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from bank_node.data.contract import ScoringRows, load_scoring_rows
from bank_node.data.streamed import Bounded, stream_scoring_rows
from bank_node.serving.scorer import Scorer
from bank_node.serving.table_file import check_output, write_pieces, write_table
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
    bounded: Bounded | None = None,
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
    bounded : Bounded or None
        None reads all of ``data`` into memory.

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
    if bounded is None:
        rows = load_scoring_rows(data, contract, mapping=mapping, shared=shared)
        table = _scored(scorer, rows, 0)
        write_table(table, out)
        return table.num_rows, scorer.calibration is not None
    pieces = stream_scoring_rows(data, contract, bounded, mapping=mapping, shared=shared)
    return write_pieces(_scored_pieces(scorer, pieces), out), scorer.calibration is not None


def _scored_pieces(scorer: Scorer, pieces: Iterator[ScoringRows]) -> Iterator[pa.Table]:
    first_row = 0
    for rows in pieces:
        yield _scored(scorer, rows, first_row)
        first_row += len(rows.features)


def _scored(scorer: Scorer, rows: ScoringRows, first_row: int) -> pa.Table:
    scores = scorer.scores(rows.features)
    if rows.identifiers is None:
        number = first_row + np.arange(1, len(scores) + 1, dtype=np.int64)
        identifiers = ("row", pa.array(number))
    else:
        identifiers = ("transaction_id", rows.identifiers)
    columns = [identifiers, ("score", pa.array(scores))]
    if scorer.calibration is not None:
        columns.append(("probability", pa.array(scorer.calibration.of(scores))))
    return pa.table(dict(columns))
