"""``fraudfed attack membership``: whether a model shows who was in its training."""

import click
import numpy as np

from data_gen.settings.presets import PRESETS
from fraudfed.console import examples, say
from fraudfed.errors import ConfigurationError
from fraudfed.lab.attack.membership.challenges import Kind
from fraudfed.lab.attack.membership.measure import infer_membership
from fraudfed.lab.attack.membership.result import MembershipFigures
from fraudfed.lab.attack.worlds import (
    OTHER_WORLD,
    OVERFITTED,
    Trainer,
    exact_trainer,
    noised_trainer,
    parameters_of,
    rows_of,
)
from fraudfed.lab.bench.options import FiniteRange, figures_of, number_option, threads_option
from fraudfed.privacy.terms import PrivacyTerms

#: Of the claim of a model with noise.
_DELTA = 1e-6
DEFAULT, TOO_CLOSE = "default", "overfitted"


@click.command(
    "membership",
    epilog=examples(
        "fraudfed attack membership",
        "fraudfed attack membership --target overfitted --rows 1000 --each 100",
    ),
)
@click.option(
    "--world",
    type=click.Choice(list(PRESETS)),
    default="small",
    show_default=True,
    help="World to train on.",
)
@click.option(
    "--target",
    type=click.Choice([DEFAULT, TOO_CLOSE]),
    default=DEFAULT,
    show_default=True,
    help="Parameters of the attacked model.",
)
@click.option(
    "--epsilon",
    type=FiniteRange(0.0, 100.0, min_open=True),
    default=None,
    help="Attack a model that is trained with noise under this bound for one row.",
)
@number_option("--rows", 20_000, "Rows of the attacked training, 0: all.", least=0)
@number_option("--shadows", 16, "Shadow models.", least=2)
@number_option("--each", 200, "Challenges of each kind.", least=10)
@number_option("--copies", 8, "How often a rare canary is in the training.")
@number_option("--seed", 42, "Of the world.", least=0)
@threads_option("Threads.")
@figures_of(MembershipFigures)
def membership_command(
    world: str,
    target: str,
    epsilon: float | None,
    rows: int,
    shadows: int,
    each: int,
    copies: int,
    seed: int,
    threads: int,
) -> MembershipFigures:
    """Tell members of a training from other rows, by shadow models (LiRA).

    Canaries and ordinary rows; beside a guess from public marginals, and rows of another world.
    """
    attacked = rows_of(world, seed=seed, rows=rows)
    other = rows_of(world, seed=seed + OTHER_WORLD, rows=0)
    trainer: Trainer
    if epsilon is None:
        params = parameters_of({} if target == DEFAULT else OVERFITTED)
        trainer = exact_trainer(params, threads=threads)
    elif target == DEFAULT:
        terms = PrivacyTerms(
            epsilon=epsilon,
            delta=_DELTA,
            tolerated_colluders=0,
            # Room for every canary: how many there are is decided by coins.
            declared_rows=attacked.n_rows + len(Kind) * each * copies,
        )
        trainer = noised_trainer(terms, threads=threads)
        target = f"{terms.way.value} trees with noise, epsilon {epsilon:g}"
    else:
        raise ConfigurationError(
            f"--target {target} with --epsilon {epsilon:g}: a training with noise has parameters "
            "of its own; leave one of the two out"
        )
    kinds = infer_membership(
        attacked,
        other,
        trainer,
        shadows=shadows,
        each=each,
        copies=copies,
        generator=np.random.default_rng(seed),
        threads=threads,
        on_shadow=lambda number: say(f"shadow model {number} of {shadows}", err=True),
    )
    return MembershipFigures(
        world=world,
        seed=seed,
        rows=attacked.n_rows,
        shadows=shadows,
        target=target,
        epsilon=epsilon,
        delta=None if epsilon is None else _DELTA,
        kinds=kinds,
    )
