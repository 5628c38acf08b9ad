"""Reconstruction of the rows of a world from models that were trained on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.tree import NO_CHILD
from fraudfed.dtypes import Float32Array, Float64Array, IndexArray, Int64Array
from fraudfed.lab.attack.binomial import Share, share_of
from fraudfed.lab.attack.reconstruction.cells import Cells, leaf_boxes
from fraudfed.lab.attack.reconstruction.chain import RebuiltRows, rebuild
from fraudfed.lab.attack.reconstruction.marginals import Marginals
from fraudfed.lab.attack.reconstruction.matching import Ranks, matched_hits
from fraudfed.lab.attack.reconstruction.node_sums import first_counts
from fraudfed.lab.attack.reconstruction.result import AttributeFigures, CaseFigures
from fraudfed.lab.attack.worlds import columns_of, published
from fraudfed.parameters import BoosterParams

#: Rows that are not in question are rebuilt as so many at most: they only fill up the sums.
_MOST_OTHERS = 300
#: Within what is known of them rows are drawn so often, and shares averaged.
_DRAWS = 3


@dataclass(frozen=True, eq=False)
class Question:
    """The rows that an attacker wants.

    Attributes
    ----------
    world, other : TrainingTable
        What the attacked model and the control were trained on.
    rows : ndarray of shape (n_targets,), dtype=int64
        Rows of ``world``.
    labels : tuple of int
        Which labels they have.
    """

    world: TrainingTable
    other: TrainingTable
    rows: IndexArray
    labels: tuple[int, ...]

    @classmethod
    def of(
        cls,
        world: TrainingTable,
        other: TrainingTable,
        *,
        targets: int,
        generator: np.random.Generator,
    ) -> "Question":
        """Ask for all rows of a small world; of a large one for frauds, at most so many."""
        labels = (0, 1) if world.n_rows <= targets else (1,)
        rows = np.flatnonzero(np.isin(world.labels, labels))
        if len(rows) > targets:
            rows = np.sort(generator.choice(rows, size=targets, replace=False))
        return cls(world, other, rows, labels)

    def about(self, names: Sequence[str]) -> "Question":
        """Return the same question about some columns only."""
        return replace(
            self, world=columns_of(self.world, names), other=columns_of(self.other, names)
        )

    @property
    def words(self) -> str:
        """Which rows, for people."""
        return "frauds" if self.labels == (1,) else "rows, all there are"


def attack_model(
    question: Question,
    models: tuple[Model, Model],
    params: BoosterParams,
    *,
    parameters: str,
    bits: int,
    trees: int,
    generator: np.random.Generator,
    columns: str = "all",
    attributes: int = 0,
) -> CaseFigures:
    """Attack a model, and beside it one of another world.

    Parameters
    ----------
    question : Question
    models : pair of Model
        Of ``question.world`` and of ``question.other``, as trained.
    params : BoosterParams
    parameters : str
        What they are called.
    bits : int
        Statistics bits of the published models.
    trees : int
    generator : numpy.random.Generator
    columns : str
        What the columns are called that the models were trained on.
    attributes : int
        Rows are matched, and figures given, by so many attributes of those that the attacked trees
        ask for, the ones with most gain; 0 is all.
    """
    params = replace(params, statistics_bits=bits)
    model, control = (published(replace(each, statistics_bits=bits)) for each in models)
    asked = _most_important(model, trees, attributes)
    true = question.world.features[question.rows][:, asked]
    ranks = Ranks.of(_schema_of(question.world, asked), true)
    mine = _rebuilt(question, question.world, model, params, trees=trees)
    others = _rebuilt(question, question.other, control, params, trees=trees)
    blank = replace(mine[0], boxes=np.ones_like(mine[0].boxes))

    def share(draw: Callable[[], Float32Array]) -> Float64Array:
        """Return the share of rows with each attribute right, the mean of some draws."""
        found = [matched_hits(ranks, true, draw()[:, asked]).mean(axis=0) for _ in range(_DRAWS)]
        mean: Float64Array = np.mean(found, axis=0)
        return mean

    attack = share(lambda: _filled(*mine, question, generator))
    guess = share(lambda: _filled(blank, mine[1], question, generator))
    elsewhere = share(lambda: _rows_elsewhere(question, generator))
    other_model = share(lambda: _filled(*others, question, generator))
    confidence = 1.0 - 0.05 / max(1, len(asked))
    return CaseFigures(
        columns=columns,
        parameters=parameters,
        statistics_bits=bits,
        smallest_leaf=int(first_counts(model, params).sum(axis=1).min()),
        counts_right=_counts_right(question.world, model, params),
        attributes=tuple(
            AttributeFigures(
                attribute=question.world.schema.names[feature],
                # Draws are of the same rows: they make the share steadier, not the rows more.
                attack=share_of(
                    round(float(attack[place]) * len(true)), len(true), confidence=confidence
                ),
                guess=float(guess[place]),
                elsewhere=float(elsewhere[place]),
                control=float(other_model[place]),
            )
            for place, feature in enumerate(asked)
        ),
    )


def _rebuilt(
    question: Question,
    trained_on: TrainingTable,
    model: Model,
    params: BoosterParams,
    *,
    trees: int,
) -> tuple[RebuiltRows, tuple[Marginals, Marginals]]:
    """Rebuild rows from a model; the marginals are always those of the rows in question."""
    cells = Cells.of(model)
    world = question.world
    marginals = (
        Marginals.of(world.features[world.labels == 0], cells),
        Marginals.of(world.features[world.labels == 1], cells),
    )
    known = tuple(int(np.count_nonzero(trained_on.labels == label)) for label in (0, 1))
    most = tuple(known[label] if label in question.labels else _MOST_OTHERS for label in (0, 1))
    rows = rebuild(
        model,
        params,
        cells,
        marginals,
        (known[0], known[1]),
        trees=trees,
        most_rows=(most[0], most[1]),
    )
    return rows, marginals


def _filled(
    rows: RebuiltRows,
    marginals: tuple[Marginals, Marginals],
    question: Question,
    generator: np.random.Generator,
) -> Float32Array:
    parts = [
        marginals[label].fill(rows.boxes[rows.labels == label], generator)
        for label in question.labels
    ]
    return _enough(np.concatenate(parts), question, generator)


def _rows_elsewhere(question: Question, generator: np.random.Generator) -> Float32Array:
    other = question.other
    rows = other.features[np.isin(other.labels, question.labels)]
    wanted = int(np.count_nonzero(np.isin(question.world.labels, question.labels)))
    drawn = generator.choice(len(rows), size=wanted, replace=len(rows) < wanted)
    return rows[drawn]


def _enough(rows: Float32Array, question: Question, generator: np.random.Generator) -> Float32Array:
    """Return as many guesses as there are rows to choose from, so that no guess has more tries."""
    wanted = int(np.count_nonzero(np.isin(question.world.labels, question.labels)))
    if len(rows) == wanted:
        return rows
    return rows[generator.choice(len(rows), size=wanted, replace=len(rows) < wanted)]


def _counts_right(world: TrainingTable, model: Model, params: BoosterParams) -> Share:
    """Return how many leaves of the first tree were read exactly; of a tree that drew all rows.

    A tree that drew some says what those are, which nobody but their banks can check.
    """
    if params.subsample < 1.0:
        return share_of(0, 0)
    cells = Cells.of(model)
    boxes = leaf_boxes(model.trees[0], cells)
    true: Int64Array = np.zeros((len(boxes.nodes), 2), dtype=np.int64)
    places = _places(world, cells, _asked_features(model, 1))
    for leaf, mask in enumerate(boxes.masks):
        inside = np.ones(world.n_rows, dtype=bool)
        for feature in boxes.asked[leaf]:
            inside &= mask[places[feature]]
        true[leaf] = [np.count_nonzero(inside & (world.labels == label)) for label in (0, 1)]
    read = first_counts(model, params)[np.argsort(np.argsort(boxes.nodes))]
    return share_of(int((read == true).all(axis=1).sum()), len(true))


def _places(world: TrainingTable, cells: Cells, features: Sequence[int]) -> dict[int, IndexArray]:
    return {
        feature: cells.places(world.features[:, feature], feature) + cells.starts[feature]
        for feature in features
    }


def _asked_features(model: Model, trees: int) -> list[int]:
    found: set[int] = set()
    for tree in model.trees[:trees]:
        found |= set(tree.split_features[tree.left_children != NO_CHILD].tolist())
    return sorted(found)


def _most_important(model: Model, trees: int, most: int) -> list[int]:
    """Return the features with most gain in the attacked trees, in their order; 0: all asked."""
    gains = np.zeros(model.schema.n_features)
    for tree in model.trees[:trees]:
        inner = tree.left_children != NO_CHILD
        np.add.at(gains, tree.split_features[inner], tree.loss_changes[inner].astype(np.float64))
    asked = _asked_features(model, trees)
    if not most:
        return asked
    return sorted(sorted(asked, key=lambda feature: -float(gains[feature]))[:most])


def _schema_of(table: TrainingTable, features: Sequence[int]) -> FeatureSchema:
    return FeatureSchema(
        tuple(table.schema.names[feature] for feature in features),
        tuple(table.schema.n_categories[feature] for feature in features),
    )
