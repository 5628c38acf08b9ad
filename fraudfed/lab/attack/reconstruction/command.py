"""``fraudfed attack reconstruction``: what the statistics in a model file give away of rows."""

from typing import Any, Final

import click
import numpy as np

from data_gen.settings.presets import PRESETS
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.console import examples, say
from fraudfed.lab.attack.reconstruction.measure import Question, attack_model
from fraudfed.lab.attack.reconstruction.result import CaseFigures, ReconstructionFigures
from fraudfed.lab.attack.worlds import OTHER_WORLD, parameters_of, rows_of
from fraudfed.lab.bench.options import figures_of, number_option, threads_option

#: The defaults, and parameters under which a leaf may hold one row.
CASES: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "unguarded": {
        "min_child_weight": 0,
        "max_depth": 8,
        "max_delta_step": 0,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
    },
}
#: Bits of node statistics: as published by default, and as they are.
_BITS = (6, 24)


@click.command(
    "reconstruction",
    epilog=examples(
        "fraudfed attack reconstruction",
        "fraudfed attack reconstruction --rows 200 --targets 200 --trees-used 20",
    ),
)
@click.option(
    "--world",
    type=click.Choice(list(PRESETS)),
    default="small",
    show_default=True,
    help="World to train on.",
)
@number_option("--rows", 0, "Rows of the training, 0: all.", least=0)
@number_option(
    "--targets", 600, "Rows in question: frauds, or all if there are not more.", least=10
)
@number_option("--trees-used", 3, "Trees that the attack uses.")
@number_option("--seed", 42, "Of the world.", least=0)
@threads_option("Threads.")
@figures_of(ReconstructionFigures)
def reconstruction_command(
    world: str, rows: int, targets: int, trees_used: int, seed: int, threads: int
) -> ReconstructionFigures:
    """Rebuild training rows from the statistics of an exported model (TimberStrike).

    With the default parameters and without guards, with rounded and unrounded node statistics;
    beside a guess from public marginals, rows of another world, and a model of another world.
    """
    generator = np.random.default_rng(seed)
    tables = tuple(rows_of(world, seed=each, rows=rows) for each in (seed, seed + OTHER_WORLD))
    question = Question.of(tables[0], tables[1], targets=targets, generator=generator)
    cases: list[CaseFigures] = []
    for name, given in CASES.items():
        # The attack looks at no later trees.
        params = parameters_of({**given, "num_boost_round": trees_used})
        models = tuple(
            train(params, table, SoloCommunicator(), threads=threads).model for table in tables
        )
        for bits in _BITS:
            case = attack_model(
                question,
                (models[0], models[1]),
                params,
                parameters=name,
                bits=bits,
                trees=trees_used,
                generator=generator,
            )
            say(f"{name}, {bits} bits: {len(case.recovered)} attributes recovered", err=True)
            cases.append(case)
    return ReconstructionFigures(
        world=world,
        seed=seed,
        rows=tables[0].n_rows,
        targets=len(question.rows),
        trees=trees_used,
        question=question.words,
        cases=tuple(cases),
    )
