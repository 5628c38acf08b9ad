"""Rows in parts, and a stand-in for a cluster: work that is done in this process, and is lost."""

import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dask_engine.held import HeldRows
from fraudfed.dask_engine.requests import packed, unpacked
from fraudfed.dask_engine.shard import DaskShard, TableFacts
from fraudfed.dask_engine.work import Work
from fraudfed.dtypes import Int64Array

SCHEMA = FeatureSchema(("amount", "hour", "age", "channel"), (0, 0, 0, 5))


def make_table(n_rows: int, *, seed: int = 0) -> TrainingTable:
    """Return rows with missing values, a category and weights."""
    rng = np.random.default_rng([18, seed])
    features = rng.normal(size=(n_rows, 4)).astype(np.float32)
    features[rng.random((n_rows, 4)) < 0.1] = np.nan
    features[:, 3] = rng.integers(0, 5, n_rows)
    present = np.nan_to_num(features)
    signal = present[:, 0] + present[:, 1] * present[:, 3] - 1.5
    labels = (signal > rng.normal(0, 1.5, n_rows)).astype(np.float32)
    weights = rng.uniform(0.5, 2, n_rows).astype(np.float32)
    return TrainingTable(SCHEMA, features, labels, weights=weights, max_weight=2.0)


def part_of(table: TrainingTable, rows: Int64Array) -> TrainingTable:
    """Return some rows of a table."""
    weights = None if table.weights is None else table.weights[rows]
    return replace(table, features=table.features[rows], labels=table.labels[rows], weights=weights)


def in_parts(table: TrainingTable, n_parts: int, *, seed: int = 0) -> list[TrainingTable]:
    """Deal rows out, unsorted and unequally; with more than two parts, one of them is empty."""
    rng = np.random.default_rng([7, n_parts, seed])
    share = rng.dirichlet(np.full(n_parts, 0.7))
    owner = rng.choice(n_parts, table.n_rows, p=share)
    if n_parts > 2:
        owner[owner == 1] = 0
    order = rng.permutation(table.n_rows)
    return [part_of(table, order[owner[order] == part]) for part in range(n_parts)]


def hold(number: int, part: bytes) -> HeldRows:
    """Take rows; what a worker calls."""
    return HeldRows(number, unpacked(part))


def hold_hungrily(number: int, part: bytes, times: Path) -> HeldRows:
    """Take rows, and so many times before more memory than a worker may have; it does not return.

    Parameters
    ----------
    times : Path
        A file for each of them; one is taken away each time.
    """
    for each in times.iterdir():
        each.unlink()
        taken = np.ones(1 << 30, dtype=np.uint8)
        time.sleep(60)
        del taken
    return hold(number, part)


def shard_on(
    work: Work,
    parts: Sequence[TrainingTable],
    take: Callable[..., HeldRows] = hold,
    *more: Any,
) -> DaskShard:
    """Return parts of one table as a shard on a cluster; a worker takes each by ``take``."""
    first, messages = parts[0], [packed(part) for part in parts]
    return DaskShard(
        work,
        lambda: [
            work.give("read", take, number, part, *more) for number, part in enumerate(messages)
        ],
        TableFacts(first.schema, first.max_weight, has_weights=first.weights is not None),
        load_engine(1),
    )


@dataclass(eq=False)
class Piece:
    """A piece of work: what was found, or how to find it again."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    key: str
    found: list[Any] = field(default_factory=list)

    def result(self) -> Any:
        """Do it, if it is not done."""
        if not self.found:
            arguments = [
                each.result() if isinstance(each, Piece) else each for each in self.arguments
            ]
            self.found.append(self.function(*arguments))
        return self.found[0]


class Forgetful(Work):
    """Does all work in this process; now and then a part is lost, or moves to another worker.

    Parameters
    ----------
    seed : int
        Of when it happens.
    every : float
        How often a part is lost before it is asked.
    """

    def __init__(self, seed: int = 0, every: float = 0.0) -> None:
        self._rng = np.random.default_rng([3, seed])
        self._every = every
        self.n_given = self.n_received = self.n_lost = 0

    def give(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Note a piece of work."""
        self.n_given += 1
        for each in arguments:
            if isinstance(each, Piece) and each.found and self._rng.random() < self._every:
                self.n_lost += 1
                if self._rng.random() < 0.5:
                    each.found.clear()
                else:
                    each.found[0] = pickle.loads(pickle.dumps(each.found[0]))
        piece = Piece(function, arguments, f"{what}-{self.n_given}")
        if self._rng.random() < self._every:
            # Done twice, as where the first answer did not arrive.
            piece.result()
            piece.found.clear()
        return piece

    def wait(self, future: Any) -> Any:
        """Do a piece of work."""
        return future.result()

    def by_worker(self, given: Sequence[Any]) -> list[int]:
        """Return any order."""
        return self._rng.permutation(len(given)).tolist()
