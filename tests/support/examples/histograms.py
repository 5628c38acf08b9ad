"""Histograms of one table, for tests of the threads that build them."""

import dataclasses

import numpy as np
from oracles.trees import random_rows

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.shard.sums import HistogramBuilder, HistogramOrder
from fraudfed.dtypes import Int64Array

N_ROWS = 80_000


def table(threads: int) -> tuple[BinnedTable, Int64Array]:
    rng = np.random.default_rng(1)
    rows = random_rows(rng, n_rows=N_ROWS, n_bins=(20, 30, 40))
    pairs = rng.integers(-(2**32), 2**32, (N_ROWS, 2), dtype=np.int64)
    return dataclasses.replace(rows.binned(), engine=load_engine(threads)), pairs


def sums(builder: HistogramBuilder, n_rows: int) -> bytes:
    order = HistogramOrder(np.arange(n_rows, dtype=np.uint32), np.arange(3))
    return builder.build([order]).histograms[0].tobytes()
