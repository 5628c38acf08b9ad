"""Row and column sampling by hashing: the same choice at every bank, with no random stream.

XGBoost draws from a generator, row after row, so its choice depends on the order of the rows.
Here a row is drawn or not by a hash of its *content*, and a column is ranked by a hash of its
number. A choice therefore depends neither on which bank holds a row, nor on the order of rows,
nor on a library's version. Two rows with identical content are drawn together.

The hash is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom
Number Generators", OOPSLA 2014, with the constants of Vigna's ``splitmix64.c``,
https://prng.di.unimi.it/splitmix64.c). It is not cryptographic and the seed is not a secret.
"""

import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array, UInt64Array
from fraudfed.parameters import BoosterParams

#: 2^64 divided by the golden ratio, made odd: the increment of SplitMix64.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)

#: First word of a hashed sequence: keeps the kinds of draws independent of each other.
_ROWS, _TREE_COLUMNS, _LEVEL_COLUMNS, _NODE_COLUMNS, _FEATURE_ORDER, _SPLITS = range(6)

#: The one bit pattern that stands for every NaN.
_MISSING_BITS = np.uint32(0x7FC00000)
_INFINITY_BITS = np.uint32(0x7F800000)
_MAGNITUDE_BITS = np.uint32(0x7FFFFFFF)


def row_keys(table: TrainingTable) -> UInt64Array:
    """Hash every row's content.

    Parameters
    ----------
    table : TrainingTable
        Feature values, label and weight enter by their float32 bits; -0.0 counts as 0.0, every
        NaN as the same NaN, and no weights as weights of 1.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=uint64
        Equal for rows of equal content, at whichever bank they are.
    """
    keys = np.zeros(table.n_rows, dtype=np.uint64)
    for feature in range(table.schema.n_features):
        keys = _absorb(keys, _words(table.features[:, feature]))
    weights = np.ones_like(table.labels) if table.weights is None else table.weights
    return _absorb(_absorb(keys, _words(table.labels)), _words(weights))


def sample_rows(keys: UInt64Array, *, seed: int, tree_index: int, fraction: float) -> BoolArray:
    """Draw each row with probability ``fraction``, independently for each tree.

    Parameters
    ----------
    keys : ndarray of shape (n_rows,), dtype=uint64
        From ``row_keys``.
    seed, tree_index : int
        Non-negative; equal at every bank.
    fraction : float
        In (0, 1]; 1 draws every row.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=bool
    """
    if fraction >= 1.0:
        return np.ones(keys.shape, dtype=np.bool_)
    draws = _absorb(np.full(keys.shape, _hash(_ROWS, seed, tree_index), dtype=np.uint64), keys)
    # A hash is uniform on 0 .. 2^64 - 1; scaling by a power of two is exact.
    return draws < np.uint64(int(fraction * 2.0**64))


class ColumnSampler:
    """The features that the nodes of one tree may split on.

    As in XGBoost, ``colsample_bytree`` draws from all features, ``colsample_bylevel`` from those
    of the tree, and ``colsample_bynode`` from those of the level; each keeps
    ``max(1, floor(fraction * n))`` of ``n`` features (``src/common/random.cc``, ``ColSample``).

    Parameters
    ----------
    params : BoosterParams
        The three ``colsample_*`` fractions and ``seed``.
    n_features : int
    tree_index : int
        Number of the tree in the model.
    """

    def __init__(self, params: BoosterParams, *, n_features: int, tree_index: int) -> None:
        self._params = params
        self._tree_index = tree_index
        self._tree = _draw_columns(
            np.arange(n_features, dtype=np.int64),
            params.colsample_bytree,
            (_TREE_COLUMNS, params.seed, tree_index),
        )

    @property
    def tree_features(self) -> Int64Array:
        """Features of the tree, ascending; shape (n,), dtype=int64."""
        return self._tree

    def node_features(self, *, depth: int, node: int) -> Int64Array:
        """Return the features of ``node`` at ``depth`` (0 is the root), ascending.

        Returns
        -------
        ndarray of shape (n,), dtype=int64
        """
        seed = self._params.seed
        level = _draw_columns(
            self._tree,
            self._params.colsample_bylevel,
            (_LEVEL_COLUMNS, seed, self._tree_index, depth),
        )
        return _draw_columns(
            level,
            self._params.colsample_bynode,
            (_NODE_COLUMNS, seed, self._tree_index, node),
        )


def _draw_columns(features: Int64Array, fraction: float, draw: tuple[int, ...]) -> Int64Array:
    """Keep a fraction of the features; the words of ``draw`` say by which hash."""
    if fraction >= 1.0:
        return features
    # XGBoost multiplies in float32, so 0.7 of 10 columns are 7 and not 6.
    count = max(1, int(np.float32(fraction) * np.float32(features.size)))
    start = np.full(features.shape, _hash(*draw), dtype=np.uint64)
    ranks = _absorb(start, features.astype(np.uint64))
    drawn: Int64Array = np.sort(features[np.argsort(ranks, kind="stable")[:count]])
    return drawn


def ranked_features(n_features: int, *, seed: int, draw: int) -> Int64Array:
    """Return all features in an order that a hash says.

    Parameters
    ----------
    n_features : int
    seed, draw : int
        Non-negative; equal at every bank.

    Returns
    -------
    ndarray of shape (n_features,), dtype=int64
    """
    start = np.full(n_features, _hash(_FEATURE_ORDER, seed, draw), dtype=np.uint64)
    ranks = _absorb(start, np.arange(n_features, dtype=np.uint64))
    return np.argsort(ranks, kind="stable").astype(np.int64)


def drawn_below(n: int, *, seed: int, words: tuple[int, ...]) -> int:
    """Draw a number from 0 to n - 1 by a hash of ``seed`` and ``words``; n below 2^32."""
    return (_hash(_SPLITS, seed, *words) >> 32) * n >> 32


def _words(values: Float32Array) -> UInt64Array:
    """Return canonical bit patterns: one zero, one NaN."""
    # On bits, not on values: a signalling NaN would raise a floating-point warning.
    bits = values.view(np.uint32)
    magnitude = bits & _MAGNITUDE_BITS
    bits = np.where(magnitude == 0, np.uint32(0), bits)
    return np.where(magnitude > _INFINITY_BITS, _MISSING_BITS, bits).astype(np.uint64)


def _hash(*words: int) -> int:
    """Hash a short sequence of non-negative integers below 2^64."""
    key = np.zeros(1, dtype=np.uint64)
    for word in words:
        key = _absorb(key, np.array([word], dtype=np.uint64))
    return int(key[0])


def _absorb(keys: UInt64Array, words: UInt64Array) -> UInt64Array:
    """Mix one more word into each key; arithmetic is modulo 2^64."""
    mixed = (keys ^ words) + _INCREMENT
    mixed = (mixed ^ (mixed >> _SHIFT_1)) * _MULTIPLIER_1
    mixed = (mixed ^ (mixed >> _SHIFT_2)) * _MULTIPLIER_2
    absorbed: UInt64Array = mixed ^ (mixed >> _SHIFT_3)
    return absorbed
