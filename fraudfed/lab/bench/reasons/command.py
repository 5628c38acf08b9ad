"""``fraudfed bench reasons``: whether the reasons of alerts are the planted causes."""

from datetime import UTC, datetime

import click

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.console import say
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import FiniteRange, figures_of, number_option, threads_option
from fraudfed.lab.bench.reasons.measure import measure
from fraudfed.lab.bench.reasons.result import ReasonsFigures, WorldFigures
from fraudfed.lab.bench.reasons.worlds import WORLDS, world_rows

_RECIPES = {"outbound": RECIPE, "inbound": INBOUND_RECIPE}
#: Each world, and whose view of it.
_CASES = {
    f"{preset}:{view}": (preset, _RECIPES[view])
    for preset, config in WORLDS.items()
    for view in ("outbound", "inbound")
    if view == "outbound" or config.incoming_delay_days is not None
}
_DEFAULT = (
    "small:outbound",
    "instant-payments:outbound",
    "aml-mules:outbound",
    "aml-mules:inbound",
    "first-party:outbound",
)
_ENOUGH = 20


@click.command("reasons")
@click.option(
    "--world",
    "worlds",
    type=click.Choice(list(_CASES)),
    multiple=True,
    default=_DEFAULT,
    help="Preset of the generator and view; repeatable.  [default: five of them]",
)
@click.option(
    "--alert-share",
    type=FiniteRange(0.0, 1.0, min_open=True),
    default=0.005,
    show_default=True,
    help="Share of later payments that alert.",
)
@number_option("--seed", 42, "Of the worlds.", least=0)
@threads_option("Threads.")
@figures_of(ReasonsFigures)
def reasons_command(
    worlds: tuple[str, ...], alert_share: float, seed: int, threads: int
) -> ReasonsFigures:
    """Measure how often the first two reasons of a true alert name a planted cause.

    The causes of each kind of fraud were written down from the generator's documentation before
    anything was measured.
    """
    found: list[WorldFigures] = []
    for case in dict.fromkeys(worlds):
        preset, recipe = _CASES[case]
        rows = world_rows(preset, recipe, seed=seed)
        figures = measure(
            rows, preset=preset, recipe=recipe, alert_share=alert_share, threads=threads
        )
        say(f"{case}: {figures.named:.1%} of {figures.true_alerts:,} true alerts", err=True)
        found.append(figures)
    return ReasonsFigures(
        seed=seed,
        alert_share=alert_share,
        worlds=tuple(found),
        least_named=_least_named(found),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=Machine.here("xgboost", "numpy"),
    )


def _least_named(worlds: list[WorldFigures]) -> float:
    counts: dict[tuple[str, str], list[float]] = {}
    for world in worlds:
        for kind in world.by_kind:
            sums = counts.setdefault((world.recipe, kind.kind), [0.0, 0.0])
            sums[0] += kind.named * kind.true_alerts
            sums[1] += kind.true_alerts
    return min((named / n for named, n in counts.values() if n >= _ENOUGH), default=0.0)
