"""A hash of a table's content: of the values of its columns, not of the bytes of a file.

Two tables have the same digest if and only if they have the same columns (name, type, order) and
rows, up to collisions of SHA-256. The digest does not depend on row groups, file
format or version of the writer, so Parquet and CSV files of one data set have the same digest.

Two streams are hashed per column. The first has one byte per row: 1 if a value is present, else 0.
The second has the values, little-endian, with 0 for a missing one. For text the first stream has
the length instead (int32, -1 if missing), and the second has the UTF-8 bytes.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DOMAIN: Final = b"data-gen content v1\n"


class _ColumnDigest:
    """The two streams of one column."""

    def __init__(self, field: pa.Field) -> None:
        self._head = f"{field.name}\n{field.type}\n".encode()
        self._is_text = pa.types.is_string(field.type)
        self._present = hashlib.sha256()
        self._values = hashlib.sha256()

    def update(self, column: pa.Array) -> None:
        if not self._is_text:
            self._present.update(column.is_valid().cast(pa.uint8()).to_numpy().data)
            filled = (
                pc.fill_null(column, pa.scalar(0, column.type)) if column.null_count else column
            )
            self._values.update(np.ascontiguousarray(filled.to_numpy()).data)
            return
        lengths = pc.fill_null(pc.binary_length(column), -1)
        self._present.update(lengths.to_numpy().data)
        # A null may cover bytes that are not part of the content.
        filled = pc.fill_null(column, "") if column.null_count else column
        offsets = np.frombuffer(filled.buffers()[1], dtype=np.int32)
        first, last = offsets[filled.offset], offsets[filled.offset + len(filled)]
        text = filled.buffers()[2]
        if text is not None:
            self._values.update(memoryview(text)[first:last])

    def digest(self) -> bytes:
        return self._head + self._present.digest() + self._values.digest()


class ContentDigest:
    """Digest of a table given in pieces; it does not depend on where the pieces begin.

    Parameters
    ----------
    schema : pyarrow.Schema
        Columns of type string, or of whole or floating numbers.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._columns = [_ColumnDigest(field) for field in schema]

    def update(self, table: pa.Table) -> None:
        """Add rows; ``table`` has the columns of the schema, in its order."""
        for digest, column in zip(self._columns, table.columns, strict=True):
            for chunk in column.chunks:
                if len(chunk):
                    digest.update(chunk)

    def hexdigest(self) -> str:
        """Return the digest of all rows so far as lower-case hexadecimal digits."""
        return hashlib.sha256(
            _DOMAIN + b"".join(column.digest() for column in self._columns)
        ).hexdigest()


def combined_digest(digests: Iterable[tuple[str, str]]) -> str:
    """Return one digest over several named ones, such as those of all banks, in their order."""
    lines = "".join(f"{name} {digest}\n" for name, digest in digests)
    return hashlib.sha256(_DOMAIN + lines.encode()).hexdigest()
