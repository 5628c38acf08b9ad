"""The noise of a release, one bank's part of it, and how far all parts together can reach."""

import math
import secrets
from collections.abc import Callable

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError
from fraudfed.privacy.distance import LEAST_PART_VARIANCE
from fraudfed.privacy.noise.keystream import KEY_BYTES
from fraudfed.privacy.noise.sampler import check_variances, sample
from fraudfed.privacy.releases import NoisedRelease

#: A little above ln 2, as a fraction of whole numbers.
_LN_2, _LN_2_OF = 6_931_471_806, 10_000_000_000


def draw(release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
    """Return all noise of a release, from a fresh key of the operating system.

    What one machine adds that is a cohort of its own; ``NoisySoloCommunicator`` takes it.

    Parameters
    ----------
    release : NoisedRelease
    shape : tuple of int
        Of the values.

    Raises
    ------
    BoundError
        As ``sample``.
    """
    variances = np.broadcast_to(np.asarray(release.variance, dtype=np.int64), shape)
    return sample(variances, secrets.token_bytes(KEY_BYTES))


def part_variance(
    variance: int | Int64Array, *, n_banks: int, tolerated_colluders: int
) -> Int64Array:
    """Return the variance of each bank's part: ``ceil(variance / (n_banks - colluders))``.

    Law: what is left when the parts of ``tolerated_colluders`` banks are subtracted has at least
    ``variance``.

    Parameters
    ----------
    variance : int or ndarray, dtype=int64
        Of a release.
    n_banks : int
        Banks of the generation.
    tolerated_colluders : int

    Returns
    -------
    ndarray of the shape of ``variance``, dtype=int64

    Raises
    ------
    BoundError
        If a part would be too narrow (sigma below 2^8 units, which ``privacy.distance`` builds on)
        or too wide, or nobody is left.
    """
    honest = n_banks - tolerated_colluders
    if tolerated_colluders < 0 or honest < 1:
        raise BoundError(
            f"noise of {n_banks} banks of which {tolerated_colluders} may collude: expected at "
            "least one that does not"
        )
    whole = np.asarray(variance, dtype=np.int64)
    check_variances(whole)
    # -(-a // b) is the ceiling, and -a cannot overflow: a is at least 1.
    parts = np.asarray(-(-whole // honest), dtype=np.int64)
    if (parts < LEAST_PART_VARIANCE).any():
        raise BoundError(
            f"a bank's part of the noise has the variance {int(parts.min())}, expected at least "
            f"{LEAST_PART_VARIANCE} units^2 (sigma of 2^8); spend less of the budget on this sum, "
            "or count it in finer units"
        )
    return parts


def tail(
    variance: int | Int64Array,
    *,
    n_banks: int,
    tolerated_colluders: int,
    n_values: int,
    bits: int = 60,
) -> Int64Array:
    """Return how far the noise of all banks may lie from 0, except with probability 2^-bits.

    The probability is that of *any* of ``n_values`` values lying further out, so with all noised
    values of a run as ``n_values`` it is the run's.

    A discrete Gaussian X is sub-Gaussian with its own parameter: ``E exp(l X)`` is
    ``exp(l^2 v / 2)`` times ``sum_z exp(-(z - l v)^2 / 2v) / sum_z exp(-z^2 / 2v)``, and a shifted
    sum is never above the one that is not (Poisson summation; Canonne, Kamath, Steinke, section 3).
    Hence the sum of k independent parts of variance p lies outside x with probability at most
    ``2 exp(-x^2 / 2kp)``, and a union bound covers all values.

    Parameters
    ----------
    variance, n_banks, tolerated_colluders
        As ``part_variance``. All banks' noise counts here, the colluders' too.
    n_values : int
        At least 1.
    bits : int

    Returns
    -------
    ndarray of the shape of ``variance``, dtype=int64

    Raises
    ------
    BoundError
        As ``part_variance``, or if a tail leaves 62 bits.
    """
    parts = part_variance(variance, n_banks=n_banks, tolerated_colluders=tolerated_colluders)
    # log2(2 n) is at most this.
    halvings = bits + 1 + (n_values - 1).bit_length()
    return _of_each(parts, lambda part: _root_above(2 * n_banks * part * halvings))


def _root_above(twice: int) -> int:
    """Return a whole number at or above the square root of ``twice * ln 2``."""
    root = math.isqrt(-(-twice * _LN_2 // _LN_2_OF)) + 1
    if root >= 1 << 62:
        raise BoundError(
            "the noise of all banks could leave 62 bits; spend more of the budget on this sum"
        )
    return root


def _of_each(values: Int64Array, function: Callable[[int], int]) -> Int64Array:
    different, place = np.unique(values, return_inverse=True)
    results = np.array([function(value) for value in different.tolist()], dtype=np.int64)
    return results[place].reshape(values.shape)
