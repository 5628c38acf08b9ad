"""``fraudfed attack differencing``: what a run with and one without a bank say of it."""

import click
import numpy as np

from data_gen.settings.presets import PRESETS
from fraudfed.console import examples
from fraudfed.errors import ConfigurationError
from fraudfed.lab.attack.differencing.measure import difference_runs
from fraudfed.lab.attack.differencing.result import DifferencingFigures
from fraudfed.lab.attack.worlds import (
    OTHER_WORLD,
    banks_of,
    exact_trainer,
    parameters_of,
)
from fraudfed.lab.bench.options import FiniteRange, figures_of, number_option, threads_option


@click.command("differencing", epilog=examples("fraudfed attack differencing --bank 3"))
@click.option(
    "--world",
    type=click.Choice(list(PRESETS)),
    default="small",
    show_default=True,
    help="World to train on.",
)
@number_option("--bank", 1, "Which bank of the world is left out, from 1.")
@click.option(
    "--sigma",
    type=FiniteRange(0.0, 1e9, min_open=True),
    default=30.0,
    show_default=True,
    help="Noise of the noised sums, in frauds.",
)
@number_option("--seed", 42, "Of the world.", least=0)
@threads_option("Threads.")
@figures_of(DifferencingFigures)
def differencing_command(
    world: str, bank: int, sigma: float, seed: int, threads: int
) -> DifferencingFigures:
    """Read one bank's numbers off two runs, one with and one without it.

    From opened sums, from the two models, and from sums that carry noise; beside a guess from the
    pool, and a bank of another world.
    """
    banks = banks_of(world, seed=seed)
    if bank > len(banks):
        raise ConfigurationError(
            f"--bank {bank}: world {world} has {len(banks)} banks; name one from 1 to {len(banks)}"
        )
    other = banks_of(world, seed=seed + OTHER_WORLD)
    # One tree is all that is read of a model, and statistics as a run publishes them.
    params = parameters_of({"num_boost_round": 1})
    return difference_runs(
        banks,
        other[min(bank, len(other)) - 1],
        exact_trainer(params, threads=threads),
        params,
        left_out=bank - 1,
        sigma=sigma,
        generator=np.random.default_rng(seed),
        world=world,
        seed=seed,
    )
