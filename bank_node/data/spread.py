"""A bank's rows on a Dask cluster: each partition is read and checked by the worker that keeps it.

Rows of a plain table belong to a window by their content alone, so a partition needs nothing of the
others. What comes to this machine is counts, digests, what is wrong with a row, and of the rows
that judge their labels and scores.
"""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bank_node.data.contract import TableShares, load_plain_part
from bank_node.data.digest import JudgedDigest, RowsDigest, joined_digest
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.table import TrainingTable
from fraudfed.dask_engine.held import HeldRows
from fraudfed.dask_engine.requests import Answer, packed, unpacked
from fraudfed.dask_engine.shard import DaskShard, TableFacts
from fraudfed.dask_engine.work import Work
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError, FraudFedError
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.intake.outcomes import outcomes_without_times
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
    """

    outcomes: Outcomes
    work: Work
    parts: "Callable[[], Sequence[Future]]"

    def margins(self, model: Model) -> Float32Array:
        """Return what a model says of each row, in the order of the outcomes.

        Raises
        ------
        ClusterError
        """
        message = packed(model)
        given = [self.work.give("score", _score, each, message) for each in self.parts()]
        answer = self.work.receive(given)
        if answer.refusal is not None:
            raise answer.refusal
        found = sorted(answer.value, key=lambda pair: int(pair[0]))
        return np.concatenate([margins for _, margins in found])


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
    reading = _Reading(work, [_Source(part, contract, shares) for part in partitions])
    told = reading.facts()
    counts: dict[str, WindowCounts] = {}
    for name in (TRAIN, SELECT, JUDGE):
        found = [each.counts[name] for each in told if name in each.counts]
        if found:
            counts[name] = WindowCounts(
                rows=sum(one.rows for one in found),
                frauds=sum(one.frauds for one in found),
                censored=sum(one.censored for one in found),
            )
    if not sum(one.rows for one in counts.values()):
        raise DataError(
            f"{source}: {len(partitions)} partitions and no row in any of them, expected at least "
            "one row"
        )
    _warn(source, counts)
    facts = TableFacts(
        contract_schema(contract), contract.max_weight, has_weights=contract.weight is not None
    )
    engine = load_engine()

    def shard(name: str, of: TableFacts) -> DaskShard:
        return DaskShard(
            work, lambda: reading.windows(name), of, engine, forget_source=reading.forget
        )

    select = None
    if shares.select:
        of_select = shard(SELECT, facts)
        has_both = 0 < counts[SELECT].frauds < counts[SELECT].rows
        # Without customers, each fraud is a case.
        weight = min(counts[SELECT].frauds, MOST_CASES) if has_both else 0
        select = SelectRows(of_select, weight)
    window: Literal["judge", "select"] | None = None
    if shares.judge or shares.select:
        window = "judge" if shares.judge else "select"
    judged = None
    if window is not None:
        labels = np.concatenate([each.judged_labels for each in told])
        judged = SpreadJudged(outcomes_without_times(labels), work, reading.keep(window))
    return SpreadRows(
        train=shard(TRAIN, facts),
        select=select,
        validation=None if select is None else of_select,
        judged=judged,
        window=window,
        counts=counts,
        digest=_joined([each.digests for each in told]),
    )


def hand_out(client: "Client", table: TrainingTable) -> DaskShard:
    """Spread rows that this machine has read over the workers of a cluster.

    The scheduler keeps them, too, for when a worker dies.

    Parameters
    ----------
    client : Client
    table : TrainingTable
    """
    work = Work(client)
    n_parts = max(work.n_workers, -(-table.n_rows // _HANDED_ROWS))
    parts = [
        packed(_part(table, slice(start, stop)))
        for start, stop in itertools.pairwise(
            np.linspace(0, table.n_rows, n_parts + 1).astype(int).tolist()
        )
    ]
    facts = TableFacts(
        table.schema,
        table.max_weight,
        has_weights=table.weights is not None,
        has_customers=table.customers is not None,
    )

    def make() -> "list[Future]":
        return [work.give("read", _handed, number, part) for number, part in enumerate(parts)]

    return DaskShard(work, make, facts, load_engine())


def _part(table: TrainingTable, rows: slice) -> TrainingTable:
    return replace(
        table,
        features=table.features[rows],
        labels=table.labels[rows],
        weights=None if table.weights is None else table.weights[rows],
        customers=None if table.customers is None else table.customers[rows],
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
class _Told:
    """What this machine learns of a part."""

    number: int
    counts: Mapping[str, WindowCounts]
    digests: "_Digests"
    judged_labels: Float32Array


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


class _HeldWindows:
    """A partition as a worker has read it."""

    def __init__(self, number: int, windows: Windows) -> None:
        self.number = number
        self.windows = windows

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


class _Reading:
    """Partitions as workers read them; read again where they are needed again."""

    def __init__(self, work: Work, sources: Sequence[_Source]) -> None:
        self._work = work
        self._sources = sources
        self._read: list[Future] | None = None

    def facts(self) -> list[_Told]:
        """Read everything, and return what is known of each part, in their order."""
        given = [self._work.give("look", _tell, each) for each in self._parts()]
        answer = self._work.receive(given)
        if answer.refusal is not None:
            raise answer.refusal
        return sorted(answer.value, key=lambda told: int(told.number))

    def windows(self, name: str) -> "list[Future]":
        """Give out the rows of a window, part by part."""
        return [self._work.give(name, _window, each, name) for each in self._parts()]

    def keep(self, name: str) -> "Callable[[], Sequence[Future]]":
        """Keep the rows that judge, until they have."""
        kept = [self._work.give(name, _judged, each, name) for each in self._parts()]
        return lambda: kept

    def forget(self) -> None:
        """Let workers give up what no window needs."""
        self._read = None

    def _parts(self) -> "list[Future]":
        if self._read is None:
            self._read = [
                self._work.give("read", _read, number, packed(source))
                for number, source in enumerate(self._sources)
            ]
        return self._read


# What workers call.


def _read(number: int, source: bytes) -> _HeldWindows | Answer:
    found: _Source = unpacked(source)
    try:
        return _HeldWindows(number, load_plain_part(found.partition, found.contract, found.shares))
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)


def _tell(held: _HeldWindows | Answer) -> Answer:
    if isinstance(held, Answer):
        return held
    windows = held.windows
    judged = windows.judge if windows.judge is not None else windows.select
    told = _Told(
        held.number,
        windows.counts,
        _Digests.of(windows),
        np.empty(0, np.float32) if judged is None else judged.outcomes.labels,
    )
    return Answer([told])


def _window(held: _HeldWindows | Answer, name: str) -> HeldRows | Answer:
    if isinstance(held, Answer):
        return held
    if name == TRAIN:
        return HeldRows(held.number, held.windows.train)
    return HeldRows(held.number, labelled_table(_rows_that_judge(held, name)))


def _judged(held: _HeldWindows | Answer, name: str) -> _HeldJudged | Answer:
    if isinstance(held, Answer):
        return held
    return _HeldJudged(held.number, _rows_that_judge(held, name))


def _rows_that_judge(held: _HeldWindows, name: str) -> JudgedRows:
    rows = held.windows.judge if name == JUDGE else held.windows.select
    if rows is None:
        raise ValueError(f"there is no window {name}")
    return rows


def _score(held: _HeldJudged | Answer, message: bytes) -> Answer:
    if isinstance(held, Answer):
        return held
    model: Model = unpacked(message)
    return Answer([(held.number, predict_margins(model, held.features, threads=1))])
