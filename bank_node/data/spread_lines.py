"""Rows on a Dask cluster that become lines of a file: scores, or features.

::

    part      -> rows, read and checked by a worker
    payments  -> features (``fraudfed.dask_engine.payments``, a shuffle by key)
    rows      -> lines, made where the rows are -> this machine, part after part

What makes the lines - a model, for one - goes to the workers once. Of the lines, this machine has
those of one part at a time, and workers have made those of a few parts more.

Law: the lines are those of all rows at once, whatever the parts, also if workers die.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa

from bank_node.data.contract import problems_of
from bank_node.data.contract_terms import tell_left_out
from bank_node.data.risk_days import check_scoring_days
from bank_node.data.scoring_rows import ScoringRows, read_scoring_rows
from bank_node.data.spread_payments import payment_parts, payment_sources, read_payments
from fraudfed.catalogue.run_check import contract_recipe, needs_tables
from fraudfed.dask_engine.payments import HeldFeatures, HeldPayments, build_parts
from fraudfed.dask_engine.requests import Answer, packed, unpacked
from fraudfed.dask_engine.work import Work
from fraudfed.errors import DataError, FraudFedError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.population import in_population, population_text
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import FeatureTable, rows_of_direction
from fraudfed.reading.file import DataFile
from fraudfed.reading.partitions import ROWS, Partition, partitions_of
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from distributed import Client, Future

#: Values of a part of a plain table that can be made smaller, about: 256 MB on this machine.
_MOST_CELLS: Final = 1 << 26
#: Parts whose lines are made while those of one are written, for each thread of a worker.
_AHEAD: Final = 2


class LinesOf(Protocol):
    """Makes lines of some rows, each on its own; can be pickled."""

    def __call__(self, rows: FeatureTable | ScoringRows) -> pa.Table:
        """Return a line for each row, always of the same columns.

        Parameters
        ----------
        rows : FeatureTable or ScoringRows
            Of transactions, or of a plain table.
        """
        ...


def spread_lines(
    client: "Client",
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None,
    *,
    shared: SharedRisk | None,
    make: LinesOf,
) -> Iterator[pa.Table]:
    """Let workers read rows and make lines of them; yield the lines part after part.

    Parameters
    ----------
    client : Client
    file : DataFile
        For which ``can_spread``; workers see the same files under the same names.
    contract : DataContract
    mapping : Mapping or None
    shared : SharedRisk or None
        Risk tables, for a contract that ``needs_tables``.
    make : callable
        Travels to the workers.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_scoring_rows``.
    ClusterError
    """
    work = Work(client)
    lines = work.give("lines-of", _keep, packed(make))
    if contract.kind == "table":
        yield from _of_table(work, file, contract, lines)
        return
    if needs_tables(contract) != (shared is not None):
        raise ValueError("shared must be given exactly for a contract that needs risk tables")
    partitions, how = payment_parts(work, file, contract)
    terms = packed((contract, file.name))
    sources = payment_sources(partitions, contract, mapping, for_training=False)
    payments = [
        work.give("read", read_payments, number, each) for number, each in enumerate(sources)
    ]
    looked = work.receive([work.give("look", _look, each, terms) for each in payments])
    _check(looked, contract, file.name, shared)
    built = deque(build_parts(work.give, payments, how, shared=shared))
    # Each part can go once its lines are here.
    payments.clear()
    given = (
        work.give("lines", _lines_of_payments, built.popleft(), lines, terms) for _ in partitions
    )
    for made in _in_order(work, given):
        yield unpacked(made.content)


def _of_table(
    work: Work, file: DataFile, contract: DataContract, lines: "Future"
) -> Iterator[pa.Table]:
    about = sum(part.n_rows_about for part in partitions_of(file))
    rows = min(ROWS, _MOST_CELLS // len(contract.features), about // work.n_threads)
    problems, n_rows = problems_of(file), 0
    given = (
        work.give("lines", _lines_of_part, number, packed(_Source(part, contract)), lines)
        for number, part in enumerate(partitions_of(file, rows=max(1, rows)))
    )
    for made in _in_order(work, given):
        problems.note_readings(made.readings)
        problems.raise_any()
        found = unpacked(made.content)
        n_rows += found.num_rows
        if found.num_rows:
            yield found
    if not n_rows:
        raise DataError(f"{file.name}: no row in any of its parts, expected at least one row")


def _in_order(work: Work, given: "Iterator[Future]") -> "Iterator[_Made]":
    """Wait for one piece of work after the other; some of the next are given out meanwhile."""
    most, ahead = _AHEAD * work.n_threads, deque[Any]()
    for future in given:
        ahead.append(future)
        if len(ahead) > most:
            yield _received(work, ahead.popleft())
    while ahead:
        yield _received(work, ahead.popleft())


def _received(work: Work, future: "Future") -> "_Made":
    found: _Made | Answer = work.wait(future)
    if isinstance(found, Answer):
        raise found.refusal or ValueError("a part answers and has no lines")
    return found


def _check(answer: Answer, contract: DataContract, source: str, shared: SharedRisk | None) -> None:
    """Refuse what ``load_features`` refuses of all payments, and say what it says."""
    if answer.refusal is not None:
        raise answer.refusal
    seen: list[_Seen] = answer.value
    recipe = contract_recipe(contract)
    n_rows, n_judged = sum(each.n_rows for each in seen), sum(each.n_judged for each in seen)
    n_members = sum(each.n_members for each in seen)
    if not n_judged:
        raise DataError(
            f"{source}: none of {n_rows} payments is {recipe.direction}, expected "
            f"{recipe.purpose} (recipe {recipe.name!r}); say so in column 'direction'"
        )
    if contract.population is not None:
        if not n_members:
            raise DataError(
                f"{source}: none of {n_judged} payments is in the run's population "
                f"({population_text(contract.population)}), expected some; give the data of those "
                "payments, or leave this run to the other banks"
            )
        tell_left_out(np.arange(n_judged) < n_members, contract, source)
    if shared is not None:
        times = [time for each in seen for time in each.period]
        check_scoring_days(shared, np.array(times, dtype=np.int64))


@dataclass(frozen=True)
class _Source:
    """Where a part of a plain table comes from."""

    partition: Partition
    contract: DataContract


@dataclass(frozen=True)
class _Seen:
    """What this machine learns of a part before its lines are made.

    Attributes
    ----------
    n_rows, n_judged, n_members : int
        Payments; of the recipe's direction; in the population.
    period : tuple of int
        First and last time of the last, UTC epoch seconds; empty if there is none.
    """

    n_rows: int
    n_judged: int
    n_members: int
    period: tuple[int, ...]


class _Lines:
    """What makes lines, on a worker. Dask writes what it works on to its logs: never a row."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __repr__(self) -> str:
        return "<what makes lines>"

    def __sizeof__(self) -> int:
        return len(self.content)


class _Made:
    """The lines of a part, packed; and as what its columns of numbers were read."""

    def __init__(self, lines: pa.Table, readings: dict[str, tuple[str, str]] | None = None) -> None:
        self.content = packed(lines)
        self.readings = readings or {}

    def __repr__(self) -> str:
        return "<lines>"

    def __sizeof__(self) -> int:
        return len(self.content)


# What workers call.


def _keep(make: bytes) -> _Lines:
    return _Lines(make)


def _look(held: HeldPayments | Answer, message: bytes) -> Answer:
    if isinstance(held, Answer):
        return held
    contract, source = unpacked(message)
    rows = held.rows
    if not len(rows):
        return Answer([_Seen(0, 0, 0, ())])
    try:
        judged = rows_of_direction(rows, contract_recipe(contract).direction)
        members = judged[in_population(rows, contract.population, source=source)[judged]]
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=held.number)
    times = rows["event_time"].iloc[members] if members.size else None
    period = () if times is None else (int(times.min()), int(times.max()))
    return Answer([_Seen(len(rows), judged.size, members.size, period)])


def _lines_of_payments(
    held: HeldFeatures | Answer, lines: _Lines, message: bytes
) -> _Made | Answer:
    if isinstance(held, Answer):
        return held
    contract, source = unpacked(message)
    try:
        members = in_population(held.rows, contract.population, source=source)
        chosen = members[held.built.positions]
        built = held.built if chosen.all() else held.built.take(chosen)
        return _Made(unpacked(lines.content)(built))
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=held.number)


def _lines_of_part(number: int, source: bytes, lines: _Lines) -> _Made | Answer:
    found: _Source = unpacked(source)
    try:
        file = found.partition.open()
        problems = problems_of(file)
        rows = read_scoring_rows(file, found.contract, problems)
        return _Made(unpacked(lines.content)(rows), problems.readings)
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)
