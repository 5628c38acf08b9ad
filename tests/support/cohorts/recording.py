"""A bank that trains alone and keeps what it was asked to sum."""

import numpy as np

from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array


class RecordingCommunicator:
    """Alone; ``calls`` holds label, values and bounds of every sum, byte for byte."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes, bytes, bytes]] = []

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        most = np.broadcast_to(np.asarray(bound, dtype=np.int64), values.shape)
        least = -most if low is None else np.asarray(low, dtype=np.int64)
        limits = (most.tobytes(), np.broadcast_to(least, values.shape).tobytes())
        self.calls.append((label, values.tobytes(), *limits))
        return SoloCommunicator().sum(values, bound=bound, low=low, label=label)
