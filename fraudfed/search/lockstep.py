"""Many computations over all banks at the same pace: one secure sum carries what all of them ask.

Law: each computation is sent what it would be sent alone, so it returns what it would return alone.
The number of sums is that of the one that asks most often, not their total.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fraudfed.communicator import Summing, SumRequest
from fraudfed.dtypes import Int64Array

_Result = TypeVar("_Result")

#: Most values of one sum; what is due beyond goes into another. At 40 bits a value and keys of
#: 3,072 bits that is 21 MB of ciphertexts from each bank, a third of what an aggregator accepts.
MOST_VALUES = 1 << 21


@dataclass
class Meter:
    """What was summed.

    Attributes
    ----------
    rounds : int
        Sums.
    values : int
        Elements that take room in a sum, those with bounds other than 0.
    """

    rounds: int = 0
    values: int = 0

    def metered(self, summing: Summing[_Result]) -> Summing[_Result]:
        """Return the same computation; what it asks for is counted here."""
        sums: Int64Array | None = None
        while True:
            try:
                request = next(summing) if sums is None else summing.send(sums)
            except StopIteration as end:
                result: _Result = end.value
                return result
            low, high = _limits(request)
            self.rounds += 1
            self.values += int(np.count_nonzero(high > low))
            sums = yield request


def together(summings: Sequence[Summing[_Result]]) -> Summing[list[_Result]]:
    """Run computations at the same pace.

    Parameters
    ----------
    summings : sequence of Summing
        In the same order at every bank.

    Returns
    -------
    list
        What they return, in their order.

    Raises
    ------
    FraudFedError
        The first error of any of them; the others end there.
    """
    results: dict[int, _Result] = {}
    requests: dict[int, SumRequest] = {}

    def advance(number: int, sums: Int64Array | None) -> None:
        summing = summings[number]
        try:
            requests[number] = next(summing) if sums is None else summing.send(sums)
        except StopIteration as end:
            results[number] = end.value

    for number in range(len(summings)):
        advance(number, None)
    while requests:
        due, requests = requests, {}
        for part in _portions(due):
            pooled = yield _joined([due[number] for number in part])
            stops = np.cumsum([due[number].values.size for number in part])[:-1]
            for number, sums in zip(part, np.split(pooled, stops), strict=True):
                advance(number, sums.reshape(due[number].values.shape))
    return [results[number] for number in range(len(summings))]


def _portions(due: dict[int, SumRequest]) -> list[list[int]]:
    """Share out what is due, in order, over sums of at most ``MOST_VALUES`` where that can be."""
    portions: list[list[int]] = []
    room = 0
    for number, request in due.items():
        size = request.values.size
        if not portions or size > room:
            portions.append([])
            room = MOST_VALUES
        portions[-1].append(number)
        room -= size
    return portions


def _joined(requests: Sequence[SumRequest]) -> SumRequest:
    if len(requests) == 1:
        (only,) = requests
        low, high = _limits(only)
        return SumRequest(values=only.values.reshape(-1), bound=high, low=low, label=only.label)
    limits = [_limits(request) for request in requests]
    return SumRequest(
        values=np.concatenate([request.values.reshape(-1) for request in requests]),
        bound=np.concatenate([high for _, high in limits]),
        low=np.concatenate([low for low, _ in limits]),
        label=f"{requests[0].label} of {len(requests)}",
    )


def _limits(request: SumRequest) -> tuple[Int64Array, Int64Array]:
    """Return the least and the largest sum of each value, both of shape (n_values,)."""
    shape = request.values.shape
    high = np.broadcast_to(np.asarray(request.bound, dtype=np.int64), shape).reshape(-1)
    if request.low is None:
        return -high, high
    return np.broadcast_to(np.asarray(request.low, dtype=np.int64), shape).reshape(-1), high
