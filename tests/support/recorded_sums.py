"""A cohort of one that remembers all that was asked of it."""

from typing import Any

import numpy as np

from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array

__all__ = ["RecordedSum", "RecordingCommunicator"]

#: The label, the values, and every public bound by its name, as bytes.
RecordedSum = tuple[str, bytes, dict[str, bytes]]


class RecordingCommunicator:
    """Returns its input, and keeps ``calls``."""

    def __init__(self) -> None:
        self.calls: list[RecordedSum] = []

    def sum(self, values: Int64Array, *, label: str, **bounds: Any) -> Int64Array:
        limits = {
            name: np.broadcast_to(np.asarray(limit), values.shape).tobytes()
            for name, limit in bounds.items()
            if limit is not None
        }
        self.calls.append((label, values.tobytes(), limits))
        return SoloCommunicator().sum(values, label=label, **bounds)
