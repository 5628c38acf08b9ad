"""Raw transactions out of a bank's file, under the recipe's names or through a mapping."""

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from fraudfed.catalogue.schema import COLUMNS, LABEL_COLUMNS, ColumnKind
from fraudfed.errors import DataError
from fraudfed.features import check_transactions
from fraudfed.features.check import Origin
from fraudfed.features.mapped import map_transactions, origin_of, source_types
from fraudfed.features.mapping import Mapping
from fraudfed.reading.file import DataFile


@dataclass(frozen=True, eq=False)
class RawTransactions:
    """Rows that ``build_features`` takes.

    Attributes
    ----------
    rows : DataFrame
        Checked against the schema.
    extra : Arrow table
        Further columns of the file that were asked for.
    """

    rows: pd.DataFrame
    extra: pa.Table

    @property
    def absent(self) -> list[str]:
        """Columns that features of some recipe are built on and the data lack."""
        return [
            column.name
            for column in COLUMNS
            if column.optional and not column.analysis and column.name not in self.rows
        ]


def read_transactions(
    file: DataFile,
    mapping: Mapping | None,
    *,
    extra: MappingOf[str, pa.DataType],
    needs_labels: bool,
) -> RawTransactions:
    """Read and check transactions.

    Parameters
    ----------
    file : DataFile
    mapping : Mapping or None
        None: the file has the recipe's columns.
    extra : mapping of str to Arrow type
        Further columns to read, by their names in the file.
    needs_labels : bool
        Whether labels must be there; where they need not, they are read if they are.

    Raises
    ------
    DataError
        Naming file, row, column, value and what was expected.
    """
    if mapping is None:
        rows, found, origin = _own_columns(file, extra, needs_labels=needs_labels)
    else:
        rows, found, origin = _mapped_columns(file, mapping, extra, needs_labels=needs_labels)
    check_transactions(rows, source=str(file.path), require_labels=False, origin=origin)
    if needs_labels and rows["is_fraud"].isna().all():
        raise DataError(f"{file.path}: no row has a label, expected 0 or 1 in column 'is_fraud'")
    return RawTransactions(rows, found.select(list(extra)))


def _own_columns(
    file: DataFile, extra: MappingOf[str, pa.DataType], *, needs_labels: bool
) -> tuple[pd.DataFrame, pa.Table, None]:
    # Integers are parsed as float64, which is exact in their range, so that "5.0" and a missing
    # label time are read; the check of the recipe tells whole numbers from others.
    types = {
        column.name: pa.string() if column.kind is ColumnKind.STRING else pa.float64()
        for column in COLUMNS
        if not column.analysis and column.name in file.columns
    }
    for name in (*LABEL_COLUMNS, *types) if needs_labels else types:
        file.require(name, "needed for training" if name in LABEL_COLUMNS else "transactions")
    found = file.read({**types, **extra})
    rows = found.select(list(types)).to_pandas()
    if file.is_csv:
        # CSV knows no other way to leave a text out.
        texts = [name for name, kind in types.items() if pa.types.is_string(kind)]
        rows[texts] = rows[texts].mask(rows[texts] == "")
    return rows, found, None


def _mapped_columns(
    file: DataFile, mapping: Mapping, extra: MappingOf[str, pa.DataType], *, needs_labels: bool
) -> tuple[pd.DataFrame, pa.Table, Origin]:
    if needs_labels and not mapping.has_labels:
        raise DataError(
            f"{file.path}: the mapping has no is_fraud and label_time, expected both for training; "
            "add them to it"
        )
    with_labels = mapping.has_labels and (
        needs_labels or source_types(mapping, with_labels=True).keys() <= set(file.columns)
    )
    types = source_types(mapping, with_labels=with_labels)
    for name in types:
        file.require(name, "used by the mapping")
    found = file.read({**types, **extra})
    rows = map_transactions(mapping, found, source=str(file.path), with_labels=with_labels)
    return rows, found, origin_of(mapping, found)
