"""A communicator that keeps what it was asked to sum, and what came of it."""

from dataclasses import dataclass

import numpy as np

from fraudfed.communicator import Communicator, SoloCommunicator
from fraudfed.dtypes import Int64Array


@dataclass(frozen=True, eq=False)
class Summed:
    """One bank's part of one sum, and the sum."""

    label: str
    values: Int64Array
    bound: int | Int64Array
    low: int | Int64Array | None
    total: Int64Array

    def as_bytes(self) -> tuple[str, bytes, bytes, bytes]:
        """Return label, values and bounds, byte for byte."""
        most = np.broadcast_to(np.asarray(self.bound, dtype=np.int64), self.values.shape)
        least = -most if self.low is None else np.asarray(self.low, dtype=np.int64)
        limits = (most.tobytes(), np.broadcast_to(least, self.values.shape).tobytes())
        return (self.label, self.values.tobytes(), *limits)


class RecordingCommunicator:
    """A bank that is alone, or one of a cohort; ``sums`` may be shared by several."""

    def __init__(self, inner: Communicator | None = None, sums: list[Summed] | None = None) -> None:
        self._inner = SoloCommunicator() if inner is None else inner
        self.sums: list[Summed] = [] if sums is None else sums

    @property
    def calls(self) -> list[tuple[str, bytes, bytes, bytes]]:
        return [one.as_bytes() for one in self.sums]

    @property
    def labels(self) -> list[str]:
        return [one.label for one in self.sums]

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        kept = values.copy()
        total = self._inner.sum(values, bound=bound, low=low, label=label)
        self.sums.append(Summed(label, kept, bound, low, total.copy()))
        return total
