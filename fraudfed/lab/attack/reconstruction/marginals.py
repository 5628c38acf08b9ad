"""What is public of single attributes, and guesses of whole rows from nothing else."""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array, Float64Array
from fraudfed.lab.attack.reconstruction.cells import Cells


@dataclass(frozen=True, eq=False)
class Marginals:
    """How each attribute is distributed among rows of one label, each attribute for itself.

    Attributes
    ----------
    cells : Cells
    mass : ndarray of shape (n_cells,), dtype=float64
        Share of the rows in each cell; adds up to 1 over the cells of a feature.
    values : tuple of tuple of ndarray, dtype=float32
        The rows' values in each cell of each feature.
    """

    cells: Cells
    mass: Float64Array
    values: tuple[tuple[Float32Array, ...], ...]

    @classmethod
    def of(cls, features: Float32Array, cells: Cells) -> "Marginals":
        """Return the marginals of rows, shape (n_rows, n_features); there is at least one row."""
        mass = np.zeros(cells.n_cells)
        values: list[tuple[Float32Array, ...]] = []
        for feature in range(cells.schema.n_features):
            span = cells.span(feature)
            column = features[:, feature]
            places = cells.places(column, feature)
            counts = np.bincount(places, minlength=span.stop - span.start)
            mass[span] = counts / len(column)
            in_order = column[np.argsort(places, kind="stable")]
            values.append(tuple(np.split(in_order, np.cumsum(counts)[:-1])))
        return cls(cells, mass, tuple(values))

    def fill(self, boxes: BoolArray, generator: np.random.Generator) -> Float32Array:
        """Draw one row in each box: every attribute from its own marginal, within the box.

        Where no row of the marginal is in the box, the attribute is drawn as if nothing was known.

        Parameters
        ----------
        boxes : ndarray of shape (n_rows, n_cells), dtype=bool
        generator : numpy.random.Generator

        Returns
        -------
        ndarray of shape (n_rows, n_features), dtype=float32
        """
        rows = np.empty((len(boxes), self.cells.schema.n_features), dtype=np.float32)
        for feature in range(rows.shape[1]):
            span = self.cells.span(feature)
            weights = np.where(boxes[:, span], self.mass[span], 0.0)
            total = weights.sum(axis=1)
            weights[total <= 0.0] = self.mass[span]
            ends = np.cumsum(weights, axis=1)
            drawn = generator.random(len(boxes)) * ends[:, -1]
            # The last cell with any weight, should rounding lead beyond it.
            last = np.argmax(ends >= ends[:, -1:], axis=1)
            places = np.minimum((ends <= drawn[:, None]).sum(axis=1), last)
            for place in np.unique(places):
                at = places == place
                rows[at, feature] = generator.choice(
                    self.values[feature][place], size=int(np.count_nonzero(at))
                )
        return rows

    def guess(self, count: int, generator: np.random.Generator) -> Float32Array:
        """Return rows of which nothing is known: each attribute drawn from its marginal."""
        return self.fill(np.ones((count, self.cells.n_cells), dtype=bool), generator)
