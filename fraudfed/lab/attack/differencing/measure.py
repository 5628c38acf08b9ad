"""What two runs say of the bank by which they differ.

* Two opened histograms over the same cells differ by that bank's histogram: nothing is hidden. So
  a bank reveals sums over the same rows with one set of banks only (``set_changes``, decision 36).
* Two models differ by less: each is read as far as its first tree gives counts of rows in its
  leaves (``reconstruction.node_sums``), and the leaves of the two are not the same.
* Two histograms with independent noise of standard deviation sigma differ by the bank's and by a
  noise of sigma times the square root of 2.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import Float64Array
from fraudfed.lab.attack.differencing.result import DifferencingFigures, Errors, TotalFigures
from fraudfed.lab.attack.reconstruction.cells import Cells, leaf_boxes
from fraudfed.lab.attack.reconstruction.node_sums import first_counts
from fraudfed.lab.attack.worlds import Trainer
from fraudfed.lab.oracle.references import pool
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True, eq=False)
class Counts:
    """Rows of each label in the cells of a model, shape (2, n_cells), dtype=float64."""

    values: Float64Array

    @property
    def frauds(self) -> Float64Array:
        """Of every cell."""
        found: Float64Array = self.values[1]
        return found


def counts_of(table: TrainingTable, cells: Cells) -> Counts:
    """Count rows of each label in every cell of every feature: what a histogram opens."""
    found = np.zeros((2, cells.n_cells))
    for feature in range(table.schema.n_features):
        span = cells.span(feature)
        places = cells.places(table.features[:, feature], feature)
        for label in (0, 1):
            found[label, span] = np.bincount(
                places[table.labels == label], minlength=span.stop - span.start
            )
    return Counts(found)


def counts_by_model(
    model: Model, params: BoosterParams, cells: Cells, shapes: Counts
) -> tuple[Counts, Float64Array]:
    """Return what the first tree of a model says of counts in cells, and the totals by label.

    Each leaf's rows are spread over its cells as the public marginals are.

    Parameters
    ----------
    model : Model
    params : BoosterParams
    cells : Cells
        Of any model that has this one's thresholds too.
    shapes : Counts
        The public marginals.
    """
    boxes = leaf_boxes(model.trees[0], cells)
    counts = first_counts(model, params)[np.argsort(np.argsort(boxes.nodes))] / params.subsample
    found = np.zeros((2, cells.n_cells))
    for leaf, mask in enumerate(boxes.masks):
        for feature in range(cells.schema.n_features):
            span = cells.span(feature)
            for label in (0, 1):
                weights = np.where(mask[span], shapes.values[label, span], 0.0)
                if weights.sum() > 0.0:
                    found[label, span] += counts[leaf, label] * weights / weights.sum()
    totals: Float64Array = counts.sum(axis=0).astype(np.float64)
    return Counts(found), totals


def difference_runs(
    banks: tuple[TrainingTable, ...],
    elsewhere: TrainingTable,
    trainer: Trainer,
    params: BoosterParams,
    *,
    left_out: int,
    sigma: float,
    generator: np.random.Generator,
    world: str,
    seed: int,
) -> DifferencingFigures:
    """Compare a run of all banks with a run without one.

    Parameters
    ----------
    banks : tuple of TrainingTable
        At least two.
    elsewhere : TrainingTable
        A bank of another world: the second reference.
    trainer : callable
    params : BoosterParams
        With which it trains.
    left_out : int
        Position of the bank.
    sigma : float
        Of the noise in the sums that carry some.
    generator : numpy.random.Generator
        Of that noise; a measurement, no protection.
    world : str
    seed : int
    """
    everybody = pool(banks)
    others = pool([bank for number, bank in enumerate(banks) if number != left_out])
    bank = banks[left_out]
    models = trainer(everybody), trainer(others)
    cells = Cells.of_all(models)
    with_it, without, true = (counts_of(rows, cells) for rows in (everybody, others, bank))
    by_sums = with_it.frauds - without.frauds
    # The pool's marginals are public in both runs alike: what a guess has, the attack has too.
    read = [counts_by_model(model, params, cells, with_it) for model in models]
    by_models = read[0][0].frauds - read[1][0].frauds
    totals = read[0][1] - read[1][1]
    share = bank.n_rows / everybody.n_rows
    guess = with_it.frauds * share
    of_other = counts_of(elsewhere, cells).frauds * (bank.n_rows / max(1, elsewhere.n_rows))
    noise = [np.rint(generator.normal(0.0, sigma, size=cells.n_cells)) for _ in range(2)]
    by_noised = by_sums + noise[0] - noise[1]

    def missed(found: Float64Array) -> float:
        return float(np.sqrt(np.mean((found - true.frauds) ** 2)))

    n_frauds = float(np.count_nonzero(bank.labels == 1))
    pooled = float(np.count_nonzero(everybody.labels == 1))
    other_frauds = float(np.count_nonzero(elsewhere.labels == 1))
    return DifferencingFigures(
        world=world,
        seed=seed,
        rows=everybody.n_rows,
        bank_rows=bank.n_rows,
        banks=len(banks),
        sigma=sigma,
        noised_over_sigma=missed(by_noised) / sigma,
        errors=Errors(
            sums=missed(by_sums),
            models=missed(by_models),
            noised=missed(by_noised),
            guess=missed(guess),
            elsewhere=missed(of_other),
            cells=cells.n_cells,
            exact=float(np.mean(by_sums == true.frauds)),
        ),
        totals=(
            TotalFigures(
                "rows",
                float(bank.n_rows),
                float(totals.sum()),
                everybody.n_rows / len(banks),
                float(elsewhere.n_rows),
            ),
            TotalFigures("frauds", n_frauds, float(totals[1]), pooled / len(banks), other_frauds),
        ),
    )
