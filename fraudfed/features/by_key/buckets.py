"""Rows divided by key: into buckets whose columns can be computed one after the other, anywhere.

A bucket holds all payments of some keys of one group (``groups``), and of each payment only
what the group looks at. Which bucket a key is in follows from a hash of it: SipHash-2-4 under a
fixed key, as ``pandas.util.hash_array`` computes it, the same in every process. No value depends on
the choice; it only has to be the same for the same key while one table is built.

A bucket is never smaller than the payments of its most frequent key.
"""

from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.dtypes import Int64Array, UInt64Array
from fraudfed.features.by_key.groups import KeyGroup, RawColumns

#: 16 bytes; public, and the same for ever: no secret depends on which bucket a key is in.
_HASH_KEY: Final = "fraudfed buckets"
#: Bytes of memory that a row of a bucket takes while its columns are computed, at most: texts as
#: Python has them, and some 20 arrays of 8 bytes.
BUCKET_ROW_BYTES: Final = 1024
MOST_BUCKETS: Final = 4096

_NUMBERS: Final = {
    "event_time": pa.int64(),
    "amount_minor": pa.int64(),
    "latitude": pa.float64(),
    "longitude": pa.float64(),
    "is_fraud": pa.float32(),
    "label_time": pa.int64(),
}


def key_hashes(keys: "pd.Series[str]") -> UInt64Array:
    """Return a hash of each key; of one that is missing, that of the empty text.

    Parameters
    ----------
    keys : Series of shape (n_rows,)
        Texts.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=uint64
    """
    texts = keys.to_numpy(dtype=object, copy=True)
    texts[keys.isna().to_numpy(dtype=np.bool_)] = ""
    return pd.util.hash_array(texts, hash_key=_HASH_KEY, categorize=True).astype(
        np.uint64, copy=False
    )


def bucket_numbers(transactions: pd.DataFrame, key: str, *, n_buckets: int) -> Int64Array:
    """Return the bucket of each row by a key, -1 where it has none.

    Parameters
    ----------
    transactions : DataFrame
        May lack the column.
    key : str
        Column of texts.
    n_buckets : int

    Returns
    -------
    ndarray of shape (n_rows,), dtype=int64
    """
    if key not in transactions.columns:
        return np.full(len(transactions), -1, dtype=np.int64)
    numbers = (key_hashes(transactions[key]) % np.uint64(n_buckets)).astype(np.int64)
    numbers[transactions[key].isna().to_numpy(dtype=np.bool_)] = -1
    return numbers


def rows_by_bucket(numbers: Int64Array, *, n_buckets: int) -> list[Int64Array]:
    """Return the rows of each bucket, ascending; rows of bucket -1 are in none."""
    order = np.argsort(numbers, kind="stable")
    edges = np.searchsorted(numbers[order], np.arange(n_buckets + 1))
    return [order[edges[n] : edges[n + 1]] for n in range(n_buckets)]


def group_schema(group: KeyGroup) -> pa.Schema:
    """Return the columns of a group's buckets as Arrow has them."""
    return pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in group.columns])


def group_rows(group: KeyGroup, raw: RawColumns, transactions: pd.DataFrame) -> pa.Table:
    """Return what a group looks at, in the types of ``group_schema``.

    Parameters
    ----------
    group : KeyGroup
    raw : RawColumns
        Of the same rows.
    transactions : DataFrame
        Columns that it lacks are missing in every row.
    """
    numbers = {
        "event_time": raw.time,
        "amount_minor": raw.amount,
        "latitude": raw.latitude,
        "longitude": raw.longitude,
        "is_fraud": raw.labels,
        "label_time": raw.label_time,
    }
    columns = []
    for field in group_schema(group):
        if field.name in numbers:
            columns.append(pa.array(numbers[field.name], field.type))
        elif field.name in transactions.columns:
            texts = transactions[field.name].to_numpy(dtype=object)
            columns.append(pa.array(texts, field.type, from_pandas=True))
        else:
            columns.append(pa.nulls(len(transactions), field.type))
    return pa.table(columns, schema=group_schema(group))


def n_buckets_for(n_rows: int, *, memory_bytes: int) -> int:
    """Return into how many buckets rows are divided so that one fits into some memory.

    Parameters
    ----------
    n_rows : int
        About.
    memory_bytes : int
    """
    return max(1, min(MOST_BUCKETS, -(-n_rows * BUCKET_ROW_BYTES // max(memory_bytes, 1))))


def repeated_identifier(identifiers: pa.ChunkedArray) -> tuple[str, int, int] | None:
    """Return the first text that occurs again, with the places of its first two occurrences."""
    texts = identifiers.to_pandas()
    again = np.flatnonzero(texts.duplicated().to_numpy(dtype=np.bool_))
    if not again.size:
        return None
    value = str(texts.iloc[again[0]])
    first, second = np.flatnonzero((texts == value).to_numpy(dtype=np.bool_))[:2]
    return value, int(first), int(second)
