"""Fill an empty store with the payments of a file: whole columns at a time, not one by one.

Law: the store is what it would be if every payment had been observed in the order of time, and
every fraud reported at its ``label_time``. Memory does not grow with the file: rows are read in
pieces, divided by the first bits of their keys, and each division is packed by itself. The
divisions lie in a directory of the bank until then, about 150 bytes a payment.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from bank_node.data.pieces import Read, load_pieces
from bank_node.serving.store.arrival import content_of
from bank_node.serving.store.filling.histories import parts_of
from bank_node.serving.store.filling.records import Recorder
from bank_node.serving.store.filling.spill import KEY, Spill, divisions_for, grouped
from bank_node.serving.store.packed import PackedStore
from bank_node.serving.store.shelf import Batch
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.durable_file import PRIVATE_DIRECTORY
from fraudfed.errors import DataError, StateError, UnavailableError
from fraudfed.features.currency import in_currency
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.payment import payments_of
from fraudfed.reading.location import Location, open_data
from fraudfed.reading.partitioned import PartitionedFile
from fraudfed.reading.place import AnyPath, open_bytes
from fraudfed.wire.messages import Currency

#: Rows that are read at once, and about as many are packed at once.
PIECE_ROWS = 400_000
_BLOCKS, _BLOCK_BYTES = 64, 64 << 10

#: Told of what is done: a word for it, and how many payments so far.
Progress = Callable[[str, int], None]

_NAMED = np.dtype([("key", KEY), ("row", "<u8")])


def file_digest(path: Location, mapping: Mapping | None) -> str:
    """Return a digest by which data and their mapping are known again, without reading all of them.

    It covers the size and 64 blocks of each file, the first and the last among them: the end of a
    Parquet file describes all of it.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    digest = hashlib.sha256(b"" if mapping is None else mapping.model_dump_json().encode())
    try:
        for each in _files(path):
            with open_bytes(each) as file:
                size = file.seek(0, os.SEEK_END)
                digest.update(b"\0" + str(size).encode())
                for number in range(_BLOCKS):
                    file.seek(max(0, size - _BLOCK_BYTES) * number // (_BLOCKS - 1))
                    digest.update(file.read(_BLOCK_BYTES))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}), expected a file of transactions; "
            "check path, owner and mode"
        ) from error
    return digest.hexdigest()


def _files(path: Location) -> list[AnyPath]:
    if isinstance(path, Path) and path.is_file():
        return [path]
    file = open_data(path)
    return [file.path] if not isinstance(file, PartitionedFile) else [p.path for p in file.files]


def warm_from_file(
    store: PackedStore,
    path: Location,
    *,
    work: Path,
    mapping: Mapping | None = None,
    currency: Currency | None = None,
    progress: Progress = lambda _what, _count: None,
) -> int | None:
    """Fill a store from a file of transactions, CSV or Parquet, with labels or without.

    Parameters
    ----------
    store : PackedStore
        In which nothing was observed, or which was filled from the same file.
    path : Location
    work : Path
        Directory that is made for what does not fit memory, and removed.
    mapping : Mapping or None
        How the file's columns become those of transactions; None: they are those.
    currency : Currency or None
        The contract's.
    progress : callable

    Returns
    -------
    int or None
        How many payments count for the recipe; None if the store was filled from this file before.

    Raises
    ------
    DataError
        If the file cannot be read, rows are not what they should be, a time is of 2106 or later,
        an identifier occurs twice, or an amount has no rate; the store stays empty.
    StateError
        If the store holds other payments, or ``work`` cannot be used.
    UnavailableError
        If the store does not take them: then it is filled anew.
    """
    digest = file_digest(path, mapping)
    if store.warmed_from == digest:
        return None
    pieces = load_pieces(path, mapping, rows=PIECE_ROWS)
    count = _fill(store, pieces.read, currency, work, pieces.n_rows_about, str(path), progress)
    store.shelf.write(Batch(facts={"filling": "no", "warmed_from": digest}))
    store.warmed_from = digest
    return count


def warm(
    store: PackedStore, transactions: pd.DataFrame, *, work: Path, currency: Currency | None = None
) -> int:
    """Fill a store from a table that ``check_transactions`` accepts; else as ``warm_from_file``."""

    def once(only: Collection[int] | None = None) -> Iterator[pd.DataFrame]:
        if only is None or only:
            yield transactions

    count = _fill(store, once, currency, work, len(transactions), "transactions", _ignore)
    store.shelf.write(Batch(facts={"filling": "no"}))
    return count


def _ignore(_what: str, _count: int) -> None:
    pass


def _fill(
    store: PackedStore,
    read: Read,
    currency: Currency | None,
    work: Path,
    n_rows_about: int,
    source: str,
    progress: Progress,
) -> int:
    if store.latest or store.position:
        raise StateError(
            "feature store: holds payments, expected an empty one to fill; name a new directory, "
            "or leave --warm out"
        )
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=PRIVATE_DIRECTORY)
        try:
            spill = Spill(work, divisions_for(n_rows_about, at_once=PIECE_ROWS))
            recorder, latest = _record(store, read, currency, spill, source, progress)
            _write(store, recorder, progress)
            _remember(store, read, latest)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UnavailableError(
            f"{work}: cannot be written ({error.strerror or error}), expected room for about 150 "
            "bytes a payment; make room, then start again"
        ) from error
    return recorder.n_payments


def _record(
    store: PackedStore,
    read: Read,
    currency: Currency | None,
    spill: Spill,
    source: str,
    progress: Progress,
) -> tuple[Recorder, list[int]]:
    """Read everything once; return the records, and the latest second of each piece."""
    recorder, latest, n_rows = Recorder(store.builder, spill), [], 0
    for table in read():
        if not table.empty:
            recorder.add(in_currency(table, currency))
        latest.append(int(table["event_time"].max()) if len(table) else 0)
        spill.add("named", _named(table["transaction_id"], n_rows))
        n_rows += len(table)
        progress("read", n_rows)
    for division in range(spill.divisions):
        named = spill.take("named", division, _NAMED)
        codes, names = grouped(named["key"])
        if names.size < codes.size:
            order = np.argsort(codes, kind="stable")
            at = int(np.flatnonzero(np.diff(codes[order]) == 0)[0])
            rows = (int(named["row"][order[at + n]]) + 1 for n in (0, 1))
            raise DataError(
                f"{source}: rows {' and '.join(f'{row:,}' for row in rows)} have one "
                "transaction_id, expected each once; leave the repeated one out"
            )
    return recorder, latest


def _named(names: "pd.Series[str]", first: int) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    """Return 128 bits of each identifier (SipHash-2-4 under two keys), and its row."""
    found = np.empty(len(names), _NAMED)
    halves = np.empty((len(names), 2), np.uint64)
    values = names.to_numpy(dtype=object)
    for half, key in enumerate(("fraudfed warm, 1", "fraudfed warm, 2")):
        halves[:, half] = pd.util.hash_array(values, hash_key=key, categorize=False)
    found["key"] = np.ascontiguousarray(halves).view(KEY)[:, 0]
    found["row"] = np.arange(first, first + len(names))
    return found


def _write(store: PackedStore, recorder: Recorder, progress: Progress) -> None:
    store.builder.latest = recorder.latest
    # Until all is there nothing may open it.
    store.shelf.write(Batch(facts={"filling": "yes"}))
    for division in range(recorder.spill.divisions):
        # In the order of keys pages are filled one after another.
        found = sorted(parts_of(recorder, division), key=lambda item: item[0])
        batch = Batch()
        for key, parts in found:
            batch.parts += [(key, part, data) for part, data in parts.items()]
            if len(batch.parts) >= store.shelf.parts_at_once:
                store.shelf.write(batch)
                batch = Batch()
        store.shelf.write(batch)
        progress("written", recorder.n_payments * (division + 1) // recorder.spill.divisions)


def _remember(store: PackedStore, read: Read, latest: list[int]) -> None:
    """Write down the identifiers of payments that could still come again."""
    builder = store.builder
    late = {number for number, time in enumerate(latest) if time >= builder.oldest}
    for table in read(late):
        batch = Batch()
        recent = (table["event_time"] >= builder.oldest).to_numpy(dtype=np.bool_)
        for payment in payments_of(table[recent]):
            if builder.recipe == RECIPE and payment.is_inbound:
                continue
            key = builder.key_of("transaction", payment.transaction_id)
            day = payment.event_time // SECONDS_PER_DAY
            batch.payments.append((day, key, content_of(payment, key=builder.key)))
            if len(batch.payments) >= store.shelf.parts_at_once:
                store.shelf.write(batch)
                batch = Batch()
        store.shelf.write(batch)
    store.shelf.write(Batch(facts={"latest": str(builder.latest)}))
