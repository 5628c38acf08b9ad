"""Files of what arrives at a bank, and of the accounts of its customers that are mules'.

While a bank's own file is written, what it sends to each bank is put in a spool; when all are
written, each bank's arrivals are read back in the order of their time.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data_gen.entities.world_parts import BankSide, SharedWorld
from data_gen.events import LabelledEvents
from data_gen.identifiers import incoming_table, mule_table
from data_gen.rng import IntArray, Part, stream
from data_gen.schema.incoming import INCOMING_SCHEMA, MULE_SCHEMA
from data_gen.settings.config import WorldConfig
from data_gen.world.incoming import Arrivals, arrivals_at, told_times
from data_gen.writing.content import ContentDigest
from data_gen.writing.manifest import file_entry
from data_gen.writing.spool import Records, buckets, regroup, spool_columns
from data_gen.writing.table_files import ROW_GROUP_ROWS, open_writers
from data_gen.writing.workers import Advance

_DICTIONARY_COLUMNS: Final = ("customer_id", "merchant_id", "payee_id", "payer_id", "fraud_kind")
_NEVER: Final = np.iinfo(np.int64).max


def spool_arrivals(
    world: SharedWorld,
    sender: int,
    rows: LabelledEvents,
    *,
    first_number: int,
    part: int,
    spool: Path,
) -> None:
    """Store what some rows of a sender bring to each bank, as one part of each bank's arrivals."""
    config = world.config
    for receiver, name in enumerate(world.banks.names):
        arrivals = arrivals_at(world, receiver, sender, rows, first_number)
        spool_columns(
            spool / name,
            part,
            arrivals.columns(),
            start_time=config.start_time,
            end_time=config.end_time,
        )


def write_incoming(
    side: BankSide,
    *,
    parts: int,
    spool: Path,
    directory: Path,
    formats: Sequence[str],
    advance: Advance,
) -> dict[str, Any]:
    """Write one bank's arrivals and its mules' accounts; return their entry for the manifest.

    Parameters
    ----------
    side : BankSide
    parts : int
        Parts in the spool, the same for every bank.
    spool : Path
        With a directory for each bank.
    directory : Path
        Of the data set.
    formats : sequence of str
    advance : callable
        Called with 0 after each piece.
    """
    config = side.world.config
    schema = INCOMING_SCHEMA.arrow
    draws = stream(config.seed, Part.INCOMING, side.bank)
    digest, mules = ContentDigest(schema), _Mules()
    rows = fraud_rows = 0
    stem = directory / side.name / "incoming"
    pieces = regroup(buckets(spool / side.name, parts), ROW_GROUP_ROWS)
    with open_writers(stem, schema, formats, dictionary=_DICTIONARY_COLUMNS) as writers:
        for records in pieces:
            arrivals = _arrivals(records)
            told = told_times(arrivals, side.bank, _mean_days(config), draws)
            table = incoming_table(side, arrivals.columns(), told)
            for writer in writers.values():
                writer.write(table)
            digest.update(table)
            mules.add(arrivals, told)
            rows += len(arrivals)
            fraud_rows += int(arrivals.is_fraud.sum())
            advance(0)
    truth = mules.table(side)
    truth_stem = directory / side.name / "mules"
    with open_writers(truth_stem, MULE_SCHEMA, formats, dictionary=()) as truth_writers:
        for writer in truth_writers.values():
            writer.write(truth)
    return {
        "rows": rows,
        "fraud_rows": fraud_rows,
        "mule_accounts": truth.num_rows,
        "content_sha256": digest.hexdigest(),
        "files": [file_entry(path, directory) for path in writers],
        "truth_files": [file_entry(path, directory) for path in truth_writers],
    }


def _mean_days(config: WorldConfig) -> float:
    if config.incoming_delay_days is None:
        raise ValueError("this world has no files of what arrives")
    return config.incoming_delay_days


def _arrivals(records: Records) -> Arrivals:
    columns: dict[str, Any] = {
        name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()
    }
    return Arrivals(**columns)


class _Mules:
    """The accounts that stolen money reached, added up piece by piece."""

    def __init__(self) -> None:
        # First arrival, first report, payments.
        self._found: dict[int, tuple[int, int, int]] = {}

    def add(self, arrivals: Arrivals, told: IntArray) -> None:
        for row in np.flatnonzero(arrivals.is_stolen()).tolist():
            payee = int(arrivals.payee[row])
            first, report, count = self._found.get(payee, (_NEVER, _NEVER, 0))
            if arrivals.is_fraud[row] == 1:
                report = min(report, int(told[row]))
            self._found[payee] = min(first, int(arrivals.time[row])), report, count + 1

    def table(self, side: BankSide) -> pa.Table:
        payees = np.array(sorted(self._found), dtype=np.int64)
        facts = np.array([self._found[payee] for payee in payees.tolist()], dtype=np.int64)
        first, report, count = facts.reshape(-1, 3).T
        return mule_table(
            side,
            payees,
            first_arrival=first,
            first_report=np.where(report == _NEVER, -1, report),
            count=count,
        )
