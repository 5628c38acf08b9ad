"""Reads files of labels: a history with status and time, or one final label for each payment."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from bank_node.outcomes.label import Heard, LabelSource, Status
from fraudfed.errors import DataError
from fraudfed.reading.location import Location, open_data

_HISTORY: Final = ("transaction_id", "time", "status", "source")
_FINAL: Final = ("transaction_id", "is_fraud", "label_time")
_OPTIONAL: Final = ("fraud_kind",)


def read_labels(path: Location) -> list[Heard]:
    """Read a file of labels, .csv or .parquet.

    Its columns are ``transaction_id``, ``time``, ``status``, ``source``, and perhaps
    ``fraud_kind``; or ``transaction_id``, ``is_fraud``, ``label_time``, and perhaps ``fraud_kind``
    for final labels, which are recorded as never revised. Others are not read. Times are UTC epoch
    seconds, or ISO 8601 with a zone.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or has a wrong value; names row and column.
    """
    table = read_table(path)
    is_history = "status" in table.columns
    columns = _HISTORY if is_history else _FINAL
    for name in columns:
        if name not in table.columns:
            raise DataError(
                f"{path}: column {name!r} is missing; expected {', '.join(_HISTORY)}, or "
                f"{', '.join(_FINAL)} for final labels"
            )
    kept = [name for name in (*columns, *_OPTIONAL) if name in table.columns]
    return list(_heard(table[kept], path, is_history=is_history))


def _heard(table: pd.DataFrame, path: Location, *, is_history: bool) -> Iterator[Heard]:
    for number, values in enumerate(table.itertuples(index=False, name=None), 1):
        row = dict(zip(table.columns, values, strict=True))
        try:
            kind = _text(row.get("fraud_kind")) or None
            if is_history:
                yield Heard(
                    transaction_id=_text(row["transaction_id"]),
                    time=_time(row["time"], "time"),
                    status=_listed(row["status"], Status, "status"),
                    source=_listed(row["source"], LabelSource, "source"),
                    fraud_kind=kind,
                )
                continue
            if not _text(row["is_fraud"]):
                continue  # Not known yet.
            label = _flag(row["is_fraud"])
            yield Heard(
                transaction_id=_text(row["transaction_id"]),
                time=_time(row["label_time"], "label_time"),
                status=Status.CONFIRMED_FRAUD if label == "1" else Status.CONFIRMED_GENUINE,
                source=LabelSource.SYSTEM,
                fraud_kind=kind,
                never_revised=True,
            )
        except ValueError as error:
            raise DataError(f"{path}: row {number}: {error}; correct the file") from None


def read_table(path: Location) -> pd.DataFrame:
    """Read a small table, all columns of CSV as texts; raises DataError if it is none."""
    file = open_data(path)
    table: pd.DataFrame = file.read(dict.fromkeys(file.columns, pa.string())).to_pandas()
    return table


def _text(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and value != value) else str(value)


def _flag(value: Any) -> str:
    text = _text(value).removesuffix(".0")
    if text not in {"0", "1"}:
        raise ValueError(f"is_fraud is {text!r}, expected 0 or 1")
    return text


def _time(value: Any, name: str) -> int:
    text = _text(value).removesuffix(".0")
    try:
        return int(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{name} is {text!r}, expected UTC epoch seconds, or ISO 8601 with a zone")
    return int(moment.timestamp())


def _listed(value: Any, listed: Any, name: str) -> Any:
    text = _text(value)
    try:
        return listed(text)
    except ValueError:
        raise ValueError(
            f"{name} is {text!r}, expected one of {', '.join(each.value for each in listed)}"
        ) from None
