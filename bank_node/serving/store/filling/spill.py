"""Records divided by the first bits of their keys, so that one division after another fits memory.

Divisions are in the order of keys. A spill of one division stays in memory.
"""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.features.arrivals import KEY_BYTES

Records: TypeAlias = "np.ndarray[Any, np.dtype[np.void]]"

KEY = f"V{KEY_BYTES}"
#: The first byte of a key divides.
MOST_DIVISIONS = 256


class Spill:
    """Records of several kinds.

    Parameters
    ----------
    directory : Path
        An empty one.
    divisions : int
        A power of two, ``MOST_DIVISIONS`` at most.
    """

    def __init__(self, directory: Path, divisions: int) -> None:
        self._directory = directory
        self.divisions = divisions
        self._held: dict[str, list[Records]] = {}

    def add(self, kind: str, records: Records) -> None:
        """Add records, whose first field is their key.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        if records.size == 0:
            return
        if self.divisions == 1:
            self._held.setdefault(kind, []).append(records)
            return
        first = np.frombuffer(records.tobytes(), np.uint8)[:: records.dtype.itemsize]
        division = (first.astype(np.int64) * self.divisions) >> 8
        order = np.argsort(division, kind="stable")
        bounds = np.searchsorted(division[order], np.arange(self.divisions + 1)).tolist()
        ordered = records[order]
        for number in range(self.divisions):
            start, stop = bounds[number : number + 2]
            if start < stop:
                with self._path(kind, number).open("ab") as file:
                    file.write(ordered[start:stop].tobytes())

    def take(self, kind: str, division: int, dtype: "np.dtype[np.void]") -> Records:
        """Return the records of a kind in a division, in the order of adding; they are dropped."""
        if self.divisions == 1:
            held = self._held.pop(kind, [])
            return np.concatenate(held) if held else np.empty(0, dtype)
        path = self._path(kind, division)
        if not path.exists():
            return np.empty(0, dtype)
        found = np.fromfile(path, dtype=dtype)
        path.unlink()
        return found

    def _path(self, kind: str, division: int) -> Path:
        return self._directory / f"{kind}-{division}"


def divisions_for(rows: int, *, at_once: int) -> int:
    """Return how many divisions leave about ``at_once`` rows in each."""
    divisions = 1
    while divisions < MOST_DIVISIONS and rows > divisions * at_once:
        divisions *= 2
    return divisions


def grouped(keys: Records) -> tuple[Int64Array, Records]:
    """Return the number of each key among the distinct ones, and these in order."""
    array = np.ascontiguousarray(np.asarray(keys, dtype=KEY))
    if array.size == 0:
        return np.empty(0, np.int64), array
    halves = array.view(">u8").reshape(-1, 2).astype(np.uint64)
    order = np.lexsort([halves[:, 1], halves[:, 0]])
    inside = halves[order]
    new = np.ones(array.size, np.bool_)
    new[1:] = (inside[1:] != inside[:-1]).any(axis=1)
    codes = np.empty(array.size, np.int64)
    codes[order] = np.cumsum(new) - 1
    return codes, array[order[new]]
