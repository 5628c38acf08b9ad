"""Reconstruction of the rows of a world from models that were trained on it."""

from collections.abc import Sequence
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
from fraudfed.lab.attack.worlds import published
from fraudfed.parameters import BoosterParams

#: Rows that are not in question are rebuilt as so many at most: they only fill up the sums.
_MOST_OTHERS = 400
#: Guesses are drawn so often, and their shares averaged.
_DRAWS = 2


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
    """
    params = replace(params, statistics_bits=bits)
    model, control = (published(replace(each, statistics_bits=bits)) for each in models)
    asked = _asked_features(model, trees)
    true = question.world.features[question.rows][:, asked]
    ranks = Ranks.of(_schema_of(question.world, asked), true)

    def hits(guessed: Float32Array) -> Float64Array:
        found: Float64Array = matched_hits(ranks, true, guessed[:, asked]).astype(np.float64)
        return found

    rebuilt, marginals = _rebuilt(question, question.world, model, params, trees=trees)
    attack = hits(_filled(rebuilt, marginals, question, generator))
    guesses, controls, elsewhere = [], [], []
    other_rebuilt, other_marginals = _rebuilt(
        question, question.other, control, params, trees=trees
    )
    for _ in range(_DRAWS):
        blank = replace(rebuilt, boxes=np.ones_like(rebuilt.boxes))
        guesses.append(hits(_filled(blank, marginals, question, generator)).mean(axis=0))
        controls.append(
            hits(_filled(other_rebuilt, other_marginals, question, generator)).mean(axis=0)
        )
        elsewhere.append(hits(_rows_elsewhere(question, generator)).mean(axis=0))
    counts = attack.sum(axis=0).astype(int)
    confidence = 1.0 - 0.05 / max(1, len(asked))
    return CaseFigures(
        parameters=parameters,
        statistics_bits=bits,
        smallest_leaf=int(first_counts(model, params).sum(axis=1).min()),
        counts_right=_counts_right(question.world, model, params),
        attributes=tuple(
            AttributeFigures(
                attribute=question.world.schema.names[feature],
                attack=share_of(int(counts[place]), len(true), confidence=confidence),
                guess=float(np.mean(guesses, axis=0)[place]),
                elsewhere=float(np.mean(elsewhere, axis=0)[place]),
                control=float(np.mean(controls, axis=0)[place]),
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


def _schema_of(table: TrainingTable, features: Sequence[int]) -> FeatureSchema:
    return FeatureSchema(
        tuple(table.schema.names[feature] for feature in features),
        tuple(table.schema.n_categories[feature] for feature in features),
    )
