"""A count-min sketch: counts under hashed identifiers, in an array of public size.

G. Cormode and S. Muthukrishnan, "An improved data stream summary: the count-min sketch and its
applications", Journal of Algorithms 55 (2005), pages 58-75. Each identifier has one counter in each
row; its estimate is the least of them. Laws: an estimate is never below the truth, and the sketch
of two multisets is the sum of their sketches. Conservative updates would err less, but break the
second law, on which a sum over banks rests.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fraudfed.dtypes import Int64Array, UInt32Array

#: Counters of a sketch of shape (depth, width), in whatever integer type holds them.
CountArray: TypeAlias = npt.NDArray[np.integer]

HASH_KEY_BYTES = 32
#: BLAKE2b's personalization: these hashes are for nothing else.
_PERSON = b"fraudfed risk v1"
_KEY_ID_DOMAIN = b"fraudfed risk key id v1\0"
#: Of one hash, for one row: widths go up to 2^22.
_ROW_BYTES = 4


@dataclass(frozen=True)
class ExcessBound:
    """How far estimates lie above the truth.

    Attributes
    ----------
    expected : float
        Most that an estimate exceeds the truth by on average: what one row alone does.
    bound : float
        An estimate exceeds the truth by no more than this, but for ``failure_probability``.
    failure_probability : float
    """

    expected: float
    bound: float
    failure_probability: float


def hash_key_id(hash_key: bytes) -> bytes:
    """Return 16 bytes that name a hash key and do not reveal it."""
    return hashlib.sha256(_KEY_ID_DOMAIN + hash_key).digest()[:16]


def hash_identifiers(
    entity: str, identifiers: Iterable[str], *, hash_key: bytes, depth: int
) -> UInt32Array:
    """Hash identifiers of one kind of entity with keyed BLAKE2b (RFC 7693).

    Parameters
    ----------
    entity : str
        Kind; the same identifier of another kind has other hashes.
    identifiers : iterable of str
    hash_key : bytes of length 32
    depth : int
        Hashes for each identifier, 1 to 16.

    Returns
    -------
    ndarray of shape (n_identifiers, depth), dtype=uint32
        Column of row ``r`` of a sketch: ``hashes[:, r] % width``, unbiased for powers of two.

    Raises
    ------
    ValueError
        If the key has another length.
    """
    if len(hash_key) != HASH_KEY_BYTES:
        raise ValueError(f"hash key has {len(hash_key)} bytes, expected {HASH_KEY_BYTES}")
    # No name of a kind holds a zero byte, so kind and identifier cannot run into each other.
    start = hashlib.blake2b(
        entity.encode() + b"\0", key=hash_key, digest_size=_ROW_BYTES * depth, person=_PERSON
    )
    digests = []
    for identifier in identifiers:
        state = start.copy()
        state.update(identifier.encode("utf-8", "surrogatepass"))
        digests.append(state.digest())
    flat = np.frombuffer(b"".join(digests), dtype="<u4").astype(np.uint32)
    return flat.reshape(-1, depth)


def rotated(hashes: UInt32Array, days: int) -> UInt32Array:
    """Return hashes of identifiers on a day: the columns moved on by the day, in every row.

    So one sketch holds counts of an identifier for several days apart from each other: those of
    fewer days than columns never share a counter. Between two identifiers and any two days
    the columns of a row agree with probability 1 / width, as without.

    Parameters
    ----------
    hashes : ndarray of shape (n, depth), dtype=uint32
    days : int
        Days since 1970-01-01 UTC, at least 0.
    """
    return hashes + np.uint32(days % (1 << 32))


def sketch_of(hashes: UInt32Array, counts: Int64Array, *, width: int) -> Int64Array:
    """Return the sketch of some identifiers with their counts.

    Parameters
    ----------
    hashes : ndarray of shape (n, depth), dtype=uint32
    counts : ndarray of shape (n,), dtype=int64
    width : int
        A power of two.

    Returns
    -------
    ndarray of shape (depth, width), dtype=int64
        Each row adds up to the sum of ``counts``.
    """
    depth = hashes.shape[1]
    sketch = np.zeros((depth, width), dtype=np.int64)
    for row in range(depth):
        np.add.at(sketch[row], columns_of(hashes, row, width=width), counts)
    return sketch


def columns_of(hashes: UInt32Array, row: int, *, width: int) -> Int64Array:
    """Return the counter of each identifier in one row; shape (n,), dtype=int64."""
    return (hashes[:, row] & np.uint32(width - 1)).astype(np.int64)


def estimate(sketch: CountArray, columns: list[Int64Array]) -> Int64Array:
    """Return the estimated count of identifiers: the least of their counters.

    Parameters
    ----------
    sketch : ndarray of shape (depth, width), of an integer type
    columns : list of ndarray of shape (n,), dtype=int64
        ``columns_of`` of each row.

    Returns
    -------
    ndarray of shape (n,), dtype=int64
    """
    least = sketch[0].take(columns[0])
    for row in range(1, len(columns)):
        np.minimum(least, sketch[row].take(columns[row]), out=least)
    found: Int64Array = least.astype(np.int64)
    return found


def excess_bound(*, total: int, width: int, depth: int) -> ExcessBound:
    """Say how far the estimates of one sketch are off, from its size and load alone.

    The expectation is that of one row: everything else falls into a given counter with probability
    1 / width. The bound is Theorem 1 of the paper with epsilon = e / width, delta = e^-depth.

    Parameters
    ----------
    total : int
        Sum of all counts in the sketch.
    """
    return ExcessBound(
        expected=total / width,
        bound=math.e * total / width,
        failure_probability=math.exp(-depth),
    )


def false_presence(sketch: CountArray) -> float:
    """Measure the probability that an identifier with no count at all gets one.

    That happens if it meets a counter above 0 in every row, and its columns are independent.

    Parameters
    ----------
    sketch : ndarray of shape (depth, width), of an integer type
    """
    return float(np.prod(np.count_nonzero(sketch, axis=1) / sketch.shape[1]))
