"""A bank's payments on a Dask cluster: workers read them, and build what features look back at.

::

    part      -> payments, read and checked -> end of the data; reports of frauds
    payments  -> features (``fraudfed.dask_engine.payments``, a shuffle by key)
    features, and the reports of all parts -> windows in time

This machine learns of the parts when their data end, how many payments there are, and what
``spread`` says. The names and reports of all frauds are gathered by a worker.

Law: rows, outcomes and digest are those of ``contract.load_training_rows``.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bank_node.data.contract import read_piece
from bank_node.data.contract_terms import KnownFrauds, check_judged
from bank_node.data.cutoffs import check_cutoffs, check_train_window
from bank_node.data.risk_days import check_training_days
from bank_node.data.spread import HeldWindows, Reading, SpreadRows, rows_of
from bank_node.data.streamed import weights_of
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.run_check import contract_recipe, needs_tables
from fraudfed.dask_engine.payments import (
    BUCKET_ROWS,
    Building,
    HeldFeatures,
    HeldPayments,
    HeldReports,
    all_reports,
    build_parts,
)
from fraudfed.dask_engine.requests import Answer, packed, unpacked
from fraudfed.dask_engine.work import Work
from fraudfed.errors import DataError, FraudFedError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.population import in_population
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import rows_of_direction
from fraudfed.intake.outcomes import ANALYSIS_COLUMNS
from fraudfed.intake.pieced_windows import piece_windows
from fraudfed.intake.transactions import AmongMany
from fraudfed.intake.windows import TRAIN
from fraudfed.reading.file import DataFile
from fraudfed.reading.iso20022.files import is_messages
from fraudfed.reading.location import Location
from fraudfed.reading.partitions import Partition, partitions_of, rows_before
from fraudfed.reading.pieces import has_rows, n_rows_about
from fraudfed.reading.query import Query
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from distributed import Client, Future

_log = logging.getLogger(__name__)

#: Rows of a part that can be made smaller, about: texts and numbers of payments take 1 kB each.
_MOST_ROWS = 1 << 20
#: Fewer rows than this need no bucket of their own.
_LEAST_BUCKET_ROWS = 1 << 12


def can_spread(
    location: Location,
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None = None,
) -> bool:
    """Tell whether workers can read rows and build their features; else this machine has to.

    Messages and the answer to a query lie on this machine, and the features of another recipe are
    built in memory only. A mapping that numbers the rows of all files needs to know how many each
    has, which CSV does not say.

    Parameters
    ----------
    location : Location
    file : DataFile
        What it names.
    contract : DataContract
    mapping : Mapping or None
    """
    is_built = contract.kind == "transactions"
    can_read = can_read_parts(location, file, mapping if is_built else None)
    return can_read and (not is_built or contract_recipe(contract).name == RECIPE)


def can_read_parts(location: Location, file: DataFile, mapping: Mapping | None) -> bool:
    """Tell whether workers can read rows; arguments as for ``can_spread``."""
    is_here = isinstance(file.path, Path) and is_messages(file.path)
    numbers_rows = mapping is not None and any(how.row_number for how in mapping.columns.values())
    return not (is_here or isinstance(location, Query) or (numbers_rows and file.is_csv))


def spread_payments(
    client: "Client",
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None,
    *,
    shared: SharedRisk | None,
) -> SpreadRows:
    """Let workers read a bank's payments, build their features, and check them.

    Parameters
    ----------
    client : Client
    file : DataFile
        For which ``can_spread``; workers see the same files under the same names.
    contract : DataContract
        Of transactions.
    mapping : Mapping or None
    shared : SharedRisk or None
        Risk tables, for a contract that ``needs_tables``.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_training_rows``.
    ClusterError
    """
    if needs_tables(contract) != (shared is not None):
        raise ValueError("shared must be given exactly for a contract that needs risk tables")
    work, source = Work(client), file.name
    partitions, how = payment_parts(work, file, contract)
    messages = payment_sources(partitions, contract, mapping)
    terms = packed((contract, source))
    read: list[Future] = []

    def parts() -> "list[Future]":
        # What was read to look at it is what features are built of; later it is read anew.
        found = read or [
            work.give("read", read_payments, number, each) for number, each in enumerate(messages)
        ]
        return list(found)

    def windows() -> "list[Future]":
        payments = parts()
        read.clear()
        reports = all_reports(work.give, payments)
        built = build_parts(work.give, payments, how, shared=shared)
        return [work.give("windows", windows_of_part, each, reports, terms) for each in built]

    read += parts()
    looked = work.receive([work.give("look", look_at_part, each, terms) for each in read])
    for text in check_looked(looked, contract, source).warnings:
        _log.warning("%s", text)
    reading = Reading(work, windows)
    told = reading.facts()
    n_train = sum(each.counts[TRAIN].rows - each.counts[TRAIN].censored for each in told)
    n_rows = sum(count.rows for each in told for count in each.counts.values())
    check_train_window(n_train, n_rows, contract, source=source)
    periods = [period for each in told for period in each.periods.values()]
    if shared is not None and periods:
        check_training_days(shared, periods)
    return rows_of(reading, told, contract, source)


def payment_parts(
    work: Work, file: DataFile, contract: DataContract
) -> tuple[list[Partition], Building]:
    """Divide payments between workers, and say how their features are built.

    Parameters
    ----------
    work : Work
    file : DataFile
    contract : DataContract
        Of transactions.

    Raises
    ------
    DataError
        If there is no row.
    """
    how = Building(
        n_buckets=n_buckets_of(work, file),
        risk_delay_days=contract.risk_delay_days,
        own_columns=contract.own_columns,
        source=file.name,
        refused=_refused,
    )
    return parts_of(work, file), how


def parts_of(work: Work, file: DataFile) -> list[Partition]:
    """Return parts of some data, each with a row; raises DataError if there is none."""
    # As few parts as keep all workers busy.
    rows = min(_MOST_ROWS, max(1, n_rows_about(file) // work.n_threads))
    partitions = [part for part in partitions_of(file, rows=rows) if has_rows(part)]
    if not partitions:
        raise file.no_rows()
    return partitions


def n_buckets_of(work: Work, file: DataFile) -> int:
    """Return into how many buckets payments of some data are divided by a key."""
    about = n_rows_about(file)
    return max(1, -(-about // BUCKET_ROWS), min(work.n_threads, about // _LEAST_BUCKET_ROWS))


@dataclass(frozen=True)
class PaymentSource:
    """Where a part comes from, and what is read of it.

    Attributes
    ----------
    partition : Partition
    contract : DataContract
    mapping : Mapping or None
    for_training : bool
        With what windows, judgement and weights need.
    rows_before : int
        Rows of the data before the part; 0 where CSV does not say it.
    """

    partition: Partition
    contract: DataContract
    mapping: Mapping | None
    for_training: bool = True
    rows_before: int = 0


def payment_sources(
    partitions: Sequence[Partition],
    contract: DataContract,
    mapping: Mapping | None,
    *,
    for_training: bool = True,
) -> list[bytes]:
    """Return a packed ``PaymentSource`` of each part."""
    return [
        packed(PaymentSource(part, contract, mapping, for_training, before))
        for part, before in zip(partitions, rows_before(partitions), strict=True)
    ]


@dataclass(frozen=True)
class Looked:
    """What this machine has to know of a part before features are built; parts add up.

    Attributes
    ----------
    end : int
        The latest payment or report, UTC epoch seconds.
    any_label : bool
    n_rows, n_judged, n_members : int
        Payments, those of the recipe's direction, and of those the ones in the population.
    warnings : tuple of str
        Of all parts together.
    """

    end: int
    any_label: bool
    n_rows: int
    n_judged: int
    n_members: int
    warnings: tuple[str, ...] = ()


def check_looked(answer: Answer, contract: DataContract, source: str) -> Looked:
    """Refuse data without labels, without payments, or that end too early; return their sums."""
    if answer.refusal is not None:
        raise answer.refusal
    found: list[Looked] = answer.value
    if not any(each.any_label for each in found):
        raise DataError(
            f"{source}: no row has a label, expected 0 or 1 in column 'is_fraud'; add them"
        )
    n_rows, n_judged, n_members = (
        sum(getattr(each, name) for each in found) for name in ("n_rows", "n_judged", "n_members")
    )
    check_judged(n_rows, n_judged, n_members, contract, source)
    nothing, end = np.empty(0, dtype=np.int64), max(each.end for each in found)
    known = KnownFrauds(nothing, nothing, None, end, None)
    warnings = check_cutoffs(known, contract, source=source)
    return Looked(end, True, n_rows, n_judged, n_members, warnings)


# What workers call.


def _refused(error: FraudFedError) -> Answer:
    return Answer(refusal=error, refused_by=0)


def read_payments(number: int, source: bytes) -> HeldPayments | Answer:
    """Read and check a part, given as a packed ``PaymentSource``."""
    found: PaymentSource = unpacked(source)
    try:
        rows = read_piece(
            found.partition.open(),
            found.contract,
            found.mapping,
            analysis=ANALYSIS_COLUMNS if found.for_training else (),
            with_weights=found.for_training,
            among=AmongMany(found.rows_before),
        )
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)
    return HeldPayments(number, rows)


def look_at_part(held: HeldPayments | Answer, message: bytes) -> Answer:
    """Look at payments before features are built: an answer of one ``Looked``."""
    if isinstance(held, Answer):
        return held
    contract, source = unpacked(message)
    rows = held.rows
    try:
        if "is_fraud" not in rows.columns:
            raise DataError(
                f"{source}: columns 'is_fraud' and 'label_time' are missing, needed for training; "
                "add them"
            )
        judged = rows_of_direction(rows, contract_recipe(contract).direction)
        members = judged[in_population(rows, contract.population, source=source)[judged]]
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=held.number)
    is_fraud = (rows["is_fraud"] == 1).fillna(False).to_numpy(dtype=np.bool_)
    reports = rows["label_time"].iloc[members[is_fraud[members]]].to_list()
    end = max([int(rows["event_time"].max()), *map(int, reports)])
    any_label = bool(rows["is_fraud"].notna().any())
    return Answer([Looked(end, any_label, len(rows), judged.size, members.size)])


def windows_of_part(
    held: HeldFeatures | Answer, reports: Any, message: bytes
) -> HeldWindows | Answer:
    """Divide the payments of a part in time; ``reports`` are those of all parts."""
    if isinstance(held, Answer):
        return held
    if not isinstance(reports, HeldReports):
        refused: Answer = reports
        return refused
    rows, built = held.rows, held.built
    contract, source = unpacked(message)
    try:
        members = in_population(rows, contract.population, source=source)
        return HeldWindows(
            held.number,
            piece_windows(
                built.take(members[built.positions]),
                rows,
                reports.frauds,
                contract,
                weights=weights_of(rows),
            ),
        )
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=held.number)
