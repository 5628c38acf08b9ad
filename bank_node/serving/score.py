"""Score a file with an accepted model: no other bank and no aggregator learns of it.

Law: the scores are those of ``xgboost.Booster.predict`` on the same features (``scorer``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from bank_node.data.scoring_rows import ScoringRows
from bank_node.data.streamed import Bounded
from bank_node.serving.lines import lines_of
from bank_node.serving.scorer import Scorer
from bank_node.serving.table_file import check_output, write_pieces
from fraudfed.adaptation.calibration import Calibration
from fraudfed.features import FeatureTable
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.windows import contract_columns
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from distributed import Client

_ID: Final = "transaction_id"
_SCORE: Final = "score"


def score_file(
    data: Location,
    out: Path,
    *,
    model: Path,
    contract: DataContract,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    bounded: Bounded | None = None,
    cluster: "Client | None" = None,
) -> tuple[int, bool]:
    """Write ``transaction_id`` (or ``row``, from 1) and ``score`` for every row of ``data``.

    With a calibration beside the model, ``probability`` is a third column. The bytes are the same
    however the rows are read, and wherever they are scored.

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
    cluster : Client or None
        As for ``lines_of``.

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
    ClusterError
        If the cluster has gone.
    """
    check_output(out)
    scorer = Scorer.read(model, contract)
    calibration = scorer.calibration
    lines = lines_of(
        data,
        contract,
        # The calibration stays here: a score needs one step more, and no worker.
        ScoresOf(replace(scorer, calibration=None), threads=None if cluster is None else 1),
        mapping=mapping,
        shared=shared,
        bounded=bounded,
        cluster=cluster,
    )
    return write_pieces(_completed(lines, calibration), out), calibration is not None


@dataclass(frozen=True, eq=False)
class ScoresOf:
    """Makes a line of each row: identifier, if there is one, and score.

    Attributes
    ----------
    scorer : Scorer
    threads : int or None
        As for ``Scorer.scores``.
    """

    scorer: Scorer
    threads: int | None

    def __call__(self, rows: FeatureTable | ScoringRows) -> pa.Table:
        """Score some rows."""
        if isinstance(rows, FeatureTable):
            features = contract_columns(rows, self.scorer.contract)
            identifiers = pa.array(rows.transaction_id, pa.string())
        else:
            features, identifiers = rows.features, rows.identifiers
        scores = pa.array(self.scorer.scores(features, threads=self.threads))
        named = {} if identifiers is None else {_ID: identifiers}
        return pa.table({**named, _SCORE: scores})


def _completed(lines: Iterator[pa.Table], calibration: Calibration | None) -> Iterator[pa.Table]:
    """Add what a line says that its row does not: its number, and its probability."""
    n_rows = 0
    for some in lines:
        columns = {name: some[name] for name in some.column_names}
        if _ID not in columns:
            numbers = n_rows + np.arange(1, some.num_rows + 1, dtype=np.int64)
            columns = {"row": pa.array(numbers), **columns}
        if calibration is not None:
            columns["probability"] = pa.array(calibration.of(some[_SCORE].to_numpy()))
        n_rows += some.num_rows
        yield pa.table(columns)
