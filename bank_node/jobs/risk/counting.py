"""What this bank enters in a risk run, counted in memory, piece by piece, or on a cluster.

Law: the entries are the same in the same order wherever the payments are counted; what is drawn of
a run with privacy is of the same distribution.
"""

import logging
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bank_node.data.contract import load_transactions, open_transactions
from bank_node.data.looks.look import Reading
from bank_node.data.looks.pieces import buckets_of, check_problems
from bank_node.data.spread_payments import can_read_parts
from bank_node.data.streamed import Bounded, bounded_transactions
from bank_node.run.context import RunOptions
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk.counting import Counted, RiskRows, count_rows
from fraudfed.features.shared_risk.divided import Division
from fraudfed.features.shared_risk.entries import Correction
from fraudfed.intake.spill import SpilledTable
from fraudfed.reading.file import DataFile
from fraudfed.wire.messages import RiskSpec

_log = logging.getLogger(__name__)

#: Bits of what a draw begins with: nobody can guess which payments of a customer count.
_SECRET_BITS = 256


@dataclass(frozen=True, eq=False)
class CountedPayments:
    """What all payments of a bank say, and which of it may be entered.

    Attributes
    ----------
    n_rows : int
        Payments, of either direction.
    first_day : int
        Of them all, days since 1970-01-01 UTC.
    counted : Counted
        What is entered.
    unbounded : Counted
        With privacy: what there is, which no draw has chosen from; else the same.
    """

    n_rows: int
    first_day: int
    counted: Counted
    unbounded: Counted


def count_payments(
    options: RunOptions, spec: RiskSpec, *, corrections: Sequence[Correction]
) -> CountedPayments:
    """Read, check and count a bank's payments.

    Parameters
    ----------
    options : RunOptions
        Say where the payments are, and where they are counted.
    spec : RiskSpec
    corrections : sequence of Correction
        As for ``risk_entries``.

    Raises
    ------
    DataError
        If the payments do not meet the schema of transactions.
    StateError
        If there is no room on disk for those that do not fit into memory.
    ClusterError
        If a cluster that was asked for has gone.
    """
    file, mapping = open_transactions(options.data, options.mapping), options.mapping
    if options.cluster is not None:
        if can_read_parts(options.data, file, mapping):
            # Only for those that use a cluster.
            from bank_node.jobs.risk.spread import count_on_workers

            return count_on_workers(
                options.cluster, file, mapping, spec, corrections=corrections, secret=_secret
            )
        _log.warning(
            "%s: these rows are read and worked on in this program, the workers cannot", file.name
        )
    bounded = None
    if options.memory_limit is not None:
        bounded = bounded_transactions(
            file, memory_limit=options.memory_limit, directory=Path(tempfile.gettempdir())
        )
    if bounded is not None:
        return _in_pieces(file, mapping, spec, bounded, corrections=corrections)
    transactions = load_transactions(options.data, mapping=mapping)
    rows = RiskRows.of(transactions, spec, corrections=corrections)
    unbounded = counted = count_rows(rows, spec)
    if spec.privacy is not None:
        counted = count_rows(rows, spec, draw=np.random.default_rng(_secret()))
    return CountedPayments(len(transactions), first_day(transactions), counted, unbounded)


def _in_pieces(
    file: DataFile,
    mapping: Mapping | None,
    spec: RiskSpec,
    bounded: Bounded,
    *,
    corrections: Sequence[Correction],
) -> CountedPayments:
    n_buckets, days, n_rows = buckets_of(file, bounded), list[int](), 0
    divisions = [Division.of(spec, bounded=False)]
    if spec.privacy is not None:
        divisions.append(Division.of(spec, bounded=True))
    with ExitStack() as opened:
        tables = {
            each: opened.enter_context(
                SpilledTable(each.schema, bounded.directory, n_buckets=n_buckets)
            )
            for some in divisions
            for each in some
        }

        def divide(transactions: pd.DataFrame, before: int) -> None:
            nonlocal n_rows
            n_rows += len(transactions)
            days.append(first_day(transactions))
            rows = RiskRows.of(transactions, spec, corrections=corrections, first_place=before)
            for division, table in tables.items():
                for bucket, these in enumerate(division.divide(rows, n_buckets=n_buckets)):
                    if these.num_rows:
                        table.add(bucket, these)

        check_problems(file, Reading(mapping), bounded, watch=divide)
        unbounded, *drawn = (
            Counted.together(
                [
                    division.count(
                        tables[division].read(bucket),
                        spec,
                        draw=(np.random.default_rng(_secret()) if division.by_customer else None),
                    )
                    for division in some
                    for bucket in range(n_buckets)
                ]
            )
            for some in divisions
        )
    return CountedPayments(n_rows, min(days), drawn[0] if drawn else unbounded, unbounded)


def first_day(transactions: pd.DataFrame) -> int:
    """Return the day of the first payment, days since 1970-01-01 UTC."""
    return int(transactions["event_time"].min()) // SECONDS_PER_DAY


def _secret() -> int:
    return secrets.randbits(_SECRET_BITS)
