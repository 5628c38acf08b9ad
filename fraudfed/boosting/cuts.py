"""Cut points: quantiles of the pooled data by rank search, through secure sums of counts only.

A float32 is mapped to an unsigned 32-bit key of the same order. The keys are cut into *buckets*
by their leading bits; a first sum counts the rows in each of 256 buckets of every feature, and
each further sum splits the buckets of interest by 4 more bits, down to ``resolution_bits`` (by
default 20: sign, exponent and 11 bits of the significand, that is a relative width of 2**-11).
An edge between bins is always an edge between buckets, so no row's value is published, only that
some lie in a bucket. One call of ``sum`` per pass serves all features.

Which buckets are of interest is decided from public counts alone, feature by feature:

* *all*: while at most ``max_bin`` buckets hold rows, every one of them is refined. A feature that
  ends so (a flag, a count, a code) gets one bin per bucket, as XGBoost gives one per value.
* *ranks*: otherwise, buckets that hold a target rank ``j * n // max_bin`` (0-based, j = 1 ..
  max_bin - 1, n rows with a value). Each target becomes the nearer edge of its bucket, so that
  at most half of the bucket's rows lie between the target and its cut.

Rows count, weights do not: an edge is a matter of resolution, and weights would enter every
published count.

The search for a quantile by counting goes back to Munro and Paterson, "Selection and sorting with
limited storage", Theoretical Computer Science 12(3), 1980, section 3.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts
from fraudfed.boosting.table import TrainingTable
from fraudfed.communicator import Communicator
from fraudfed.dtypes import Float32Array, Int64Array, UInt32Array

__all__ = ["DEFAULT_RESOLUTION_BITS", "find_cuts", "keys_from_values", "values_from_keys"]

_KEY_BITS = 32
_FIRST_BITS = 8
_STEP_BITS = 4
_SIGN = np.uint32(0x80000000)
#: 1 sign bit, 8 bits of exponent, 11 of the significand.
DEFAULT_RESOLUTION_BITS = 20


def keys_from_values(values: Float32Array) -> UInt32Array:
    """Map finite float32 to uint32 of the same order; -0.0 and 0.0 get the same key."""
    # Adding +0.0 turns -0.0 into +0.0 and changes nothing else.
    bits = np.ascontiguousarray(values + np.float32(0.0)).view(np.uint32)
    flipped: UInt32Array = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return flipped


def values_from_keys(keys: UInt32Array) -> Float32Array:
    """Invert ``keys_from_values``."""
    bits = np.where(keys & _SIGN, keys & ~_SIGN, ~keys).astype(np.uint32)
    values: Float32Array = bits.view(np.float32)
    return values


@dataclass
class _Search:
    """Public state of one feature: some buckets, ascending, at ``bits`` leading bits.

    Attributes
    ----------
    buckets : ndarray of shape (k,), dtype=int64
        Leading bits of the keys in each bucket.
    counts, below : ndarray of shape (k,), dtype=int64
        Pooled rows in each bucket, and below it.
    """

    bits: int
    buckets: Int64Array
    counts: Int64Array
    below: Int64Array
    n_values: int

    @property
    def knows_all(self) -> bool:
        """Whether every row lies in one of the buckets."""
        return int(self.counts.sum()) == self.n_values

    def keep_interesting(self, max_bin: int) -> None:
        """Drop empty buckets and, beyond ``max_bin`` of them, those without a target rank."""
        keep = self.counts > 0
        if not self.knows_all or int(keep.sum()) > max_bin:
            keep &= np.isin(np.arange(keep.size), self._bucket_of(self._targets(max_bin)))
        self.buckets, self.counts, self.below = (
            self.buckets[keep],
            self.counts[keep],
            self.below[keep],
        )

    def refine(self, split: Int64Array, *, bits: int) -> None:
        """Replace each bucket by its ``split.shape[1]`` parts with the given pooled counts."""
        n_parts = split.shape[1]
        self.buckets = (self.buckets[:, None] * n_parts + np.arange(n_parts)).reshape(-1)
        self.below = (self.below[:, None] + np.cumsum(split, axis=1) - split).reshape(-1)
        self.counts = split.reshape(-1)
        self.bits = bits

    def edges(self, max_bin: int) -> Float32Array:
        """Return the bin edges once the buckets have their final width."""
        if self.knows_all and self.buckets.size <= max_bin:
            inner = self.buckets[1:]
        else:
            targets = self._targets(max_bin)
            holder = self._bucket_of(targets)
            start, size = self.below[holder], self.counts[holder]
            upper = targets - start > start + size - targets
            ranks = start + np.where(upper, size, 0)
            edges = self.buckets[holder] + upper
            # Edges with the same rows below would make an empty bin: keep the first of each.
            ranks, first = np.unique(ranks, return_index=True)
            inner = edges[first[(ranks > 0) & (ranks < self.n_values)]]
        keys = (inner << (_KEY_BITS - self.bits)).astype(np.uint32)
        last = np.array([FLOAT32_MAX], dtype=np.float32)
        return np.concatenate((values_from_keys(keys), last))

    def _targets(self, max_bin: int) -> Int64Array:
        # Python integers: j * n may exceed 2**63 for absurd but public n only, never silently.
        ranks = [j * self.n_values // max_bin for j in range(1, max_bin)]
        return np.unique(np.array(ranks, dtype=np.int64))

    def _bucket_of(self, ranks: Int64Array) -> Int64Array:
        """Return the position of the bucket that holds each rank; empty if there are no rows."""
        if self.n_values == 0:
            return np.empty(0, dtype=np.int64)
        # The last bucket that starts at or below the rank and is not empty.
        filled = np.flatnonzero(self.counts > 0)
        found = np.searchsorted(self.below[filled], ranks, side="right") - 1
        return filled[found].astype(np.int64)


def find_cuts(
    table: TrainingTable,
    communicator: Communicator,
    *,
    max_bin: int,
    n_rows_total: int,
    resolution_bits: int = DEFAULT_RESOLUTION_BITS,
) -> Cuts:
    """Find the bin edges of the pooled rows.

    Law: the result depends on the pooled rows only, not on how they are split over banks.

    Parameters
    ----------
    table : TrainingTable
        This bank's rows; there may be none.
    communicator : Communicator
    max_bin : int
        Most bins of a numeric feature. A categorical one has a bin per category.
    n_rows_total : int
        Pooled number of rows, the bound of every count.
    resolution_bits : int
        Leading bits of a key that edges are found to: 8 to 32 in steps of 4. At 32 every edge is
        a value that some row has.

    Returns
    -------
    Cuts
        A feature without any value has a single bin.

    Raises
    ------
    ValueError
        If ``resolution_bits`` is not one of the steps.
    """
    if resolution_bits not in range(_FIRST_BITS, _KEY_BITS + 1, _STEP_BITS):
        raise ValueError(f"resolution_bits is {resolution_bits}, expected 8, 12, ... 32")
    schema = table.schema
    numeric = [f for f in range(schema.n_features) if not schema.is_categorical(f)]
    sorted_keys = [_sorted_keys(table.features[:, feature]) for feature in numeric]
    searches = _first_pass(sorted_keys, communicator, n_rows_total=n_rows_total)
    for search in searches:
        search.keep_interesting(max_bin)
    for bits in range(_FIRST_BITS + _STEP_BITS, resolution_bits + 1, _STEP_BITS):
        _refine(searches, sorted_keys, communicator, bits=bits)
        for search in searches:
            search.keep_interesting(max_bin)
    edges = dict(zip(numeric, (search.edges(max_bin) for search in searches), strict=True))
    values = tuple(
        np.arange(schema.n_categories[feature], dtype=np.float32)
        if schema.is_categorical(feature)
        else edges[feature]
        for feature in range(schema.n_features)
    )
    return Cuts(schema=schema, values=values)


def _sorted_keys(column: Float32Array) -> UInt32Array:
    return np.sort(keys_from_values(column[~np.isnan(column)]))


def _first_pass(
    sorted_keys: list[UInt32Array], communicator: Communicator, *, n_rows_total: int
) -> list[_Search]:
    n_buckets = 1 << _FIRST_BITS
    if not sorted_keys:
        return []
    buckets = np.arange(n_buckets, dtype=np.int64)
    local = np.stack([_count(keys, buckets, bits=_FIRST_BITS) for keys in sorted_keys])
    pooled = communicator.sum(local, bound=n_rows_total, label=f"cuts:{_FIRST_BITS}-bits")
    return [
        _Search(
            bits=_FIRST_BITS,
            buckets=buckets,
            counts=counts,
            below=np.cumsum(counts) - counts,
            n_values=int(counts.sum()),
        )
        for counts in pooled
    ]


def _refine(
    searches: list[_Search],
    sorted_keys: list[UInt32Array],
    communicator: Communicator,
    *,
    bits: int,
) -> None:
    """Split the buckets of all features in one sum.

    The last part of a bucket is what the others leave of it, and no part exceeds its bucket: fewer
    values and narrower slots. A bucket of one row still needs its parts: where the row lies.
    """
    n_parts = 1 << _STEP_BITS
    local, bounds = [], []
    for search, keys in zip(searches, sorted_keys, strict=True):
        parts = search.buckets[:, None] * n_parts + np.arange(n_parts - 1)
        local.append(_count(keys, parts.reshape(-1), bits=bits))
        bounds.append(np.repeat(search.counts, n_parts - 1))
    bound = np.concatenate(bounds) if bounds else np.empty(0, dtype=np.int64)
    if bound.size == 0:
        # Public: no numeric feature has any value. No bank calls.
        return
    pooled = communicator.sum(np.concatenate(local), bound=bound, label=f"cuts:{bits}-bits")
    start = 0
    for search in searches:
        stop = start + search.buckets.size * (n_parts - 1)
        known = pooled[start:stop].reshape(-1, n_parts - 1)
        rest = search.counts[:, None] - known.sum(axis=1, keepdims=True)
        search.refine(np.concatenate((known, rest), axis=1), bits=bits)
        start = stop


def _count(sorted_keys: UInt32Array, buckets: Int64Array, *, bits: int) -> Int64Array:
    """Count this bank's keys in each bucket of ``bits`` leading bits."""
    leading = sorted_keys >> np.uint32(_KEY_BITS - bits)
    low = np.searchsorted(leading, buckets.astype(np.uint32), side="left")
    high = np.searchsorted(leading, buckets.astype(np.uint32), side="right")
    return (high - low).astype(np.int64)
