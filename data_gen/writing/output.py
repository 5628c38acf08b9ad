"""Write a world to a directory: streamed, whole or not at all, same bytes for the same seed.

Two phases or three, each divided among worker processes, or among the workers of a Dask cluster::

    making    parts of banks (blocks of customers, kinds of fraud) -> events -> spool on disk
    writing   spool -> buckets of time, sorted -> row groups of a bank's files, counts, digests

A bank's payments are one file of each format, or partitions of whole days (``partitions``).

With ``incoming_delay_days`` there is a third: what the banks send each other goes to a spool of its
own while it is written, and from there to the receiving banks' files.

A process holds one part or one bucket, so memory does not grow with the number of rows.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from data_gen.categories import CATEGORY_NAMES
from data_gen.identifiers import to_table
from data_gen.rng import IntArray
from data_gen.schema.columns import ARROW_SCHEMA
from data_gen.schema.rules import TRANSACTIONS
from data_gen.schema.transactions import TRANSACTION_SCHEMA
from data_gen.settings.config import WorldConfig
from data_gen.world.making import bank_parts
from data_gen.writing.content import ContentDigest
from data_gen.writing.incoming import spool_arrivals, write_incoming
from data_gen.writing.making import MakePart, forget_kept, kept_bank, kept_world
from data_gen.writing.manifest import MANIFEST_NAME, file_entry, make_manifest, read_manifest
from data_gen.writing.partitions import Written, check_partition_rows, write_partitions
from data_gen.writing.spool import buckets, labelled_events, regroup
from data_gen.writing.table_files import ROW_GROUP_ROWS, check_formats, open_writers
from data_gen.writing.tally import BankTally, combined_summary, distances
from data_gen.writing.target import new_data_set
from data_gen.writing.workers import Advance, Pool, Report, Workers

_SPOOL_NAME: Final = ".spool"
# Beside the spools of the banks, whose names begin with a letter.
_ARRIVALS_NAME: Final = ".incoming"
_DICTIONARY_COLUMNS: Final = (
    "customer_id",
    "merchant_id",
    "terminal_id",
    "payee_id",
    "channel",
    "merchant_category",
    "fraud_kind",
)


@dataclass(frozen=True)
class Progress:
    """The progress of a call of ``write``.

    Parameters
    ----------
    phase : str
        ``making`` (counted in parts of banks) or ``writing`` (counted in rows).
    done, total : int
    """

    phase: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def write(
    config: WorldConfig,
    out: Path,
    *,
    formats: Sequence[str] = ("parquet",),
    workers: int = 1,
    pool: Pool | None = None,
    partition_rows: int | None = None,
    force: bool = False,
    preset: str | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Generate a world and write it to ``out``.

    Parameters
    ----------
    config : WorldConfig
    out : Path
        Created by this call. It may exist if it is empty, or with ``force`` if this program wrote
        it.
    formats : sequence of str
        ``"parquet"``, ``"csv"`` or both.
    workers : int
        Number of processes; the output does not depend on it.
    pool : Pool or None
        Where the work is done instead; nor does it depend on that.
    partition_rows : int or None
        Write each bank's payments as Parquet files of whole days with about so many rows; None:
        one file of each format.
    force : bool
        Replace a data set that is already there.
    preset : str, optional
        Name of the preset the configuration came from, for the manifest.
    on_progress : callable, optional
        Called with a ``Progress`` during the work.

    Returns
    -------
    manifest : dict
        As written to ``manifest.json``.

    Raises
    ------
    ConfigurationError
        Unknown format, or ``workers`` out of range.
    StateError
        ``out`` is in use, is not writable or may not be replaced, or a worker was killed. Nothing
        is left behind.
    """
    check_formats(formats)
    check_partition_rows(partition_rows, formats)
    pool = Workers(workers) if pool is None else pool
    # The workers have ended when the directory is moved into place, or removed.
    with new_data_set(out, force=force) as partial, pool:
        pool.prepare(partial)
        try:
            banks = _write_banks(config, partial, tuple(formats), pool, partition_rows, on_progress)
        finally:
            forget_kept()
        (partial / MANIFEST_NAME).write_bytes(_manifest(config, banks, preset, partition_rows))
    return read_manifest(out)


@dataclass(frozen=True)
class _WriteBank:
    """Job: write one bank's files from the spool; returns its manifest entry and its mixes."""

    config: WorldConfig
    bank: int
    parts: int
    spool: Path
    directory: Path
    formats: tuple[str, ...]
    arrivals: Path | None
    first_arrivals: int

    def __call__(self, advance: Advance) -> tuple[dict[str, Any], dict[str, IntArray]]:
        _, side = kept_bank(self.config, self.bank)
        spooled = self.spool / side.name
        (self.directory / side.name).mkdir()
        tally = BankTally(len(side.world.towns))
        digest = ContentDigest(ARROW_SCHEMA)
        stem = self.directory / side.name / "transactions"
        number = 0
        with open_writers(
            stem, ARROW_SCHEMA, self.formats, dictionary=_DICTIONARY_COLUMNS
        ) as writers:
            for records in regroup(buckets(spooled, self.parts), ROW_GROUP_ROWS):
                rows = labelled_events(records)
                table = to_table(side, rows.events, rows.label_time, number)
                for writer in writers.values():
                    writer.write(table)
                digest.update(table)
                tally.add(side.world, rows.events)
                if self.arrivals is not None:
                    spool_arrivals(
                        side.world,
                        self.bank,
                        rows,
                        first_number=number,
                        part=self.first_arrivals + number // ROW_GROUP_ROWS,
                        spool=self.arrivals,
                    )
                number += len(records)
                advance(len(records))
        shutil.rmtree(spooled)
        entry = {
            "name": side.name,
            "customers": len(side.customers),
            **tally.summary(),
            "content_sha256": digest.hexdigest(),
            "files": [file_entry(path, self.directory) for path in writers],
        }
        return entry, tally.mixes


@dataclass(frozen=True)
class _WriteIncoming:
    """Job: write what arrives at one bank; returns its part of the manifest entry."""

    config: WorldConfig
    bank: int
    parts: int
    arrivals: Path
    directory: Path
    formats: tuple[str, ...]

    def __call__(self, advance: Advance) -> dict[str, Any]:
        _, side = kept_bank(self.config, self.bank)
        return write_incoming(
            side,
            parts=self.parts,
            spool=self.arrivals,
            directory=self.directory,
            formats=self.formats,
            advance=advance,
        )


def _write_banks(
    config: WorldConfig,
    directory: Path,
    formats: tuple[str, ...],
    pool: Pool,
    partition_rows: int | None,
    on_progress: OnProgress | None,
) -> list[Written]:
    """Write all banks and return their manifest entries and mixes in the order of the banks."""
    spool = directory / _SPOOL_NAME
    world = kept_world(config)
    parts = [bank_parts(world, bank) for bank in range(config.banks)]
    making = [
        MakePart(config, bank, part, spool)
        for bank in range(config.banks)
        for part in range(parts[bank])
    ]
    rows = pool.run(making, _reporter(on_progress, "making", len(making)))
    arrivals = None if config.incoming_delay_days is None else spool / _ARRIVALS_NAME
    report = _reporter(on_progress, "writing", sum(rows))
    if partition_rows is None:
        of_bank = [0] * config.banks
        for job, count in zip(making, rows, strict=True):
            of_bank[job.bank] += count
        written, pieces = _write_whole(
            config, parts, of_bank, spool, directory, formats, arrivals, pool, report
        )
    else:
        written, pieces = write_partitions(
            config,
            parts,
            rows=partition_rows,
            spool=spool,
            directory=directory,
            arrivals=arrivals,
            dictionary=_DICTIONARY_COLUMNS,
            pool=pool,
            report=report,
        )
    if arrivals is not None:
        receiving = [
            _WriteIncoming(config, bank, pieces, arrivals, directory, formats)
            for bank in range(config.banks)
        ]
        incoming = pool.run(receiving, lambda _done: None)
        written = [
            ({**entry, "incoming": more}, mixes)
            for (entry, mixes), more in zip(written, incoming, strict=True)
        ]
    shutil.rmtree(spool)
    return written


def _write_whole(
    config: WorldConfig,
    parts: Sequence[int],
    rows: Sequence[int],
    spool: Path,
    directory: Path,
    formats: tuple[str, ...],
    arrivals: Path | None,
    pool: Pool,
    report: Report,
) -> tuple[list[Written], int]:
    """Write a file of each format per bank; return as ``write_partitions`` does."""
    # Where the pieces of each bank begin among those of all banks.
    first_pieces = [0]
    for of_bank in rows:
        first_pieces.append(first_pieces[-1] - (-of_bank // ROW_GROUP_ROWS))
    # The largest bank comes first, so the longest job begins first.
    writing = [
        _WriteBank(
            config,
            bank,
            parts[bank],
            spool,
            directory,
            formats,
            arrivals,
            first_pieces[bank],
        )
        for bank in range(config.banks)
    ]
    return pool.run(writing, report), first_pieces[-1]


def _reporter(on_progress: OnProgress | None, phase: str, total: int) -> Callable[[int], None]:
    def report(done: int) -> None:
        if on_progress is not None:
            on_progress(Progress(phase, done, total))

    return report


def _manifest(
    config: WorldConfig,
    banks: Sequence[Written],
    preset: str | None,
    partition_rows: int | None,
) -> bytes:
    entries = [entry for entry, _ in banks]
    return make_manifest(
        kind=TRANSACTIONS,
        preset=preset,
        config=config.as_dict(),
        facts={
            **({} if partition_rows is None else {"partition_rows": partition_rows}),
            "start_time": config.start_time,
            "end_time": config.end_time,
            "split_time": config.split_time,
            "label_horizon_days": config.clean_delay_days,
            **combined_summary(entries),
            "bank_distance": distances([mixes for _, mixes in banks]),
            "merchant_categories": list(CATEGORY_NAMES),
        },
        columns=TRANSACTION_SCHEMA.as_dict()["columns"],
        banks=entries,
    )
