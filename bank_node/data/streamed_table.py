"""A bank's plain table that does not fit into memory: checked once, and read as often as needed."""

from dataclasses import dataclass

from bank_node.data.contract import TableShares, open_rows, problems_of
from bank_node.data.digest import RowsDigest, joined_digest
from bank_node.data.row_warnings import row_warnings
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.streamed import (
    StreamedWindows,
    piece_rows,
    stream_plain_table,
)
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract


@dataclass(frozen=True, eq=False)
class StreamedTraining:
    """What ``TrainingRows`` says, of rows that stay on disk. Never leaves the bank.

    Attributes
    ----------
    windows : StreamedWindows
    data_sha256 : str
        ``windows_digest`` of all windows.
    warnings : tuple of str
    """

    windows: StreamedWindows
    data_sha256: str
    warnings: tuple[str, ...]

    @property
    def rows_read(self) -> int:
        """Rows of the data."""
        return self.windows.rows_read


def stream_training_rows(
    path: Location,
    contract: DataContract,
    *,
    mapping: Mapping | None = None,
    shares: TableShares | None = None,
    memory_limit: int,
) -> StreamedTraining:
    """Check a plain table a piece at a time, as ``load_training_rows`` checks it at once.

    Parameters
    ----------
    path, contract, mapping, shares
        As ``load_training_rows``; the contract is one of a plain table.
    memory_limit : int
        Bytes; says how many rows are read at a time.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_training_rows``.
    StateError
        If there is no room on disk for the rows that select and judge.
    """
    shares = shares or TableShares()
    file = open_rows(path, contract, mapping)
    schema = contract_schema(contract)
    digest = RowsDigest(schema, max_weight=contract.max_weight)
    windows = stream_plain_table(
        file,
        contract,
        problems_of(file),
        seed=shares.seed,
        select=shares.select,
        judge=shares.judge,
        rows=piece_rows(memory_limit, schema.n_features),
        watch=digest.add,
    )
    return StreamedTraining(
        windows,
        joined_digest(digest.hexdigest(), windows.select, windows.judge),
        row_warnings(
            file.name,
            windows.counts,
            schema.names,
            n_rows=windows.train.n_rows,
            labels_seen=windows.labels_seen,
            n_missing=windows.n_missing.tolist(),
        ),
    )
