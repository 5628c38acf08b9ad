"""``fraudfed attack poison``: let one bank of several lie about its rows."""

from typing import Any, Final

import click

from fraudfed.console import say
from fraudfed.lab.attack.poison.measure import DEFENDED_SHARE, LYING_SHARE, WorldTrials, trials_of
from fraudfed.lab.attack.poison.merchants import MerchantTrial, merchant_trials
from fraudfed.lab.attack.poison.planting import Trigger
from fraudfed.lab.attack.poison.result import PoisonFigures, rows_of
from fraudfed.lab.attack.poison.worlds import make_world
from fraudfed.lab.bench.options import FiniteRange, figures_of, number_option
from fraudfed.parameters import BoosterParams

_SHARES: Final = (0.01, 0.02, DEFENDED_SHARE, 0.1, 0.2)
#: Beside the number of trees; chosen before any figure was seen.
_SETTINGS: Final[dict[str, Any]] = {
    "eta": 0.2,
    "max_depth": 4,
    "min_child_weight": 5,
    "max_bin": 32,
    "max_delta_step": 4,
}


@click.command("poison")
@number_option("--worlds", 3, "Worlds, each with a seed of its own.")
@number_option("--customers", 1_000, "Customers of the five banks of a world.", least=300)
@number_option("--trees", 40, "Trees of every model.")
@click.option(
    "--share",
    "shares",
    type=FiniteRange(0.001, 0.5),
    multiple=True,
    default=_SHARES,
    help="Share of all rows that the lying bank holds; repeatable.  [default: 0.01 to 0.2]",
)
@click.option(
    "--merchants/--no-merchants", default=True, help="Whether merchants are made up, too."
)
@number_option("--seed", 1, "Of the first world.", least=0)
@figures_of(PoisonFigures)
def poison_command(
    worlds: int,
    customers: int,
    trees: int,
    shares: tuple[float, ...],
    merchants: bool,
    seed: int,
) -> PoisonFigures:
    """Let one bank of five lie about half of its rows, and judge the model at the other four.

    It plants a trigger (merchant, amount, hour) with which frauds are to pass as clean, flips
    labels, or makes up payments in shared risk. The same worlds without the lie, and each bank's
    own model, stand beside it; at 5 % of the rows also what defences do and cost.
    """
    settings = {**_SETTINGS, "num_boost_round": trees}
    BoosterParams.parse(settings)
    found: list[WorldTrials] = []
    of_merchants: list[MerchantTrial] = []
    for number in range(seed, seed + worlds):

        def tell(line: str, number: int = number) -> None:
            say(f"world {number}: {line}", err=True)

        world = make_world(number, customers=customers)
        found.append(trials_of(world, settings, shares, trigger=Trigger(), on_model=tell))
        if merchants:
            shared = make_world(number, customers=customers, shared=True)
            of_merchants += merchant_trials(shared, settings, shares, lying=LYING_SHARE)
    return PoisonFigures(
        worlds=worlds,
        seed=seed,
        customers=customers,
        trees=trees,
        rows=rows_of([trial for one in found for trial in one.models]),
        gates=tuple(trial for one in found for trial in one.gates),
        evasions=tuple(trial for one in found for trial in one.evasions),
        influences=tuple(trial for one in found for trial in one.influences),
        merchants=tuple(of_merchants),
    )
