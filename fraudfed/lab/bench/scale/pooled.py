"""XGBoost on the rows of all banks, out of the same files, in a process of its own.

It reads them a file at a time (``xgboost.DataIter``). A ``QuantileDMatrix`` keeps the bins of all
rows in memory, an ``ExtMemQuantileDMatrix`` on disk: XGBoost's external memory mode.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import xgboost

from fraudfed.lab.bench.workload import LABEL
from fraudfed.lab.oracle.same_trees import xgboost_parameters
from fraudfed.machine.usage import memory_bytes
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True)
class PooledCost:
    """What pooled XGBoost took.

    Attributes
    ----------
    external_memory : bool
    read_seconds : float
        Reading the files, cuts and bins: XGBoost reads them several times.
    train_seconds : float
        Growing the trees.
    peak_memory_bytes : int
        Of its process; with external memory also the pages of its files that lay in memory.
    """

    external_memory: bool
    read_seconds: float
    train_seconds: float
    peak_memory_bytes: int

    @property
    def seconds(self) -> float:
        """From files to a model."""
        return self.read_seconds + self.train_seconds


def train_pooled(
    directories: Sequence[Path],
    parameters: Mapping[str, Any],
    *,
    threads: int,
    external_memory: bool,
) -> PooledCost:
    """Train on all files of some directories, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        files = [file for folder in directories for file in sorted(folder.iterdir())]
        return pool.submit(_train, files, dict(parameters), threads, external_memory).result()


class _Files(xgboost.DataIter):
    def __init__(self, files: list[Path], cache: str | None) -> None:
        self._files = files
        self._next = 0
        super().__init__(cache_prefix=cache, on_host=False)

    def next(self, input_data: Callable[..., Any]) -> bool:
        if self._next == len(self._files):
            return False
        table = pq.read_table(self._files[self._next])
        self._next += 1
        names = [name for name in table.column_names if name != LABEL]
        data = np.column_stack([table[name].to_numpy() for name in names])
        input_data(data=data, label=table[LABEL].to_numpy(), feature_names=names)
        return True

    def reset(self) -> None:
        self._next = 0


def _train(
    files: list[Path], parameters: dict[str, Any], threads: int, external_memory: bool
) -> PooledCost:
    params = BoosterParams.parse(parameters)
    with tempfile.TemporaryDirectory(prefix="fraudfed-bench-", dir=files[0].parents[1]) as folder:
        started = time.perf_counter()
        if external_memory:
            batches = _Files(files, str(Path(folder) / "cache"))
            matrix: xgboost.DMatrix = xgboost.ExtMemQuantileDMatrix(
                batches, max_bin=params.max_bin, nthread=threads
            )
        else:
            matrix = xgboost.QuantileDMatrix(
                _Files(files, None), max_bin=params.max_bin, nthread=threads
            )
        read = time.perf_counter()
        xgboost.train(
            xgboost_parameters(parameters, threads=threads), matrix, params.num_boost_round
        )
        ended = time.perf_counter()
        del matrix
    return PooledCost(
        external_memory=external_memory,
        read_seconds=read - started,
        train_seconds=ended - read,
        peak_memory_bytes=memory_bytes(os.getpid(), "VmHWM"),
    )
