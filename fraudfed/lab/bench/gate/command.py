"""``fraudfed bench gate``: try the gate on worlds whose truth is known."""

import click
import numpy as np

from fraudfed.catalogue.plans import PLANS, find_plan
from fraudfed.console import say
from fraudfed.errors import DataError
from fraudfed.gate.decision import DEFAULT_MARGIN
from fraudfed.lab.bench.gate.models import trials_of
from fraudfed.lab.bench.gate.result import GateFigures, errors_of
from fraudfed.lab.bench.gate.verdicts import Trial, verdicts_of
from fraudfed.lab.bench.gate.worlds import trial_worlds
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import figures_of, number_option, threads_option

#: How many cases the gate is given.
_CASES = (50, 100, 200, 500, 1000)
_MANY_CASES = 500


@click.command("gate")
@number_option("--worlds", 4, "Worlds, of four presets in turn; one is the control.")
@number_option("--further-frauds", 20_000, "Expected frauds of a world after the models' choice.")
@click.option(
    "--plan",
    type=click.Choice(list(PLANS)),
    default="quick",
    show_default=True,
    help="By which shared and own models are chosen.",
)
@number_option("--seed", 1, "Of the first world.", least=0)
@threads_option("Threads.")
@figures_of(GateFigures)
def gate_command(
    worlds: int, further_frauds: int, plan: str, seed: int, threads: int
) -> GateFigures:
    """Try the gate on worlds that go on until it is known which model is better.

    The shared model of a world's banks and the best that each has alone are chosen by the same
    plan; the gate sees some of the later weeks, and all the others are the truth.
    """
    chosen = find_plan(plan)
    trials: list[Trial] = []
    given: list[int] = []
    for number, world in enumerate(trial_worlds(worlds, seed=seed, further_frauds=further_frauds)):
        for bank in trials_of(world, chosen, threads=threads):
            found = [
                (cases, trial)
                for cases in _CASES
                for trial in verdicts_of(
                    bank,
                    preset=world.preset,
                    seed=world.config.seed,
                    cases=(cases,),
                    margin=DEFAULT_MARGIN,
                    generator=np.random.default_rng((world.config.seed, cases)),
                )
            ]
            given += [cases for cases, _ in found]
            trials += [trial for _, trial in found]
        said = ", ".join(
            f"{t.bank} {t.verdict} ({t.truth:+.3f})" for t in trials if t.seed == world.config.seed
        )
        say(f"world {number + 1} of {worlds}, {world.preset}: {said or 'no verdict'}", err=True)
    if not trials:
        raise DataError("none of the worlds has a bank with enough cases; ask for more frauds")
    groups = {c: [t for g, t in zip(given, trials, strict=True) if g == c] for c in _CASES}
    many = [t for g, t in zip(given, trials, strict=True) if g >= _MANY_CASES]
    banks = {(t.seed, t.bank): t.truth for t in trials}
    return GateFigures(
        worlds=worlds,
        banks=len(banks),
        plan=plan,
        seed=seed,
        further_frauds=further_frauds,
        margin=DEFAULT_MARGIN,
        mean_truth=float(np.mean(list(banks.values()))),
        by_cases=tuple(
            errors_of(found, cases=cases, margin=DEFAULT_MARGIN)
            for cases, found in groups.items()
            if found
        ),
        from_500=errors_of(many, cases=_MANY_CASES, margin=DEFAULT_MARGIN) if many else None,
        trials=tuple(trials),
        machine=Machine.here("numpy"),
    )
