"""The real training, with several banks as threads of one process and an exact sum between them.

What a defence asks of single banks cannot be tried on pooled rows: here each bank runs the trainer
on its own rows, as it does over an encrypted sum.
"""

import threading
from collections.abc import Sequence

import numpy as np

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import check_bound
from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError, SumError
from fraudfed.parameters import BoosterParams


class _Meeting:
    """Where the banks of one training meet for each sum."""

    def __init__(self, n_banks: int) -> None:
        self._parts: list[Int64Array | None] = [None] * n_banks
        self._total: Int64Array = np.empty(0, dtype=np.int64)
        self.barrier = threading.Barrier(n_banks, action=self._add_up)

    def put(self, bank: int, values: Int64Array) -> Int64Array:
        self._parts[bank] = values
        try:
            self.barrier.wait()
        except threading.BrokenBarrierError:
            raise SumError("another bank of this process has failed") from None
        # The next sum makes a new array: what is returned here stays as it is.
        return self._total.copy()

    def _add_up(self) -> None:
        parts = [part for part in self._parts if part is not None]
        self._total = np.sum(np.stack(parts), axis=0)


class _Bank:
    """One bank's end of a meeting; see ``fraudfed.communicator.Communicator``."""

    def __init__(self, meeting: _Meeting, bank: int) -> None:
        self._meeting = meeting
        self._bank = bank

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        total = self._meeting.put(self._bank, values)
        check_bound(total, bound, low=low, label=label)
        return total


def train_together(params: BoosterParams, tables: Sequence[TrainingTable]) -> Model:
    """Train one model over the rows of several banks.

    Parameters
    ----------
    params : BoosterParams
    tables : sequence of TrainingTable
        Of each bank; at least one.

    Raises
    ------
    FraudFedError
        As ``train``, the first that a bank raises.
    """
    meeting = _Meeting(len(tables))
    models: list[Model | None] = [None] * len(tables)
    failures: list[BaseException] = []

    def run(bank: int) -> None:
        try:
            models[bank] = train(params, tables[bank], _Bank(meeting, bank), threads=1).model
        except BaseException as error:  # A bank that is gone must not leave the others waiting.
            failures.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(bank,)) for bank in range(len(tables))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    first = models[0]
    if first is None or any(model != first and model is None for model in models):
        raise FraudFedError("a bank of this process has no model")
    return first
