"""Bin edges that cost little: declared in the contract, or found by counts with noise.

The search is that of ``fraudfed.boosting.cuts``, pass after pass of 4 more leading bits, with three
differences: counts carry noise; a bucket counts as empty below 5 sigma, so that noise alone makes
no bin; and the last part of a bucket is summed as well, as nothing follows exactly from noised
counts. The number of passes is fixed.
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts
from fraudfed.boosting.cuts import DEFAULT_RESOLUTION_BITS, BucketSearch
from fraudfed.boosting.engine.keys import KEY_BITS, N_PARTS, STEP_BITS
from fraudfed.boosting.private.bounds import PrivateBounds
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.boosting.table import FeatureSchema
from fraudfed.communicator import NoisingCommunicator
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import CUTS_PASSES, PRIVATE_BITS, PrivacyPlan, variance_of

#: Deviations of noise that a bucket must stand out by: noise does once in 3.5 million tries.
THRESHOLD_SIGMAS: Final = 5.0


def declared_cuts(
    schema: FeatureSchema, edges: Mapping[str, Float32Array], *, max_bin: int
) -> Cuts:
    """Return the cuts that a contract declares.

    Parameters
    ----------
    schema : FeatureSchema
    edges : mapping of str to ndarray of shape (n,), dtype=float32
        Of each numeric feature, ascending: a value at an edge is in the bin above it.
    max_bin : int

    Raises
    ------
    ParameterError
        If a numeric feature has no edges, or they do not ascend, are not finite, or make more than
        ``max_bin`` bins; or if they are of anything else.
    """
    numeric = {schema.names[f] for f in range(schema.n_features) if not schema.is_categorical(f)}
    if unknown := sorted(set(edges) - numeric):
        raise ParameterError(f"cuts are declared for {unknown[0]!r}, which is no numeric feature")
    if missing := sorted(numeric - set(edges)):
        raise ParameterError(
            f"no cuts are declared for {missing[0]!r}, and the run takes cuts from the contract; "
            "declare them for all numeric features, or have them found with noise"
        )
    values = []
    for feature, name in enumerate(schema.names):
        if schema.is_categorical(feature):
            values.append(np.arange(schema.n_categories[feature], dtype=np.float32))
            continue
        inner = np.asarray(edges[name], dtype=np.float32)
        ascends = bool((inner[:-1] < inner[1:]).all()) and bool(np.isfinite(inner).all())
        if not ascends or (inner.size and float(inner[-1]) >= FLOAT32_MAX):
            raise ParameterError(f"cuts of {name!r} are not finite numbers that ascend as float32")
        if inner.size >= max_bin:
            raise ParameterError(
                f"cuts of {name!r} make {inner.size + 1} bins and max_bin is {max_bin}; declare "
                "fewer, or raise max_bin"
            )
        values.append(np.append(inner, np.float32(FLOAT32_MAX)))
    return uncounted(schema, tuple(values))


def find_private_cuts(
    params: BoosterParams,
    shard: Shard,
    plan: PrivacyPlan,
    bounds: PrivateBounds,
    communicator: NoisingCommunicator,
    *,
    customer_rows: int | None,
) -> Cuts:
    """Find bin edges in ``CUTS_PASSES`` noised sums; none if no feature is numeric.

    Of each customer ``customer_rows`` rows are counted at most; None is every row.

    Raises
    ------
    FraudFedError
        If a sum fails.
    """
    schema = shard.schema
    numeric = [f for f in range(schema.n_features) if not schema.is_categorical(f)]
    found: dict[int, Float32Array] = {}
    if numeric and plan.cuts is not None:
        release = plan.cuts.release
        threshold = THRESHOLD_SIGMAS * math.sqrt(variance_of(release)) / (1 << PRIVATE_BITS)
        counter = shard.key_counter(np.array(numeric, dtype=np.int64), customer_rows=customer_rows)

        def noised(local: Int64Array, number: int) -> Int64Array:
            opened = communicator.noised_sum(
                local << PRIVATE_BITS,
                bound=bounds.count,
                low=0,
                label=f"noised-cuts:pass {number}",
                release=release,
            )
            rows = (opened + (1 << (PRIVATE_BITS - 1))) >> PRIVATE_BITS
            return np.where(rows >= threshold, np.maximum(rows, 0), 0)

        lows = np.arange(N_PARTS, dtype=np.int64) << (KEY_BITS - STEP_BITS)
        bits = np.full(N_PARTS, STEP_BITS, dtype=np.int64)
        counts = counter.count([lows] * len(numeric), [bits] * len(numeric))
        searches = [
            BucketSearch.begin(rows, max_bin=params.max_bin)
            for rows in noised(counts.reshape(len(numeric), -1), 1)
        ]
        for number in range(2, CUTS_PASSES + 1):
            chosen = [search.unfinished(DEFAULT_RESOLUTION_BITS) for search in searches]
            parts = counter.count(
                [s.lows[at] for s, at in zip(searches, chosen, strict=True)],
                [s.bits[at] for s, at in zip(searches, chosen, strict=True)],
            )
            if not parts.size:
                break
            opened = noised(parts, number)
            stops = np.cumsum([at.size for at in chosen])[:-1]
            for search, at, part in zip(searches, chosen, np.split(opened, stops), strict=True):
                _refine(search, at, part)
        found = {f: search.bins()[0] for f, search in zip(numeric, searches, strict=True)}
    single = np.array([FLOAT32_MAX], dtype=np.float32)
    values = tuple(
        np.arange(schema.n_categories[f], dtype=np.float32)
        if schema.is_categorical(f)
        else found.get(f, single)
        for f in range(schema.n_features)
    )
    return uncounted(schema, values)


def uncounted(schema: FeatureSchema, values: tuple[Float32Array, ...]) -> Cuts:
    """Return cuts without a word on how many rows are in a bin: zeros stand where counts would."""
    counts = {
        feature: np.zeros(len(edges), dtype=np.int64)
        for feature, edges in enumerate(values)
        if not schema.is_categorical(feature)
    }
    return Cuts(schema=schema, values=values, counts=counts)


def _refine(search: BucketSearch, positions: Int64Array, parts: Int64Array) -> None:
    """Split buckets; one whose parts are all lost in noise keeps its width, and is done."""
    is_lost = parts.sum(axis=1) == 0
    lost = positions[is_lost]
    search.bits[lost] = np.maximum(search.bits[lost], DEFAULT_RESOLUTION_BITS)
    search.refine(positions[~is_lost], parts[~is_lost])
