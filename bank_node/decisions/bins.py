"""A payment's features as a model sees them: which of its thresholds each value reaches.

Law: a model gives ``row_of(bins_of(row, model), model)`` the margin and the TreeSHAP contributions
of ``row``, bit for bit. A tree asks of a value only whether it is below a threshold of that tree,
which category it is, or whether it is missing; the bins answer all of that, and nothing finer.

A feature takes one byte where the model has at most 254 thresholds of it (or categories), two
bytes with at most 65,534, and four beyond::

    numeric       0 .. k         how many of the k thresholds are at most the value
    categorical   0 .. n - 1     the code
                  n              another code: a split sends them all the same way
    both          largest        missing

The features of one byte stand first, in their order, then those of two and of four, little-endian.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from fraudfed.boosting.model import Model
from fraudfed.boosting.tree import NO_CHILD
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.errors import StateError

_WIDTHS: Final = ("<u1", "<u2", "<u4")
_FLOAT32_MAX = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class Binning:
    """The thresholds of a model, feature by feature.

    Attributes
    ----------
    thresholds : ndarray of shape (n_thresholds,), dtype=float32
        Those of each feature together, ascending and distinct; none of categorical features.
    features : ndarray of shape (n_thresholds,), dtype=int64
        Which feature each is of.
    n_categories : ndarray of shape (n_features,), dtype=int64
        0 for a numeric feature.
    """

    thresholds: Float32Array
    features: Int64Array
    n_categories: Int64Array

    @classmethod
    def of(cls, model: Model) -> "Binning":
        """Collect the thresholds of a model."""
        points, features = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        for tree in model.trees:
            numeric = (tree.left_children != NO_CHILD) & ~tree.is_categorical
            points.append(tree.split_conditions[numeric])
            features.append(tree.split_features[numeric].astype(np.int64))
        values, of = np.concatenate(points), np.concatenate(features)
        order = np.lexsort((values, of))
        values, of = values[order], of[order]
        # 0.0 and -0.0 are one threshold: they are equal.
        distinct = np.ones(values.size, dtype=np.bool_)
        distinct[1:] = (np.diff(of) != 0) | (values[1:] != values[:-1])
        n_categories = np.array(model.schema.n_categories, dtype=np.int64)
        return cls(values[distinct], of[distinct], n_categories)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.n_categories.size)

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of one payment."""
        return int(sum(np.count_nonzero(part) << place for place, part in enumerate(self._parts)))

    def bins_of(self, row: Float32Array) -> bytes:
        """Return the bins of a row.

        Parameters
        ----------
        row : ndarray of shape (n_features,), dtype=float32
            NaN is missing; categories are codes.

        Raises
        ------
        ValueError
            If the row has another number of features.
        """
        if row.shape != (self.n_features,):
            raise ValueError(f"row has shape {row.shape}, expected ({self.n_features},)")
        missing = np.isnan(row)
        reached = self.features[row[self.features] >= self.thresholds]
        places = np.bincount(reached, minlength=self.n_features)
        categorical = self.n_categories > 0
        # XGBoost cuts a code's fraction off; what is below 0, or beyond, is in no split's set.
        is_code = categorical & ~missing & (row >= 0) & (row < self.n_categories)
        codes = np.where(is_code, row, 0).astype(np.int64)
        places = np.where(categorical, np.where(is_code, codes, self.n_categories), places)
        parts = []
        for width, part in zip(_WIDTHS, self._parts, strict=True):
            largest = np.iinfo(width).max
            parts.append(np.where(missing, largest, places)[part].astype(width).tobytes())
        return b"".join(parts)

    def row_of(self, bins: bytes) -> Float32Array:
        """Return a row that the model cannot tell from the one of these bins.

        Parameters
        ----------
        bins : bytes

        Returns
        -------
        ndarray of shape (n_features,), dtype=float32
            NaN where the value was missing; else the largest threshold that the value reaches, or
            a number below all of them; 0 for a feature that no tree asks for.

        Raises
        ------
        StateError
            If they are the bins of another model.
        """
        if len(bins) != self.n_bytes:
            raise _foreign(f"{len(bins)} bytes, expected {self.n_bytes}")
        places = np.zeros(self.n_features, dtype=np.int64)
        missing = np.zeros(self.n_features, dtype=np.bool_)
        start = 0
        for width, part in zip(_WIDTHS, self._parts, strict=True):
            count = int(np.count_nonzero(part))
            found = np.frombuffer(bins, dtype=width, count=count, offset=start)
            start += found.nbytes
            places[part], missing[part] = found, found == np.iinfo(width).max
        if bool((places > self._largest)[~missing].any()):
            raise _foreign("a bin that it does not have")
        places[missing] = 0
        row = places.astype(np.float32)
        numeric = self.n_categories == 0
        row[numeric] = self._representatives[(self._starts + places)[numeric]]
        row[missing] = np.nan
        return row

    @cached_property
    def _largest(self) -> Int64Array:
        """The last bin of each feature that stands for a value."""
        counts = np.bincount(self.features, minlength=self.n_features)
        return np.where(self.n_categories > 0, self.n_categories, counts).astype(np.int64)

    @cached_property
    def _parts(self) -> tuple[BoolArray, ...]:
        """Which features take one, two and four bytes."""
        largest = self._largest
        one, two = largest <= 254, largest <= 65_534
        return one, ~one & two, ~two

    @cached_property
    def _starts(self) -> Int64Array:
        """Where each feature's bins begin in ``_representatives``."""
        counts = np.bincount(self.features, minlength=self.n_features) + 1
        return np.asarray(np.cumsum(counts) - counts, dtype=np.int64)

    @cached_property
    def _representatives(self) -> Float32Array:
        """A value of each bin of each feature."""
        values = np.zeros(self.thresholds.size + self.n_features, dtype=np.float32)
        values[np.arange(self.thresholds.size) + self.features + 1] = self.thresholds
        has_any = np.bincount(self.features, minlength=self.n_features) > 0
        first = self._starts[has_any]
        lowest = values[first + 1].astype(np.float64)
        # Far below, not the next number: that of 0 is one which processors may flush to 0.
        below = lowest - np.maximum(np.abs(lowest), 1.0)
        values[first] = np.maximum(below, -_FLOAT32_MAX).astype(np.float32)
        return values


@lru_cache(maxsize=8)
def _binning(model: Model) -> Binning:
    return Binning.of(model)


def bins_of(row: npt.NDArray[np.float32], model: Model) -> bytes:
    """Return the bins of a row by a model's thresholds; see ``Binning.bins_of``."""
    return _binning(model).bins_of(row)


def row_of(bins: bytes, model: Model) -> Float32Array:
    """Return a row that a model cannot tell from the one of these bins; see ``Binning.row_of``."""
    return _binning(model).row_of(bins)


def _foreign(what: str) -> StateError:
    return StateError(
        f"bins of a payment: {what}: they are of another model; name the one of the decision"
    )
