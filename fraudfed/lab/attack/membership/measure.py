"""Membership inference against one model, with shadow models of another world."""

from collections.abc import Callable

import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import BoolArray, Float64Array
from fraudfed.lab.attack.membership.challenges import Challenges, Kind, plant, training_rows
from fraudfed.lab.attack.membership.likelihood import (
    area,
    confidences,
    likelihood_ratios,
    rate_at,
)
from fraudfed.lab.attack.membership.result import KindFigures, Ranking
from fraudfed.lab.attack.worlds import Trainer, margins_of, part_of

#: Others of whom so many may be taken for members.
FALSE_POSITIVE_RATES = (0.01, 0.1)


def infer_membership(
    world: TrainingTable,
    other: TrainingTable,
    trainer: Trainer,
    *,
    shadows: int,
    each: int,
    copies: int,
    generator: np.random.Generator,
    threads: int,
    on_shadow: Callable[[int], None] = lambda _: None,
) -> tuple[KindFigures, ...]:
    """Attack one model.

    Parameters
    ----------
    world : TrainingTable
        What the attacked model is trained on, some challenges aside.
    other : TrainingTable
        What an attacker has: a world of another seed, for the shadow models.
    trainer : callable
        Trains the attacked model, and every shadow model alike.
    shadows : int
        Shadow models, at least 2.
    each : int
        Challenges of each kind.
    copies : int
        Of a rare canary.
    generator : numpy.random.Generator
    threads : int
    on_shadow : callable
        Called with the number of shadow models so far.
    """
    half = other.n_rows // 2
    drawn = generator.permutation(other.n_rows)
    challenges, rest = plant(
        world, part_of(other, drawn[:half]), each=each, copies=copies, generator=generator
    )
    shadow_rows = part_of(other, drawn[half:])
    is_member = challenges.flip(generator, attacked=True)
    attacked = _asked(rest, challenges, is_member, trainer, threads=threads)
    asked: list[Float64Array] = []
    held: list[BoolArray] = []
    for number in range(shadows):
        # As many rows as the attacked training has, so that rows count as much.
        base = part_of(
            shadow_rows, generator.choice(shadow_rows.n_rows, size=rest.n_rows, replace=True)
        )
        coins = challenges.flip(generator, attacked=False)
        asked.append(_asked(base, challenges, coins, trainer, threads=threads))
        held.append(coins)
        on_shadow(number + 1)
    ratios = likelihood_ratios(attacked, np.stack(asked), np.stack(held))
    rarity = _rarity(rest, challenges.table)
    elsewhere = ratios[challenges.of_kind(Kind.ELSEWHERE)]
    return tuple(
        _figures(kind, challenges, is_member, ratios, rarity, elsewhere)
        for kind in Kind
        if kind is not Kind.ELSEWHERE and _both(is_member[challenges.of_kind(kind)])
    )


def _asked(
    base: TrainingTable,
    challenges: Challenges,
    is_member: BoolArray,
    trainer: Trainer,
    *,
    threads: int,
) -> Float64Array:
    model = trainer(training_rows(base, challenges, is_member))
    margins = margins_of(model, challenges.table, threads=threads)
    return confidences(margins, challenges.table.labels)


def _both(is_member: BoolArray) -> bool:
    return bool(is_member.any() and not is_member.all())


def _figures(
    kind: Kind,
    challenges: Challenges,
    is_member: BoolArray,
    ratios: Float64Array,
    rarity: Float64Array,
    elsewhere: Float64Array,
) -> KindFigures:
    here = challenges.of_kind(kind)
    inside, outside = here & is_member, here & ~is_member
    return KindFigures(
        kind=kind.value,
        members=int(np.count_nonzero(inside)),
        others=int(np.count_nonzero(outside)),
        copies=int(challenges.copies[here][0]),
        attack=_ranking(ratios[inside], ratios[outside]),
        guess=_ranking(rarity[inside], rarity[outside]),
        elsewhere=_ranking(ratios[inside], elsewhere),
    )


def _ranking(members: Float64Array, others: Float64Array) -> Ranking:
    rates = tuple(rate_at(members, others, rate) for rate in FALSE_POSITIVE_RATES)
    return Ranking(*area(members, others), rates)


def _rarity(rows: TrainingTable, asked: TrainingTable) -> Float64Array:
    """Return how far each asked row is from the middle of the attributes, summed over them.

    Ranks among the training's rows, which are public as marginals; missing counts as the middle.
    """
    found = np.zeros(asked.n_rows)
    for feature in range(rows.schema.n_features):
        values = rows.features[:, feature]
        values = np.sort(values[~np.isnan(values)])
        if not len(values):
            continue
        column = asked.features[:, feature]
        first = np.searchsorted(values, column, side="left")
        last = np.searchsorted(values, column, side="right")
        ranks = (first + last) / (2.0 * len(values))
        found += np.where(np.isnan(column), 0.0, np.abs(ranks - 0.5))
    return found
