"""Look-ups from a file and to a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from bank_node.data.risk_days import day_text
from bank_node.lookup.tables import Found, LookupTables
from bank_node.serving.table_file import write_table
from fraudfed.errors import DataError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk.look_up import Interval, Window
from fraudfed.reading.file_format import PLAIN_CSV
from fraudfed.reading.location import Location, open_data
from fraudfed.wire.messages import RiskEntity


def read_identifiers(
    path: Location, tables: LookupTables, entity: RiskEntity, *, mapping: Mapping | None = None
) -> list[str]:
    """Return the identifiers of a file, each once, in the order in which they first stand there.

    Parameters
    ----------
    path : Location
    tables : LookupTables
        Say what an identifier is.
    entity : RiskEntity
    mapping : Mapping or None

    Raises
    ------
    DataError
        If the file cannot be read, has no such column, or no identifier in it.
    ProblemsError
        With every row that holds something which is no identifier; empty cells are passed over.
    """
    column = f"{entity.value}_id"
    source = None if mapping is None else mapping.columns.get(column)
    name = column if source is None or source.column is None else source.column
    file_format = PLAIN_CSV if mapping is None else mapping.file
    file = open_data(path, file_format=file_format)
    if name not in file.columns:
        raise DataError(
            f"{path}: has no column {name!r}, expected one of identifiers of the {entity.value}; "
            "rename it or map it with --map"
        )
    before = "" if source is None or source.prefix is None else source.prefix
    values = file.read({name: pa.string()})[name].cast(pa.string()).to_pylist()
    texts = [f"{before}{text}" if text is not None and text.strip() else None for text in values]
    why = {text: tables.why_not(entity, text) for text in texts if text is not None}
    problems = file.problems()
    for expected, advice in dict.fromkeys(each for each in why.values() if each is not None):
        bad = [text is not None and why[text] == (expected, advice) for text in texts]
        problems.add_cells(
            "no_identifier",
            repr(name),
            np.array(bad, dtype=np.bool_),
            got=lambda row: repr(values[row]),
            expected=expected,
            advice=advice,
        )
    problems.raise_any()
    if not why:
        raise DataError(f"{path}: column {name!r} holds no identifier, expected one or more")
    return list(why)


def write_found(found: Sequence[Found], asked: Sequence[str], out: Path) -> None:
    """Write one row for each identifier; raises StateError as ``write_table``.

    Days that a window lacks are counted in ``missing_days_Nd``.
    """
    columns: dict[str, list[str] | list[int] | list[int | None]] = {
        "asked": list(asked),
        "identifier": [each.identifier for each in found],
        "as_of": [day_text(each.as_of) for each in found],
        "age_days": [each.age_days for each in found],
        "banks": [each.banks for each in found],
    }
    for index, window in enumerate(found[0].windows):
        for name, part in _PARTS.items():
            of_part = [part(each.windows[index]) for each in found]
            for end in ("count", "lower", "upper"):
                key = f"{name}_{end}_{window.days}d"
                columns[key] = [int(getattr(each, end)) for each in of_part]
        columns[f"missing_days_{window.days}d"] = [
            sum(last - first + 1 for first, last in each.windows[index].missing) for each in found
        ]
    write_table(pa.table(columns), out)


_PARTS: dict[str, Callable[[Window], Interval]] = {
    "payment": lambda window: window.payments,
    "fraud": lambda window: window.frauds,
}
