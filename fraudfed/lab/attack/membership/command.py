"""``fraudfed attack membership``: whether a model shows who was in its training."""

import click
import numpy as np

from data_gen.settings.presets import PRESETS
from fraudfed.console import examples, say
from fraudfed.lab.attack.membership.measure import infer_membership
from fraudfed.lab.attack.membership.result import MembershipFigures
from fraudfed.lab.attack.worlds import (
    OTHER_WORLD,
    OVERFITTED,
    exact_trainer,
    parameters_of,
    rows_of,
)
from fraudfed.lab.bench.options import figures_of, number_option, threads_option

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
    params = parameters_of({} if target == DEFAULT else OVERFITTED)
    kinds = infer_membership(
        attacked,
        other,
        exact_trainer(params, threads=threads),
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
        epsilon=None,
        delta=None,
        kinds=kinds,
    )
