"""Find identifiers that occur twice, in the same memory for any number of rows.

Each identifier is hashed to 64 bits. The top bits choose one of 64 files on disk, and each file is
sorted in memory. Equal hashes are only a suspicion: the caller reads both rows again.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa

_TOP_BITS: Final = 6
_ENTRY: Final = np.dtype([("hash", "<u8"), ("place", "<i8")])


class SeenIds:
    """The identifiers seen so far, each with its place; a context manager."""

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="data-gen-ids-")
        root = Path(self._directory.name)
        self._paths = [root / f"{number}.ids" for number in range(1 << _TOP_BITS)]
        self._files = [path.open("wb") for path in self._paths]
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
        self._directory.cleanup()

    def add(self, identifiers: pa.ChunkedArray, first_place: int) -> None:
        """Add identifiers; null ones are left out.

        Parameters
        ----------
        identifiers : pyarrow.ChunkedArray of strings
        first_place : int
            Place of the first identifier; the others follow it.
        """
        values = identifiers.to_numpy()
        entries = np.empty(len(values), dtype=_ENTRY)
        entries["hash"] = pd.util.hash_array(values, categorize=False)
        entries["place"] = first_place + np.arange(len(values))
        entries = entries[identifiers.is_valid().to_numpy()]
        top = (entries["hash"] >> np.uint64(64 - _TOP_BITS)).astype(np.intp)
        order = np.argsort(top, kind="stable")
        ends = np.searchsorted(top[order], np.arange(len(self._files) + 1))
        for number, file in enumerate(self._files):
            file.write(entries[order[ends[number] : ends[number + 1]]].tobytes())

    def suspects(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of places whose identifiers have the same hash, the earlier place first."""
        for file, path in zip(self._files, self._paths, strict=True):
            file.flush()
            entries = np.fromfile(path, dtype=_ENTRY)
            entries = entries[np.argsort(entries["hash"], kind="stable")]
            again = np.flatnonzero(entries["hash"][1:] == entries["hash"][:-1])
            for index in again:
                yield int(entries["place"][index]), int(entries["place"][index + 1])
