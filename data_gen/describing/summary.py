"""Count what a data set of transactions holds, in one pass over its files, piece by piece."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_gen.checking.table_reader import columns_of, read_tables
from data_gen.clock import weekday_of
from data_gen.events import CHANNEL_NAMES, KIND_NAMES
from data_gen.rng import FloatArray, IntArray
from data_gen.schema.columns import ARROW_SCHEMA
from data_gen.settings.config import DAY_SECONDS
from fraudfed.errors import DataError

# Minor units, from 1 cent to a million: ten bins for each power of ten.
AMOUNT_EDGES: Final[FloatArray] = 10.0 ** (np.arange(81) / 10.0)
# Days, from a minute to 1000 days: ten bins for each power of ten.
DELAY_EDGES: Final[FloatArray] = 10.0 ** (np.arange(-31, 31) / 10.0)
_USED: Final = pa.schema([f for f in ARROW_SCHEMA if f.name != "transaction_id"])


@dataclass(frozen=True)
class Summary:
    """Counts of rows over all banks, int64; filled by ``summarise``.

    Parameters
    ----------
    banks : tuple of str
    n_days : int
    """

    banks: tuple[str, ...]
    n_days: int
    #: Rows by channel, weekday (Monday first) and hour of the day: shape (n_channels, 7, 24).
    hours: IntArray = field(init=False)
    #: Rows by bank and day of the period: shape (n_banks, n_days).
    days: IntArray = field(init=False)
    #: Rows by channel and bin of ``AMOUNT_EDGES``: shape (n_channels, n_edges + 1).
    amounts: IntArray = field(init=False)
    #: Reported fraud by true kind and bin of ``DELAY_EDGES``: shape (n_kinds, n_edges + 1).
    delays: IntArray = field(init=False)
    #: Rows without a value by column and channel: shape (n_columns, n_channels).
    missing: IntArray = field(init=False)
    #: Rows by channel: shape (n_channels,).
    channels: IntArray = field(init=False)

    def __post_init__(self) -> None:
        channels, kinds = len(CHANNEL_NAMES), len(KIND_NAMES)
        for name, shape in {
            "hours": (channels, 7, 24),
            "days": (len(self.banks), self.n_days),
            "amounts": (channels, len(AMOUNT_EDGES) + 1),
            "delays": (kinds, len(DELAY_EDGES) + 1),
            "missing": (len(_USED.names), channels),
            "channels": (channels,),
        }.items():
            object.__setattr__(self, name, np.zeros(shape, dtype=np.int64))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of ``missing``."""
        return tuple(_USED.names)

    def add(self, bank: int, table: pa.Table, start_time: int) -> None:
        """Add some rows of a bank."""
        channel = _codes(table["channel"], CHANNEL_NAMES)
        time = table["event_time"].to_numpy()
        day = time // DAY_SECONDS
        weekday, hour = weekday_of(day), time % DAY_SECONDS // 3600
        _count(self.hours, channel, weekday, hour)
        since = np.clip(day - start_time // DAY_SECONDS, 0, self.n_days - 1)
        _count(self.days, np.full(len(day), bank), since)
        amount = table["amount_minor"].to_numpy()
        _count(self.amounts, channel, np.searchsorted(AMOUNT_EDGES, amount, side="right"))
        _count(self.channels, channel)
        kind = _codes(table["fraud_kind"], KIND_NAMES)
        reported = (kind >= 0) & (table["is_fraud"].to_numpy() == 1)
        delay = (table["label_time"].to_numpy() - time)[reported] / DAY_SECONDS
        _count(self.delays, kind[reported], np.searchsorted(DELAY_EDGES, delay, side="right"))
        for column, name in enumerate(_USED.names):
            if table[name].null_count:
                absent = table[name].is_null().to_numpy()
                self.missing[column] += np.bincount(channel[absent], minlength=len(CHANNEL_NAMES))


def summarise(directory: Path, manifest: Mapping[str, Any]) -> Summary:
    """Read all files of a data set of transactions, a piece at a time.

    Raises
    ------
    DataError
        A file is missing or damaged, or holds values that are not of the published schema.
    """
    banks = tuple(bank["name"] for bank in manifest["banks"])
    start = int(manifest["start_time"])
    summary = Summary(banks=banks, n_days=(int(manifest["end_time"]) - start) // DAY_SECONDS)
    for number, bank in enumerate(manifest["banks"]):
        for path in data_files(directory, bank):
            absent = sorted(set(_USED.names) - set(columns_of(path)))
            if absent:
                raise DataError(f"{path}: has no column {absent[0]!r}; run 'data-gen validate'")
            for table in read_tables(path, _USED):
                summary.add(number, table, start)
    return summary


def data_files(directory: Path, bank: Mapping[str, Any]) -> list[Path]:
    """Return the files with a bank's rows: those in Parquet if the bank has both formats."""
    paths = [directory / str(file["path"]) for file in bank["files"]]
    return [path for path in paths if path.suffix == paths[0].suffix]


def _codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> IntArray:
    """Return the index of each value among ``names``, -1 where there is none."""
    indices = pc.index_in(column, value_set=pa.array(names))
    codes: IntArray = pc.fill_null(indices, -1).to_numpy().astype(np.int64)
    return codes


def _count(table: IntArray, *indices: IntArray) -> None:
    """Add 1 to an entry of ``table`` for each row of the indices."""
    flat = np.ravel_multi_index(indices, table.shape)
    table += np.bincount(flat, minlength=table.size).reshape(table.shape)
