"""Parts of a bank's rows as a worker holds them: what one machine does with its rows, per part.

A part is a result of Dask: it lies on one worker, and Dask makes it again from its source if that
worker dies. What has grown on it lies beside it in the same process and goes with it: it is never
sent, never written to disk, and made again from the part when it is missing (``requests``).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fraudfed.boosting.bins import BinnedTable, Cuts
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.shard.local import LocalBinned, LocalGrowing, LocalRows, LocalShard
from fraudfed.boosting.table import TrainingTable
from fraudfed.dask_engine.requests import Add, Answer, Begin, Deed, Divide, Question, Request
from fraudfed.errors import FraudFedError

#: Dask runs as many pieces of work at once as a worker has threads: each takes one.
_THREADS = 1


class _Growth:
    """Rows of one model on one part.

    Attributes
    ----------
    step : int
        How many deeds have been done; -1 while one is being done.
    """

    def __init__(self, binned: LocalBinned, base_score: float) -> None:
        self.step = 0
        self.rows: LocalRows = binned.start((), base_score)
        self.tree: LocalGrowing | None = None

    def is_at(self, step: int) -> bool:
        """Tell whether just so much has been done."""
        return self.step == step

    def do(self, deeds: tuple[Deed, ...], *, until: int) -> None:
        """Do what has been done elsewhere; if it fails half way, no step is right."""
        self.step = -1
        for deed in deeds:
            if isinstance(deed, Begin):
                self.tree = self.rows.grow(
                    scale_pos_weight=deed.scale_pos_weight, draw=deed.draw, cap=deed.cap
                )
            elif isinstance(deed, Add):
                self.rows.add(deed.tree)
                self.tree = None
            elif self.tree is None:
                raise ValueError("there is no tree that grows")
            elif isinstance(deed, Divide):
                self.tree.split(deed.splits)
            else:
                self.tree.finish(deed.values)
                self.tree = None
        self.step = until


@dataclass(eq=False, repr=False)
class HeldRows:
    """Rows as they were read.

    Attributes
    ----------
    number : int
        Of the part.
    table : TrainingTable
    """

    number: int
    table: TrainingTable

    def __post_init__(self) -> None:
        # What came from another process lies in the middle of a message.
        table = self.table
        arrays = (table.features, table.labels, table.weights)
        if not all(array is None or array.flags.aligned for array in arrays):
            features, labels, weights = map(_aligned, arrays)
            self.table = replace(table, features=features, labels=labels, weights=weights)
        self._shard = LocalShard(self.table, load_engine(_THREADS))
        self._counters: dict[tuple[bytes, int | None], Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        # Dask writes what it works on to its logs: never a row.
        return f"<rows of part {self.number}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return HeldRows, (self.number, self.table)

    def __sizeof__(self) -> int:
        return _size(self.table.features, self.table.labels, self.table.weights)

    def ask(self, question: Question) -> Answer:
        """Answer a call of a shard."""
        with self._lock:
            if question.call == "count_keys":
                return self._count_keys(*question.arguments)
            if question.call == "facts":
                return Answer([(self.number, self._shard.n_rows, self._shard.n_positives)])
            call = getattr(self._shard, question.call)
            return self._guarded(lambda: call(*question.arguments, **dict(question.options)))

    def scaled(self, factor: float) -> "HeldRows":
        """Return the same rows with their weights times a factor."""
        return HeldRows(self.number, self._shard.scaled(factor).table)

    def binned(self, cuts: Cuts, *, for_draws: bool) -> "HeldBins":
        """Return the rows as bins."""
        with self._lock:
            return HeldBins(self.number, self._shard.bin(cuts, for_draws=for_draws))

    def _count_keys(
        self, columns: Any, customer_rows: int | None, lows: list[Any], bits: list[Any]
    ) -> Answer:
        # Counting by leading bits is done once for all passes.
        key = (columns.tobytes(), customer_rows)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._shard.key_counter(columns, customer_rows=customer_rows)
            self._counters = {key: counter}
        return Answer(counter.count(lows, bits))

    def _guarded(self, call: Callable[[], Any]) -> Answer:
        try:
            return Answer(call())
        except FraudFedError as error:
            return Answer(refusal=error, refused_by=self.number)


@dataclass(eq=False, repr=False)
class HeldBins:
    """Rows as bins, and beside them what grows on them in this process.

    Attributes
    ----------
    number : int
        Of the part.
    binned : LocalBinned
    """

    number: int
    binned: LocalBinned
    growths: dict[str, _Growth] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<bins of part {self.number}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # What has grown stays here; the engine is the other process's own.
        binned = self.binned
        parts = (binned.labels, binned.weights, binned.customers, binned.keys)
        return _held_bins, (self.number, binned.cuts, binned.table.bins, parts)

    def __sizeof__(self) -> int:
        binned = self.binned
        # Bins lie here a second time, row by row, once something grows.
        return 2 * _size(binned.table.bins) + _size(
            binned.labels, binned.weights, binned.customers, binned.keys
        )

    def answer(self, request: Request) -> Answer:
        """Do what was done since the last request, and answer; or say that this is impossible."""
        with self._lock:
            for name in request.forgotten:
                self.growths.pop(name, None)
            growth = self.growths.get(request.booster)
            if growth is None or not growth.is_at(request.until):
                if request.since == 0:
                    growth = _Growth(self.binned, request.base_score)
                    self.growths[request.booster] = growth
                elif growth is None or not growth.is_at(request.since):
                    return Answer(astray=(self.number,))
                growth.do(request.deeds, until=request.until)
            asked = growth.tree if request.is_of_tree else growth.rows
            question = request.question
            found = getattr(asked, question.call)(*question.arguments, **dict(question.options))
            if question.call == "margins":
                # The next tree changes the array in place.
                found = [(self.number, found.copy())]
            return Answer(found)


def _held_bins(number: int, cuts: Cuts, bins: Any, parts: tuple[Any, ...]) -> HeldBins:
    table = BinnedTable(cuts=cuts, bins=_aligned(bins), engine=load_engine(_THREADS))
    return HeldBins(number, LocalBinned(table, *map(_aligned, parts)))


def _aligned(array: Any) -> Any:
    return None if array is None else np.require(array, requirements="A")


def _size(*arrays: Any) -> int:
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
