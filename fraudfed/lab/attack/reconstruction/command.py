"""``fraudfed attack reconstruction``: what the statistics in a model file give away of rows."""

import itertools
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

#: Deep trees of all rows and columns, whose leaves may hold one row.
_UNGUARDED: Final[dict[str, Any]] = {
    "min_child_weight": 0,
    "max_depth": 12,
    "max_bin": 256,
    "max_delta_step": 0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
}
#: The defaults; no guards; and none but the default ``min_child_weight``.
CASES: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "unguarded": _UNGUARDED,
    "large leaves": {
        name: value for name, value in _UNGUARDED.items() if name != "min_child_weight"
    },
}
#: Columns of the attacked models: all, and those of the payment and its customer.
COLUMNS: Final = ("all", "payment")
#: What is derived from what others did: with it a few splits tell frauds from the rest, and leaves
#: say little about anything else.
_OF_OTHERS: Final = ("payee_", "terminal_", "merchant_count", "merchant_fraud", "shared_")
#: Bits of node statistics: as published by default, and as they are.
_BITS = (6, 24)


@click.command(
    "reconstruction",
    epilog=examples(
        "fraudfed attack reconstruction",
        "fraudfed attack reconstruction --rows 20000 --attributes 5",
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
    "--targets", 1000, "Rows in question: frauds, or all if there are not more.", least=10
)
@number_option("--trees-used", 3, "Trees that the attack uses.")
@number_option(
    "--attributes", 10, "Attributes to match rows by, those with most gain; 0: all.", least=0
)
@number_option("--seed", 42, "Of the world.", least=0)
@threads_option("Threads.")
@figures_of(ReconstructionFigures)
def reconstruction_command(
    world: str,
    rows: int,
    targets: int,
    trees_used: int,
    attributes: int,
    seed: int,
    threads: int,
) -> ReconstructionFigures:
    """Rebuild training rows from the statistics of an exported model (TimberStrike).

    With the default parameters, without guards, and with none but large leaves; with rounded and
    unrounded node statistics; on all columns and on those of the payment and its customer alone.
    Beside it stand a guess from public marginals, rows of another world, and a model of another
    world.
    """
    generator = np.random.default_rng(seed)
    tables = tuple(rows_of(world, seed=each, rows=rows) for each in (seed, seed + OTHER_WORLD))
    question = Question.of(tables[0], tables[1], targets=targets, generator=generator)
    cases: list[CaseFigures] = []
    for columns, name in itertools.product(COLUMNS, CASES):
        asked = question if columns == "all" else question.about(_own_columns(question))
        # The attack looks at no later trees.
        params = parameters_of({**CASES[name], "num_boost_round": trees_used})
        models = tuple(
            train(params, table, SoloCommunicator(), threads=threads).model
            for table in (asked.world, asked.other)
        )
        for bits in _BITS:
            case = attack_model(
                asked,
                (models[0], models[1]),
                params,
                parameters=name,
                bits=bits,
                trees=trees_used,
                generator=generator,
                columns=columns,
                attributes=attributes,
            )
            say(
                f"{columns} columns, {name}, {bits} bits: {len(case.better_than_guess)} of "
                f"{len(case.attributes)} attributes better than a guess",
                err=True,
            )
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


def _own_columns(question: Question) -> list[str]:
    return [name for name in question.world.schema.names if not name.startswith(_OF_OTHERS)]
