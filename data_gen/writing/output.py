"""Write a world to a directory: streamed, whole or not at all, same bytes for the same seed.

Two phases or three, each divided among worker processes::

    making    parts of banks (blocks of customers, kinds of fraud) -> events -> spool on disk
    writing   spool -> buckets of time, sorted -> row groups of a bank's files, counts, digests

With ``incoming_delay_days`` there is a third: what the banks send each other goes to a spool of its
own while it is written, and from there to the receiving banks' files.

A process holds one part or one bucket, so memory does not grow with the number of rows.
"""

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from data_gen.categories import CATEGORY_NAMES
from data_gen.entities.world_parts import BankSide, make_bank_side
from data_gen.identifiers import to_table
from data_gen.rng import IntArray
from data_gen.schema.columns import ARROW_SCHEMA
from data_gen.schema.rules import TRANSACTIONS
from data_gen.schema.transactions import TRANSACTION_SCHEMA
from data_gen.settings.config import WorldConfig
from data_gen.world.making import World, bank_parts, make_part, make_world
from data_gen.writing.content import ContentDigest
from data_gen.writing.incoming import spool_arrivals, write_incoming
from data_gen.writing.manifest import MANIFEST_NAME, file_entry, make_manifest, read_manifest
from data_gen.writing.spool import buckets, labelled_events, regroup, spool_part
from data_gen.writing.table_files import ROW_GROUP_ROWS, check_formats, open_writers
from data_gen.writing.tally import BankTally, combined_summary, distances
from data_gen.writing.target import new_data_set
from data_gen.writing.workers import Advance, Workers

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
    pool = Workers(workers)
    # The workers have ended when the directory is moved into place, or removed.
    with new_data_set(out, force=force) as partial, pool:
        try:
            banks = _write_banks(config, partial, tuple(formats), pool, on_progress)
        finally:
            _forget()
        (partial / MANIFEST_NAME).write_bytes(_manifest(config, banks, preset))
    return read_manifest(out)


@dataclass(frozen=True)
class _MakePart:
    """Job: make one part of a bank and store it in the spool; returns its rows."""

    config: WorldConfig
    bank: int
    part: int
    spool: Path

    def __call__(self, advance: Advance) -> int:
        world, side = _bank(self.config, self.bank)
        rows = spool_part(
            self.spool / side.name,
            self.part,
            make_part(side, world, self.part),
            start_time=self.config.start_time,
            end_time=self.config.end_time,
        )
        advance(1)
        return rows


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
        _, side = _bank(self.config, self.bank)
        spooled = self.spool / side.name
        (self.directory / side.name).mkdir()
        tally = BankTally(side.world)
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
                tally.add(rows.events)
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
        _, side = _bank(self.config, self.bank)
        entry = write_incoming(
            side,
            parts=self.parts,
            spool=self.arrivals,
            directory=self.directory,
            formats=self.formats,
            advance=advance,
        )
        shutil.rmtree(self.arrivals / side.name)
        return entry


def _write_banks(
    config: WorldConfig,
    directory: Path,
    formats: tuple[str, ...],
    pool: Workers,
    on_progress: OnProgress | None,
) -> list[tuple[dict[str, Any], dict[str, IntArray]]]:
    """Write all banks and return their manifest entries and mixes in the order of the banks."""
    spool = directory / _SPOOL_NAME
    world = _world(config)
    parts = [bank_parts(world, bank) for bank in range(config.banks)]
    making = [
        _MakePart(config, bank, part, spool)
        for bank in range(config.banks)
        for part in range(parts[bank])
    ]
    rows = pool.run(making, _reporter(on_progress, "making", len(making)))
    arrivals = None if config.incoming_delay_days is None else spool / _ARRIVALS_NAME
    # Where the pieces of each bank begin among those of all banks.
    first_pieces = [0]
    for bank in range(config.banks):
        of_bank = sum(count for job, count in zip(making, rows, strict=True) if job.bank == bank)
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
    written = pool.run(writing, _reporter(on_progress, "writing", sum(rows)))
    if arrivals is not None:
        receiving = [
            _WriteIncoming(config, bank, first_pieces[-1], arrivals, directory, formats)
            for bank in range(config.banks)
        ]
        incoming = pool.run(receiving, lambda _done: None)
        written = [
            ({**entry, "incoming": more}, mixes)
            for (entry, mixes), more in zip(written, incoming, strict=True)
        ]
        arrivals.rmdir()
    spool.rmdir()
    return written


def _reporter(on_progress: OnProgress | None, phase: str, total: int) -> Callable[[int], None]:
    def report(done: int) -> None:
        if on_progress is not None:
            on_progress(Progress(phase, done, total))

    return report


# Making the shared world takes milliseconds, less than sending it. A bank's customers take longer,
# and the jobs of one bank follow each other, so each process keeps the customers of its last bank.
@functools.lru_cache(maxsize=1)
def _world(config: WorldConfig) -> World:
    return make_world(config)


@functools.lru_cache(maxsize=1)
def _bank(config: WorldConfig, bank: int) -> tuple[World, BankSide]:
    world = _world(config)
    return world, make_bank_side(world.shared, bank)


def _forget() -> None:
    _bank.cache_clear()
    _world.cache_clear()


def _manifest(
    config: WorldConfig,
    banks: Sequence[tuple[dict[str, Any], dict[str, IntArray]]],
    preset: str | None,
) -> bytes:
    entries = [entry for entry, _ in banks]
    return make_manifest(
        kind=TRANSACTIONS,
        preset=preset,
        config=config.as_dict(),
        facts={
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
