"""Cut points: quantiles of the pooled data by rank search, through secure sums of counts only.

A float32 is mapped to an unsigned 32-bit key of the same order. The keys are cut into *buckets* by
their leading bits; a first sum counts the rows in each of 256 buckets of every feature, and each
further pass splits the buckets of interest by 4 more bits, down to ``resolution_bits`` (by default
20: sign, exponent and 11 bits of the significand, that is a relative width of 2**-11). An edge
between bins is always an edge between buckets, so no row's value is published, only that some lie
in a bucket. One call of ``sum`` per pass serves all features.

What is of interest is decided from public counts alone, feature by feature:

* While at most ``max_bin`` buckets hold rows, every one of them. A feature that ends so (a flag, a
  count, a code) gets one bin per bucket, as XGBoost gives one per value.
* Otherwise, *heavy* buckets, which hold at least the rows of an average bin, and those that hold a
  target rank. A heavy bucket takes a bin of its own, and the other bins share out the other rows
  evenly. This is what keeps the tail of a fraud rate apart when 98 % of the rows hold a zero:
  plain quantiles would spend 63 of 64 bins on the zero. (XGBoost's sketch leaves the rows of the
  smallest and the largest value out of its ranks, to the same end.) Each target becomes the nearer
  edge of its bucket, so at most half of the bucket's rows lie between a target and its cut.

The passes end when everything of interest has its final width.

Rows count, weights do not: an edge is a matter of resolution, and weights would enter every
published count.

The search for a quantile by counting goes back to Munro and Paterson, "Selection and sorting with
limited storage", Theoretical Computer Science 12(3), 1980, section 3.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts
from fraudfed.boosting.engine.keys import KEY_BITS, N_PARTS, STEP_BITS, values_from_keys
from fraudfed.boosting.engine.protocol import KeyCounter
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.communicator import Communicator, Summing, SumRequest, carry_out
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.held_sums import hold_buckets, hold_parts

FIRST_BITS = 8
#: 1 sign bit, 8 bits of exponent, 11 of the significand.
DEFAULT_RESOLUTION_BITS = 20


@dataclass
class BucketSearch:
    """Public state of one feature: the buckets that hold rows, ascending, of mixed width.

    Attributes
    ----------
    lows : ndarray of shape (k,), dtype=int64
        Smallest key of each bucket.
    bits : ndarray of shape (k,), dtype=int64
        Leading bits that the keys of a bucket share; its width is ``2 ** (32 - bits)``.
    counts : ndarray of shape (k,), dtype=int64
        Pooled rows in each bucket, at least 1.
    max_bin : int
    """

    lows: Int64Array
    bits: Int64Array
    counts: Int64Array
    max_bin: int
    #: Heavy buckets of the present state, once they were asked for.
    _heavy_now: BoolArray | None = field(default=None, init=False)

    @classmethod
    def begin(cls, counts: Int64Array, *, max_bin: int) -> "BucketSearch":
        """Return the state after the first pass: rows of all buckets of the first width."""
        lows = np.arange(1 << FIRST_BITS, dtype=np.int64) << (KEY_BITS - FIRST_BITS)
        holds = counts > 0
        bits = np.full(np.count_nonzero(holds), FIRST_BITS, dtype=np.int64)
        return cls(lows=lows[holds], bits=bits, counts=counts[holds], max_bin=max_bin)

    @property
    def _has_bin_per_bucket(self) -> bool:
        return self.counts.size <= self.max_bin

    def unfinished(self, resolution_bits: int) -> Int64Array:
        """Return the positions of the buckets of interest that are still too wide."""
        interesting = np.ones(self.counts.size, dtype=np.bool_)
        if not self._has_bin_per_bucket:
            interesting = self._heavy().copy()
            interesting[self._targets()[1]] = True
        return np.flatnonzero(interesting & (self.bits < resolution_bits))

    def refine(self, positions: Int64Array, parts: Int64Array) -> None:
        """Replace buckets by their parts of the given pooled counts, shape (n, n_parts)."""
        n_parts = parts.shape[1]
        widths = np.int64(1) << (KEY_BITS - STEP_BITS - self.bits[positions])
        lows = self.lows[positions, None] + widths[:, None] * np.arange(n_parts)
        bits = np.broadcast_to(self.bits[positions, None] + STEP_BITS, parts.shape)
        lows = np.concatenate((np.delete(self.lows, positions), lows.reshape(-1)))
        bits = np.concatenate((np.delete(self.bits, positions), bits.reshape(-1)))
        counts = np.concatenate((np.delete(self.counts, positions), parts.reshape(-1)))
        order = np.argsort(lows, kind="stable")
        order = order[counts[order] > 0]
        self.lows, self.bits, self.counts = lows[order], bits[order], counts[order]
        self._heavy_now = None

    def bins(self) -> tuple[Float32Array, Int64Array]:
        """Return bin edges and pooled rows per bin, once what is of interest has its final width.

        An edge between bins is one between buckets, so that the rows of a bin are known as well.
        """
        if self._has_bin_per_bucket:
            chosen = np.arange(1, self.counts.size)
        else:
            targets, holders = self._targets()
            light = np.where(self._heavy(), 0, self.counts)
            start = np.cumsum(light)[holders] - light[holders]
            upper = targets - start > start + light[holders] - targets
            chosen = np.union1d(self._edges_of_heavy(), holders + upper)
            chosen = chosen[(chosen > 0) & (chosen < self.counts.size)]
        # The edge below a bucket is its smallest key: between buckets there are no rows.
        inner = values_from_keys(self.lows[chosen].astype(np.uint32))
        edges = np.concatenate((inner, np.array([FLOAT32_MAX], dtype=np.float32)))
        through = np.cumsum(np.append(self.counts, 0))
        return edges, np.diff(through[np.append(chosen, self.counts.size) - 1], prepend=0)

    def _heavy(self) -> BoolArray:
        """Tell which buckets hold at least as many rows as a bin that they leave to the others."""
        if self._heavy_now is not None:
            return self._heavy_now
        order = np.argsort(-self.counts, kind="stable")
        rest = int(self.counts.sum())
        n_heavy = 0
        for count in self.counts[order[: self.max_bin - 1]].tolist():
            if count * (self.max_bin - n_heavy) < rest:
                break
            rest -= count
            n_heavy += 1
        heavy = np.zeros(self.counts.size, dtype=np.bool_)
        heavy[order[:n_heavy]] = True
        self._heavy_now = heavy
        return heavy

    def _edges_of_heavy(self) -> Int64Array:
        """Return the positions of the edges that set heavy buckets apart, as far as they go."""
        heavy = np.flatnonzero(self._heavy())
        both = np.union1d(heavy, heavy + 1)
        both = both[(both > 0) & (both < self.counts.size)]
        return (both if both.size < self.max_bin else heavy[heavy > 0]).astype(np.int64)

    def _targets(self) -> tuple[Int64Array, Int64Array]:
        """Return ranks among the rows outside heavy buckets, and the bucket of each."""
        light = np.where(self._heavy(), 0, self.counts)
        n_light = int(light.sum())
        n_targets = self.max_bin - 1 - self._edges_of_heavy().size
        if n_light == 0 or n_targets == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        ranks = [j * n_light // (n_targets + 1) for j in range(1, n_targets + 1)]
        targets = np.unique(np.array(ranks, dtype=np.int64))
        return targets, np.searchsorted(np.cumsum(light), targets, side="right").astype(np.int64)


def find_cuts(
    shard: Shard,
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
    shard : Shard
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
    SumError
        If the counts of a pass are none of the rows.
    FraudFedError
        If a sum fails.
    """
    finding = finding_cuts(
        shard, max_bin=max_bin, n_rows_total=n_rows_total, resolution_bits=resolution_bits
    )
    return carry_out(finding, communicator)


def finding_cuts(
    shard: Shard,
    *,
    max_bin: int,
    n_rows_total: int,
    resolution_bits: int = DEFAULT_RESOLUTION_BITS,
) -> Summing[Cuts]:
    """Find bin edges as ``find_cuts`` does, and leave the sums to the caller."""
    if resolution_bits not in range(FIRST_BITS, KEY_BITS + 1, STEP_BITS):
        raise ValueError(f"resolution_bits is {resolution_bits}, expected 8, 12, ... 32")
    schema = shard.schema
    numeric = [f for f in range(schema.n_features) if not schema.is_categorical(f)]
    counter = shard.key_counter(np.array(numeric, dtype=np.int64))
    searches = yield from _first_pass(counter, max_bin=max_bin, n_rows=n_rows_total)
    for number in itertools.count(2):
        positions = [search.unfinished(resolution_bits) for search in searches]
        if not any(chosen.size for chosen in positions):
            break
        yield from _refine(searches, positions, counter, label=f"cuts:pass {number}")
    found = {feature: search.bins() for feature, search in zip(numeric, searches, strict=True)}
    values = tuple(
        np.arange(schema.n_categories[feature], dtype=np.float32)
        if schema.is_categorical(feature)
        else found[feature][0]
        for feature in range(schema.n_features)
    )
    counts = {feature: n_rows for feature, (_, n_rows) in found.items()}
    return Cuts(schema=schema, values=values, counts=counts)


def _first_pass(counter: KeyCounter, *, max_bin: int, n_rows: int) -> Summing[list[BucketSearch]]:
    n_features = counter.columns.size
    if n_features == 0:
        return []
    # 16 buckets of 4 bits, each in 16 parts.
    lows = np.arange(N_PARTS, dtype=np.int64) << (KEY_BITS - STEP_BITS)
    bits = np.full(N_PARTS, STEP_BITS, dtype=np.int64)
    local = counter.count([lows] * n_features, [bits] * n_features)
    pooled = yield SumRequest(
        values=local.reshape(n_features, -1), bound=n_rows, low=0, label="cuts:pass 1"
    )
    hold_buckets(pooled, n_rows=n_rows)
    return [BucketSearch.begin(counts, max_bin=max_bin) for counts in pooled]


def _refine(
    searches: list[BucketSearch],
    positions: list[Int64Array],
    counter: KeyCounter,
    *,
    label: str,
) -> Summing[None]:
    """Split the chosen buckets of all features in one sum.

    The last part of a bucket is what the others leave of it, and no part exceeds its bucket: fewer
    values and narrower slots. A bucket of one row still needs its parts: where the row lies.
    """
    asked = list(zip(searches, positions, strict=True))
    local = counter.count(
        [search.lows[chosen] for search, chosen in asked],
        [search.bits[chosen] for search, chosen in asked],
    )
    holders = np.concatenate([search.counts[chosen] for search, chosen in asked])
    bounds = np.repeat(holders[:, None], N_PARTS - 1, axis=1)
    known = yield SumRequest(
        values=np.ascontiguousarray(local[:, :-1]), bound=bounds, low=0, label=label
    )
    hold_parts(known, holders)
    rest = holders[:, None] - known.sum(axis=1, keepdims=True)
    parts = np.concatenate((known, rest), axis=1)
    stops = np.cumsum([chosen.size for chosen in positions])[:-1]
    for (search, chosen), part in zip(asked, np.split(parts, stops), strict=True):
        search.refine(chosen, part)
