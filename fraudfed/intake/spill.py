"""Blocks of bytes on disk, in a file that has no name.

The file is made with ``O_TMPFILE``, or removed as soon as it is open where the file system has no
such thing, readable for nobody else: it is gone when the process ends, however it ends. What lies
in it are rows of the bank, so it is put on the disk on which the bank's rows may lie.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError

_CODEC = "lz4"


@dataclass(frozen=True)
class _Block:
    """Where some bytes are: packed bytes from ``offset`` on, unpacked ``size``."""

    offset: int
    packed: int
    size: int


class _Spilled:
    """What lies in a nameless file of its own; a context manager, which lets go of it.

    Raises
    ------
    StateError
        If no file can be made there.
    """

    def __init__(self, directory: Path) -> None:
        self._file = _Nameless(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class SpilledTable(_Spilled):
    """Batches of rows in numbered buckets, written in any order, read bucket by bucket.

    A context manager.

    Parameters
    ----------
    schema : Arrow schema
    directory : Path
        On the disk that is to hold the rows.
    n_buckets : int
    """

    def __init__(self, schema: pa.Schema, directory: Path, *, n_buckets: int) -> None:
        super().__init__(directory)
        self._schema = schema
        self._blocks: list[list[_Block]] = [[] for _ in range(n_buckets)]

    def add(self, bucket: int, rows: pa.Table) -> None:
        """Append rows to a bucket.

        Raises
        ------
        StateError
            If the disk is full.
        """
        for batch in rows.combine_chunks().to_batches():
            plain = batch.serialize()
            packed = pa.compress(plain, codec=_CODEC, asbytes=True)
            offset = self._file.append(packed)
            self._blocks[bucket].append(_Block(offset, len(packed), plain.size))

    def read(self, bucket: int) -> pa.Table:
        """Return the rows of a bucket, in the order in which they were added."""
        batches = []
        for block in self._blocks[bucket]:
            packed = self._file.read(block.offset, block.packed)
            plain = pa.decompress(packed, decompressed_size=block.size, codec=_CODEC)
            batches.append(pa.ipc.read_record_batch(plain, self._schema))
        return pa.Table.from_batches(batches, self._schema)


class SpilledValues(_Spilled):
    """A matrix for each bucket, written whole, read from its first row to its last.

    A context manager.

    Parameters
    ----------
    n_columns : int
    directory : Path
    n_buckets : int
    """

    def __init__(self, n_columns: int, directory: Path, *, n_buckets: int) -> None:
        super().__init__(directory)
        self._n_columns = n_columns
        self._next = [0] * n_buckets

    def put(self, bucket: int, values: Float32Array) -> None:
        """Store the rows of a bucket; shape (n_rows, n_columns), row-major."""
        self._next[bucket] = self._file.append(values.reshape(-1).view(np.uint8).data)

    def take(self, bucket: int, n_rows: int) -> Float32Array:
        """Return the next rows of a bucket; shape (n_rows, n_columns)."""
        size = n_rows * self._n_columns * 4
        found = self._file.read(self._next[bucket], size)
        self._next[bucket] += size
        return np.frombuffer(found, dtype=np.float32).reshape(n_rows, self._n_columns)


class _Nameless:
    def __init__(self, directory: Path) -> None:
        try:
            # Mode 0600; on Linux it never has a name.
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 - open for as long as this object
                dir=directory, prefix=".rows-", buffering=0
            )
        except OSError as error:
            raise StateError(
                f"{directory}: no file for rows can be made ({error.strerror or error}); choose a "
                "directory on a disk with room"
            ) from error
        self._end = 0

    def append(self, content: bytes | memoryview) -> int:
        start, view = self._end, memoryview(content)
        try:
            while view.nbytes:
                written = os.pwrite(self._file.fileno(), view, self._end)
                self._end += written
                view = view[written:]
        except OSError as error:
            raise StateError(
                f"rows cannot be put on disk ({error.strerror or error}); give more room, or more "
                "memory"
            ) from error
        return start

    def read(self, offset: int, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            more = os.pread(self._file.fileno(), size - len(found), offset + len(found))
            if not more:
                raise StateError("rows on disk are cut off; give the command again")
            found += more
        return bytes(found)

    def close(self) -> None:
        self._file.close()
