"""A bank's payments as many Parquet files: partitions of whole days, each written by one job.

Where partitions begin follows from the number of rows of each hour, which the spool's indices give
before any of them is written. So neither their bytes nor their number depends on the workers, and a
job that is done twice, because its worker was lost, writes the same file again.
"""

import datetime
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pyarrow.parquet as pq

from data_gen.identifiers import to_table
from data_gen.rng import IntArray
from data_gen.schema.columns import ARROW_SCHEMA
from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.writing.content import ContentDigest
from data_gen.writing.incoming import spool_arrivals
from data_gen.writing.making import kept_bank, kept_world
from data_gen.writing.manifest import file_entry
from data_gen.writing.spool import buckets, labelled_events, regroup, rows_before_hours
from data_gen.writing.table_files import ROW_GROUP_ROWS, open_writers
from data_gen.writing.tally import BankTally
from data_gen.writing.workers import Advance, Pool, Report
from fraudfed.errors import ConfigurationError

#: Rows of a partition, about: some 70 MB of a file.
PARTITION_ROWS: Final = 1_000_000
_LEAST_ROWS: Final = 1_000
_HOURS_PER_DAY: Final = 24
#: Directory of a bank's partitions, beside the files of what arrives at it.
PARTITIONS_NAME: Final = "transactions"

Written = tuple[dict[str, Any], dict[str, IntArray]]


def check_partition_rows(rows: int | None, formats: Sequence[str]) -> None:
    """Raise ConfigurationError unless partitions of about ``rows`` can be written."""
    if rows is None:
        return
    if rows < _LEAST_ROWS:
        raise ConfigurationError(
            f"partition rows: got {rows}, expected {_LEAST_ROWS} or more; give a larger number"
        )
    if tuple(formats) != ("parquet",):
        raise ConfigurationError(
            f"partitions are Parquet files: got format {' and '.join(formats)}, expected parquet; "
            "leave out --format, or the partitions"
        )


@dataclass(frozen=True)
class Partition:
    """Consecutive days of one bank.

    Parameters
    ----------
    first_day, stop_day : int
        Counted from the first day of the period.
    first_row, rows : int
        Number of its first transaction among those of the bank, and how many it has.
    first_piece : int
        Number of its first row group among those of the bank.
    """

    first_day: int
    stop_day: int
    first_row: int
    rows: int
    first_piece: int

    @property
    def pieces(self) -> int:
        """Number of its row groups."""
        return -(-self.rows // ROW_GROUP_ROWS)


def plan_partitions(rows_before: IntArray, *, rows: int) -> list[Partition]:
    """Divide a bank's days: as many as have no more than ``rows`` payments, at least one.

    Parameters
    ----------
    rows_before : ndarray of shape (n_hours + 1,), dtype=int64
        Rows of the bank before each hour of the period, which is of whole days.
    rows : int
    """
    before = rows_before[::_HOURS_PER_DAY].tolist()
    found: list[Partition] = []
    day = piece = 0
    while day < len(before) - 1:
        stop = day + 1
        while stop < len(before) - 1 and before[stop + 1] - before[day] <= rows:
            stop += 1
        found.append(Partition(day, stop, before[day], before[stop] - before[day], piece))
        day, piece = stop, piece + found[-1].pieces
    return found


@dataclass(frozen=True)
class _WritePartition:
    """Job: write one partition from the spool; returns its entry of the manifest and its counts."""

    config: WorldConfig
    bank: int
    parts: int
    partition: Partition
    spool: Path
    directory: Path
    arrivals: Path | None
    first_arrivals: int
    dictionary: tuple[str, ...]

    def __call__(self, advance: Advance) -> tuple[dict[str, Any], BankTally]:
        world, side = kept_bank(self.config, self.bank)
        target = self.directory / side.name / PARTITIONS_NAME
        target.mkdir(parents=True, exist_ok=True)
        path = target / f"{self._first_date()}.parquet"
        # A worker that was given up may still be writing the same file.
        stem = target / f".{path.stem}.{uuid4().hex}"
        tally = BankTally(len(world.shared.towns))
        number, piece = self.partition.first_row, self.partition.first_piece
        records = buckets(
            self.spool / side.name,
            self.parts,
            first_hour=self.partition.first_day * _HOURS_PER_DAY,
            stop_hour=self.partition.stop_day * _HOURS_PER_DAY,
        )
        with open_writers(stem, ARROW_SCHEMA, ("parquet",), dictionary=self.dictionary) as writers:
            for some in regroup(records, ROW_GROUP_ROWS):
                rows = labelled_events(some)
                table = to_table(side, rows.events, rows.label_time, number)
                for writer in writers.values():
                    writer.write(table)
                tally.add(side.world, rows.events)
                if self.arrivals is not None:
                    spool_arrivals(
                        side.world,
                        self.bank,
                        rows,
                        first_number=number,
                        part=self.first_arrivals + piece,
                        spool=self.arrivals,
                    )
                number, piece = number + len(some), piece + 1
                advance(len(some))
        for written in writers:
            written.replace(path)
        return {**file_entry(path, self.directory), "rows": self.partition.rows}, tally

    def _first_date(self) -> str:
        first = self.config.start_time + self.partition.first_day * DAY_SECONDS
        return datetime.datetime.fromtimestamp(first, datetime.UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True)
class _ReadBack:
    """Job: the digest of a bank's content over all its partitions, as of a single file."""

    paths: tuple[Path, ...]

    def __call__(self, advance: Advance) -> str:
        digest = ContentDigest(ARROW_SCHEMA)
        for path in self.paths:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    digest.update(file.read_row_group(group))
                    advance(0)
        return digest.hexdigest()


def write_partitions(
    config: WorldConfig,
    parts: Sequence[int],
    *,
    rows: int,
    spool: Path,
    directory: Path,
    arrivals: Path | None,
    dictionary: Sequence[str],
    pool: Pool,
    report: Report,
) -> tuple[list[Written], int]:
    """Write all banks' partitions.

    Parameters
    ----------
    config : WorldConfig
    parts : sequence of int
        Of each bank in the spool, which is emptied.
    rows : int
        Of a partition, about.
    spool, directory : Path
    arrivals : Path or None
        Spool of what the banks send each other.
    dictionary : sequence of str
        Text columns with few distinct values.
    pool : Pool
    report : callable
        Called with the number of rows written.

    Returns
    -------
    written : list of (dict, dict)
        Entry of the manifest and mixes of each bank, in their order.
    pieces : int
        Parts of the spool of arrivals.
    """
    shared = kept_world(config).shared
    names = shared.banks.names
    jobs: list[_WritePartition] = []
    pieces = 0
    for bank, name in enumerate(names):
        before = rows_before_hours(spool / name, parts[bank])
        plan = plan_partitions(before, rows=rows)
        jobs += [
            _WritePartition(
                config,
                bank,
                parts[bank],
                partition,
                spool,
                directory,
                arrivals,
                pieces,
                tuple(dictionary),
            )
            for partition in plan
        ]
        pieces += sum(partition.pieces for partition in plan)
    results = pool.run(jobs, report)
    files: list[list[dict[str, Any]]] = [[] for _ in names]
    tallies = [BankTally(len(shared.towns)) for _ in names]
    for job, (entry, tally) in zip(jobs, results, strict=True):
        files[job.bank].append(entry)
        tallies[job.bank].merge(tally)
    for name in names:
        shutil.rmtree(spool / name)
    reading = [_ReadBack(tuple(directory / file["path"] for file in each)) for each in files]
    digests = pool.run(reading, lambda _done: None)
    written: list[Written] = [
        (
            {
                "name": name,
                "customers": int(shared.banks.customers[bank]),
                **tallies[bank].summary(),
                "content_sha256": digests[bank],
                "files": files[bank],
            },
            tallies[bank].mixes,
        )
        for bank, name in enumerate(names)
    ]
    return written, pieces
