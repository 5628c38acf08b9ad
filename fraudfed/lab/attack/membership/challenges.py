"""Rows of which an attacker asks whether a model was trained on them: canaries, and ordinary ones.

A coin decides for each whether it is a member of the attacked training; the coins of shadow
trainings are their own.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.lab.attack.worlds import part_of


class Kind(StrEnum):
    """What a challenge is."""

    ORDINARY = "ordinary"
    """A row of the world, as it is."""
    FRAUD = "fraud"
    """A row of the world with label 1."""
    MISLABELLED = "mislabelled"
    """Canary: an honest row that is called fraud."""
    RARE = "rare"
    """Canary: attributes of different rows in one, called fraud; in the training several times."""
    ELSEWHERE = "elsewhere"
    """Reference: a row of another world, which the attacked training never holds."""


@dataclass(frozen=True, eq=False)
class Challenges:
    """The rows in question.

    Attributes
    ----------
    table : TrainingTable
    kinds : ndarray of shape (n_rows,), dtype=object
        Of ``Kind``.
    copies : ndarray of shape (n_rows,), dtype=int64
        How often a member is in the training.
    """

    table: TrainingTable
    kinds: np.ndarray
    copies: np.ndarray

    def of_kind(self, kind: Kind) -> BoolArray:
        """Return where challenges of a kind are."""
        return np.asarray(self.kinds == kind, dtype=bool)

    def flip(self, generator: np.random.Generator, *, attacked: bool) -> BoolArray:
        """Throw the coins of one training; rows from elsewhere are never in the attacked one."""
        is_member = generator.random(len(self.kinds)) < 0.5
        if attacked:
            is_member &= ~self.of_kind(Kind.ELSEWHERE)
        return is_member


def plant(
    world: TrainingTable,
    other: TrainingTable,
    *,
    each: int,
    copies: int,
    generator: np.random.Generator,
) -> tuple[Challenges, TrainingTable]:
    """Take challenges out of a world.

    Parameters
    ----------
    world, other : TrainingTable
        The attacked one, and another that reference rows are from.
    each : int
        Challenges of each kind; fewer where there are not so many rows.
    copies : int
        Of a rare row.
    generator : numpy.random.Generator

    Returns
    -------
    challenges : Challenges
    rest : TrainingTable
        The rows of the world that are none.
    """
    order = generator.permutation(world.n_rows)
    frauds = order[world.labels[order] == 1]
    honest = order[world.labels[order] == 0]
    # At most a half of the frauds: the training needs the others.
    fraud = frauds[: min(each, len(frauds) // 2)]
    mislabelled, honest = honest[:each], honest[each:]
    ordinary = np.setdiff1d(order, np.concatenate([fraud, mislabelled]))
    ordinary = generator.permutation(ordinary)[: min(each, len(ordinary) // 3)]
    elsewhere = generator.permutation(other.n_rows)[:each]
    rare = _rare_rows(world.features, each, generator)
    parts = (
        (Kind.ORDINARY, world.features[ordinary], world.labels[ordinary], 1),
        (Kind.FRAUD, world.features[fraud], world.labels[fraud], 1),
        (Kind.MISLABELLED, world.features[mislabelled], np.ones(len(mislabelled)), 1),
        (Kind.RARE, rare, np.ones(len(rare)), copies),
        (Kind.ELSEWHERE, other.features[elsewhere], other.labels[elsewhere], 1),
    )
    table = TrainingTable(
        schema=world.schema,
        features=np.concatenate([part[1] for part in parts]),
        labels=np.concatenate([part[2] for part in parts]).astype(np.float32),
    )
    challenges = Challenges(
        table,
        np.concatenate([np.full(len(part[1]), part[0], dtype=object) for part in parts]),
        np.concatenate([np.full(len(part[1]), part[3], dtype=np.int64) for part in parts]),
    )
    taken = np.concatenate([ordinary, fraud, mislabelled])
    return challenges, part_of(world, np.setdiff1d(np.arange(world.n_rows), taken))


def training_rows(
    base: TrainingTable, challenges: Challenges, is_member: BoolArray
) -> TrainingTable:
    """Return the rows of a training: the base, and the challenges that are members."""
    members = np.repeat(np.flatnonzero(is_member), challenges.copies[is_member])
    return TrainingTable(
        schema=base.schema,
        features=np.concatenate([base.features, challenges.table.features[members]]),
        labels=np.concatenate([base.labels, challenges.table.labels[members]]),
    )


def _rare_rows(features: Float32Array, count: int, generator: np.random.Generator) -> Float32Array:
    drawn = generator.integers(0, len(features), size=(count, features.shape[1]))
    return features[drawn, np.arange(features.shape[1])]
