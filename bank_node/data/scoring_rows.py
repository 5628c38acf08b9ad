"""Rows of a plain table that are to be scored, or written: no label is needed."""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from fraudfed.dtypes import Float32Array
from fraudfed.intake.plain_table import read_plain_table
from fraudfed.reading.columns import text_column
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import Problems
from fraudfed.wire.messages import DataContract

_ID: Final = "transaction_id"


@dataclass(frozen=True, eq=False)
class ScoringRows:
    """Rows to score.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features), dtype=float32
    identifiers : Arrow array of shape (n_rows,), or None
        ``transaction_id`` where the file has it, as texts.
    """

    features: Float32Array
    identifiers: pa.Array | None


def read_scoring_rows(file: DataFile, contract: DataContract, problems: Problems) -> ScoringRows:
    """Read, check and convert a plain table, or some of it, to be scored.

    Parameters
    ----------
    file : DataFile
    contract : DataContract
        Of a plain table.
    problems : Problems
        Of the file; what is added is raised with what was there.

    Raises
    ------
    DataError
        As ``read_plain_table``; also for an identifier that is no text and no whole number.
    """
    has_names = file.has(_ID) and file.require(_ID, "identifier", problems)
    names: list[pa.Array] = []

    def take(found: pa.Table) -> None:
        # Texts, whatever the file has: then they are of one type in all files of a table.
        read = text_column(file, _ID, found[_ID], problems) if has_names else None
        if read is not None:
            names.append(read[0].cast(pa.string()).combine_chunks())

    rows = read_plain_table(
        file,
        contract,
        problems,
        with_labels=False,
        extra={_ID: pa.string()} if has_names else None,
        check_extra=take,
    )
    return ScoringRows(rows.features, names[0] if names else None)
