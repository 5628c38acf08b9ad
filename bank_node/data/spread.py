"""A bank's rows on a Dask cluster: each partition is read and checked by the worker that keeps it.

Rows of a plain table belong to a window by their content alone, so a partition needs nothing of the
others; for payments see ``spread_payments``. What comes to this machine is counts, digests, what is
wrong with a row, and of the rows that judge their outcomes and scores.
"""

import itertools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from bank_node.data.contract import TableShares, plain_windows, problems_of
from bank_node.data.digest import JudgedDigest, RowsDigest, joined_digest
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.table import TrainingTable
from fraudfed.dask_engine.held import HeldRows
from fraudfed.dask_engine.requests import Answer, packed, unpacked
from fraudfed.dask_engine.shard import DaskShard, TableFacts
from fraudfed.dask_engine.work import Work
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError, FraudFedError
from fraudfed.evaluation.cases import Cases
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.windows import JUDGE, SELECT, TRAIN, WindowCounts, Windows, labelled_table
from fraudfed.reading.file import DataFile
from fraudfed.reading.partitions import Partition, partitions_of
from fraudfed.search.selection import MOST_CASES, SelectRows
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from distributed import Client, Future

_log = logging.getLogger(__name__)

#: Rows of a part that can be made smaller, about: what a worker needs several times of in memory.
_MOST_ROWS: Final = 1 << 21
#: Rows of a part that this machine hands out, at most.
_HANDED_ROWS: Final = 1 << 18


@dataclass(frozen=True, eq=False)
class SpreadRows:
    """A bank's rows on a cluster, window by window. What is here is small.

    Attributes
    ----------
    train : DaskShard
    select : SelectRows or None
    validation : DaskShard or None
        The rows of ``select``.
    judged : SpreadJudged or None
        The rows of the window that judges, or else of the one that selects.
    window : {"judge", "select"} or None
        Which of them.
    counts : mapping of str to WindowCounts
    digest : str
        ``windows_digest`` of all rows, whatever the parts.
    """

    train: DaskShard
    select: SelectRows | None
    validation: DaskShard | None
    judged: "SpreadJudged | None"
    window: Literal["judge", "select"] | None
    counts: Mapping[str, WindowCounts]
    digest: str


@dataclass(frozen=True, eq=False)
class SpreadJudged:
    """Rows that judge, on the workers; here is what became of them.

    Attributes
    ----------
    outcomes : Outcomes
    names : tuple of str
        Of the features.
    """

    outcomes: Outcomes
    names: tuple[str, ...]
    work: Work
    parts: "Callable[[], Sequence[Future]]"

    def margins(self, model: Model) -> Float32Array:
        """Return what a model says of each row, in the order of the outcomes.

        Raises
        ------
        ClusterError
        """
        found: Float32Array = self._each("score", _score, packed(model))
        return found

    def with_groups(self, names: Collection[str]) -> "SpreadJudged":
        """Return the rows with the codes of some of their columns as groups; -1 is missing."""
        if not names:
            return self
        columns = [self.names.index(name) for name in names]
        codes = self._each("groups", _codes, packed(columns))
        cells = {**self.outcomes.cells, **dict(zip(names, codes.T, strict=True))}
        return replace(self, outcomes=replace(self.outcomes, cells=cells))

    def _each(self, what: str, function: Callable[..., Answer], message: bytes) -> Any:
        given = [self.work.give(what, function, each, message) for each in self.parts()]
        answer = self.work.receive(given)
        if answer.refusal is not None:
            raise answer.refusal
        found = sorted(answer.value, key=lambda pair: int(pair[0]))
        return np.concatenate([values for _, values in found])


def spread_rows(
    client: "Client",
    file: DataFile,
    contract: DataContract,
    shares: TableShares,
) -> SpreadRows:
    """Let workers read a bank's plain table, and check what each has read.

    Parameters
    ----------
    client : Client
    file : DataFile
        Workers see the same files under the same names.
    contract : DataContract
        Of a plain table.
    shares : TableShares

    Raises
    ------
    DataError
        Naming file, row, column, value and what was expected; or if there is no row.
    ClusterError
    """
    work, source = Work(client), file.name
    about = sum(part.n_rows_about for part in partitions_of(file))
    # As few parts as keep all workers busy: each is a piece of work at each level of a tree.
    partitions = partitions_of(file, rows=min(_MOST_ROWS, max(1, about // work.n_threads)))
    messages = [packed(_Source(part, contract, shares)) for part in partitions]

    def make() -> "list[Future]":
        return [
            work.give("read", _read, number, message) for number, message in enumerate(messages)
        ]

    reading = Reading(work, make)
    told = reading.facts()
    problems = problems_of(file)
    for each in told:
        problems.note_readings(each.readings)
    problems.raise_any()
    if not any(count.rows for each in told for count in each.counts.values()):
        raise DataError(
            f"{source}: {len(partitions)} partitions and no row in any of them, expected at least "
            "one row"
        )
    return rows_of(reading, told, contract, source)


def rows_of(
    reading: "Reading", told: "Sequence[Told]", contract: DataContract, source: str
) -> SpreadRows:
    """Return rows that workers have read, and what is known of them all.

    Parameters
    ----------
    reading : Reading
    told : sequence of Told
        What ``reading`` says of each part.
    contract : DataContract
    source : str
        What messages call the data.
    """
    counts: dict[str, WindowCounts] = {}
    for name in (TRAIN, SELECT, JUDGE):
        found = [each.counts[name] for each in told if name in each.counts]
        if found:
            counts[name] = WindowCounts(
                rows=sum(one.rows for one in found),
                frauds=sum(one.frauds for one in found),
                censored=sum(one.censored for one in found),
                known_compromised=sum(one.known_compromised for one in found),
            )
    _warn(source, counts)
    facts = TableFacts(
        contract_schema(contract), contract.max_weight, has_weights=contract.weight is not None
    )
    engine = load_engine()

    def shard(name: str, of: TableFacts) -> DaskShard:
        return DaskShard(
            reading.work, lambda: reading.windows(name), of, engine, forget_source=reading.forget
        )

    select = None
    if SELECT in counts:
        of_select = shard(SELECT, facts)
        known = counts[SELECT].rows - counts[SELECT].censored
        weight = 0
        if 0 < counts[SELECT].frauds < known:
            frauds = together([each.select_frauds for each in told if each.select_frauds])
            weight = min(Cases.of(frauds).n_cases, MOST_CASES)
        select = SelectRows(of_select, weight)
    window: Literal["judge", "select"] | None = None
    if JUDGE in counts or SELECT in counts:
        window = "judge" if JUDGE in counts else "select"
    judged = None
    if window is not None:
        outcomes = together([each.judged for each in told if each.judged is not None])
        judged = SpreadJudged(
            outcomes, contract_schema(contract).names, reading.work, reading.keep(window)
        )
    return SpreadRows(
        train=shard(TRAIN, facts),
        select=select,
        validation=None if select is None else of_select,
        judged=judged,
        window=window,
        counts=counts,
        digest=_joined([each.digests for each in told]),
    )


def together(parts: Sequence[Outcomes]) -> Outcomes:
    """Put the outcomes of parts one after the other, with codes from 0 in the order they come.

    Parameters
    ----------
    parts : sequence of Outcomes
        One at least; of all of them the same is known.
    """

    def joined(name: str) -> Any:
        columns = [getattr(part, name) for part in parts]
        return None if columns[0] is None else np.concatenate(columns)

    def coded(name: str) -> Int64Array | None:
        codes = joined(name)
        if codes is None:
            return None
        found: Int64Array = pd.factorize(codes)[0].astype(np.int64, copy=False)
        if (codes < 0).any():
            # No name has no number: those that come after the first such row move up by one.
            nobody = int(found[np.argmax(codes < 0)])
            found = np.where(codes < 0, -1, found - (found > nobody))
        return found

    return Outcomes(
        labels=joined("labels"),
        is_blocked=joined("is_blocked"),
        event_time=joined("event_time"),
        amounts=joined("amounts"),
        customers=coded("customers"),
        cards=coded("cards"),
        accounts=coded("accounts"),
        is_first_seen=joined("is_first_seen"),
        cells={
            name: np.concatenate([part.cells[name] for part in parts]) for name in parts[0].cells
        },
    )


def hand_out(client: "Client", table: TrainingTable) -> DaskShard:
    """Spread rows that this machine has read over the workers of a cluster.

    The scheduler keeps them, too, for when a worker dies.

    Parameters
    ----------
    client : Client
    table : TrainingTable
        Without customers: what a customer weighs cannot be bounded part by part.
    """
    work = Work(client)
    n_parts = max(work.n_workers, -(-table.n_rows // _HANDED_ROWS))
    parts = [
        packed(_part(table, slice(start, stop)))
        for start, stop in itertools.pairwise(
            np.linspace(0, table.n_rows, n_parts + 1).astype(int).tolist()
        )
    ]
    facts = TableFacts(table.schema, table.max_weight, has_weights=table.weights is not None)

    def make() -> "list[Future]":
        return [work.give("read", _handed, number, part) for number, part in enumerate(parts)]

    return DaskShard(work, make, facts, load_engine())


def _part(table: TrainingTable, rows: slice) -> TrainingTable:
    return replace(
        table,
        features=table.features[rows],
        labels=table.labels[rows],
        weights=None if table.weights is None else table.weights[rows],
    )


def _handed(number: int, part: bytes) -> HeldRows:
    return HeldRows(number, unpacked(part))


def _warn(source: str, counts: Mapping[str, WindowCounts]) -> None:
    train = counts[TRAIN]
    if train.frauds in (0, train.rows):
        _log.warning(
            "%s: all %d labels to train on are the same; this bank alone has one class, training "
            "continues with the others'",
            source,
            train.rows,
        )


@dataclass(frozen=True)
class _Source:
    """Where a part comes from."""

    partition: Partition
    contract: DataContract
    shares: TableShares


@dataclass(frozen=True, eq=False)
class Told:
    """What this machine learns of a part.

    Attributes
    ----------
    number : int
    counts, periods
        As in ``Windows``.
    digests : digests of the windows
    judged : Outcomes or None
        Of the rows that judge, or else of those that select.
    select_frauds : Outcomes or None
    readings : dict of str to (str, str)
        As ``Problems.readings``.
    """

    number: int
    counts: Mapping[str, WindowCounts]
    periods: Mapping[str, tuple[int, int]]
    digests: "_Digests"
    judged: Outcomes | None
    select_frauds: Outcomes | None
    readings: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, eq=False)
class _Digests:
    """Of the windows of a part."""

    train: RowsDigest
    select: JudgedDigest | None
    judge: JudgedDigest | None

    @classmethod
    def of(cls, windows: Windows) -> "_Digests":
        train = RowsDigest(windows.train.schema, max_weight=windows.train.max_weight)
        train.add(windows.train)
        select, judge = (
            None if rows is None else JudgedDigest.of(rows)
            for rows in (windows.select, windows.judge)
        )
        return cls(train, select, judge)


def _joined(parts: Sequence[_Digests]) -> str:
    whole = parts[0]
    for part in parts[1:]:
        whole.train.merge(part.train)
        for own, more in ((whole.select, part.select), (whole.judge, part.judge)):
            if own is not None and more is not None:
                own.merge(more)
    return joined_digest(whole.train.hexdigest(), whole.select, whole.judge)


class HeldWindows:
    """A partition as a worker has read it."""

    def __init__(
        self,
        number: int,
        windows: Windows,
        readings: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    ) -> None:
        self.number = number
        self.windows = windows
        self.readings = dict(readings)

    def __repr__(self) -> str:
        return f"<windows of part {self.number}>"

    def __sizeof__(self) -> int:
        windows = self.windows
        others = [each for each in (windows.select, windows.judge) if each is not None]
        return windows.train.features.nbytes + sum(each.features.nbytes for each in others)


class _HeldJudged:
    """Features of rows that judge, on a worker."""

    def __init__(self, number: int, rows: JudgedRows) -> None:
        self.number = number
        self.features = rows.features

    def __repr__(self) -> str:
        return f"<rows that judge of part {self.number}>"

    def __sizeof__(self) -> int:
        return self.features.nbytes


class Reading:
    """Partitions as workers read them; read again where they are needed again.

    Parameters
    ----------
    work : Work
    make : callable
        Gives the reading of all parts out: each a ``HeldWindows``, or an answer that refuses.
    """

    def __init__(self, work: Work, make: "Callable[[], list[Future]]") -> None:
        self.work = work
        self._make = make
        self._read: list[Future] | None = None

    def facts(self) -> list[Told]:
        """Read everything, and return what is known of each part, in their order."""
        given = [self.work.give("look", _tell, each) for each in self._parts()]
        answer = self.work.receive(given)
        if answer.refusal is not None:
            raise answer.refusal
        return sorted(answer.value, key=lambda told: int(told.number))

    def windows(self, name: str) -> "list[Future]":
        """Give out the rows of a window, part by part."""
        return [self.work.give(name, _window, each, name) for each in self._parts()]

    def keep(self, name: str) -> "Callable[[], Sequence[Future]]":
        """Keep the rows that judge, until they have."""
        kept = [self.work.give(name, _judged, each, name) for each in self._parts()]
        return lambda: kept

    def forget(self) -> None:
        """Let workers give up what no window needs."""
        self._read = None

    def _parts(self) -> "list[Future]":
        if self._read is None:
            self._read = self._make()
        return self._read


# What workers call.


def _read(number: int, source: bytes) -> HeldWindows | Answer:
    found: _Source = unpacked(source)
    try:
        file = found.partition.open()
        problems = problems_of(file)
        windows, _ = plain_windows(file, found.contract, found.shares, problems)
        return HeldWindows(number, windows, problems.readings)
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)


def _tell(held: HeldWindows | Answer) -> Answer:
    if isinstance(held, Answer):
        return held
    windows = held.windows
    judged = windows.judge if windows.judge is not None else windows.select
    select, outcomes = windows.select, None if judged is None else judged.outcomes
    told = Told(
        held.number,
        windows.counts,
        windows.periods,
        _Digests.of(windows),
        outcomes,
        None if select is None else select.outcomes.take(select.outcomes.labels == 1),
        held.readings,
    )
    return Answer([told])


def _window(held: HeldWindows | Answer, name: str) -> HeldRows | Answer:
    if isinstance(held, Answer):
        return held
    if name == TRAIN:
        return HeldRows(held.number, held.windows.train)
    return HeldRows(held.number, labelled_table(_rows_that_judge(held, name)))


def _judged(held: HeldWindows | Answer, name: str) -> _HeldJudged | Answer:
    if isinstance(held, Answer):
        return held
    return _HeldJudged(held.number, _rows_that_judge(held, name))


def _rows_that_judge(held: HeldWindows, name: str) -> JudgedRows:
    rows = held.windows.judge if name == JUDGE else held.windows.select
    if rows is None:
        raise ValueError(f"there is no window {name}")
    return rows


def _score(held: _HeldJudged | Answer, message: bytes) -> Answer:
    if isinstance(held, Answer):
        return held
    model: Model = unpacked(message)
    return Answer([(held.number, predict_margins(model, held.features, threads=1))])


def _codes(held: _HeldJudged | Answer, message: bytes) -> Answer:
    if isinstance(held, Answer):
        return held
    codes = held.features[:, unpacked(message)]
    return Answer([(held.number, np.where(np.isnan(codes), -1, codes).astype(np.int64))])
