"""``bank-node privacy``: what noised sums have told of this bank's rows, and what is left."""

import contextlib
import itertools
import math
from datetime import date
from fractions import Fraction
from pathlib import Path

import click

from bank_node.commands.options import answers, facts_table, state_option
from bank_node.state.directory import StateDirectory
from bank_node.state.privacy_ledger import BlockTotal, Charge, ChargeState
from fraudfed.console import Answer, say, stdout_console
from fraudfed.privacy.accounting import epsilon_of, gaussian_epsilon
from fraudfed.privacy.terms import PrivacyUnit


class SpentBlock(Answer):
    """What blocks have spent that have spent the same.

    Attributes
    ----------
    name : str
        Days, ``table`` with a key of the ledger of sets, or ``customers``.
    blocks : int
        How many: days, or 1.
    rho, rho_left : float
        Spent, rounded up, and what the budget still holds.
    epsilon : float
        Of what is spent, at the budget's delta, rounded up.
    gaussian_epsilon : float
        The exact epsilon, if all noise were continuous Gaussian: for orientation, never enforced.
    epsilon_left : float
        A run with this epsilon, at the same delta, would still fit.
    """

    name: str
    blocks: int
    rho: float
    rho_left: float
    epsilon: float
    gaussian_epsilon: float
    epsilon_left: float


class ChargedEvent(Answer):
    """A noised sum that this bank took part in, or set out to.

    Attributes
    ----------
    run_id, label : str
    unit : PrivacyUnit
    adjacency : str
    banks : tuple of str
    generation, tolerated_colluders, n_values : int
    l2_in_sigmas : float
        How far one unit moves the sum, in deviations of its noise.
    least_sigma, largest_sigma : float
        Deviations of the noise that is left without the colluders' parts, in units of the sum.
    rho : float
    first_day, last_day : date or None
        Days that are charged; None for files without times.
    tables : tuple of str
        Keys of such a file.
    state : str
        ``reserved``, ``committed`` or ``released``; only the last costs nothing.
    """

    run_id: str
    label: str
    unit: PrivacyUnit
    adjacency: str
    banks: tuple[str, ...]
    generation: int
    tolerated_colluders: int
    n_values: int
    l2_in_sigmas: float
    least_sigma: float
    largest_sigma: float
    rho: float
    first_day: date | None
    last_day: date | None
    tables: tuple[str, ...]
    state: str


class PrivacySpent(Answer):
    """``privacy ledger``.

    Attributes
    ----------
    name : str
        Of the bank.
    epsilon, delta : float
        The budget of each block over its life.
    rho : float
        The same as the ledger keeps it, rounded down.
    blocks : tuple of SpentBlock
    events : tuple of ChargedEvent
        In the order in which they were reserved.
    """

    name: str
    epsilon: float
    delta: float
    rho: float
    blocks: tuple[SpentBlock, ...]
    events: tuple[ChargedEvent, ...]


@click.group()
def privacy() -> None:
    """Show what noised sums have told of this bank's rows."""


def _show_spent(spent: PrivacySpent) -> None:
    from rich.table import Table

    facts = facts_table(f"privacy ledger of {spent.name}")
    facts.add_row(
        "budget for the life of each block",
        f"epsilon {spent.epsilon:g} at delta {spent.delta:g} (rho {spent.rho:.4g})",
    )
    stdout_console().print(facts)
    if not spent.events:
        say("No run with privacy terms has asked for anything yet.")
        return
    blocks = Table(
        "block", "epsilon spent", "exact Gaussian", "rho spent", "rho left", "still fits"
    )
    for one in spent.blocks:
        blocks.add_row(
            one.name,
            f"{one.epsilon:.4g}",
            f"{one.gaussian_epsilon:.4g}",
            f"{one.rho:.4g}",
            f"{one.rho_left:.4g}",
            f"epsilon {one.epsilon_left:.3g}",
        )
    stdout_console().print(blocks)
    events = Table(
        "run", "sums", "number", "unit", "banks", "generation", "days or table", "rho", "state"
    )
    for group in _groups(spent.events):
        first = group[0]
        events.add_row(
            first.run_id,
            _kind(first),
            str(len(group)),
            first.unit.value,
            f"{len(first.banks)}, {first.tolerated_colluders} may collude",
            str(first.generation),
            _where(first),
            f"{math.fsum(one.rho for one in group):.4g}",
            first.state,
        )
    stdout_console().print(events)
    if any(one.unit is PrivacyUnit.ROW and one.state != "released" for one in spent.events):
        say("Sums whose unit is the row bound what they tell of a row, not of a customer.")
    say("Runs without privacy terms are not in this ledger: what they tell has no bound.")


@privacy.command("ledger")
@state_option
@answers(PrivacySpent, _show_spent)
def privacy_ledger(path: Path) -> PrivacySpent:
    """Show what noised sums have told of this bank's rows, and what is left of its budget."""
    state = StateDirectory(path)
    with contextlib.ExitStack() as stack:
        if state.config.privacy_ledger is None:
            # A directory of an earlier release: its ledger is made and named now.
            stack.enter_context(state.locked())
        ledger = state.privacy_ledger()
    rules = state.config.privacy
    delta = rules.usable_delta()
    return PrivacySpent(
        name=state.config.name,
        epsilon=rules.epsilon,
        delta=rules.delta,
        rho=float(ledger.budget),
        blocks=tuple(_spent_block(one, ledger.budget, delta) for one in ledger.totals()),
        events=tuple(_charged(charge) for charge in ledger.charges()),
    )


def _spent_block(total: BlockTotal, budget: Fraction, delta: Fraction) -> SpentBlock:
    # The budget may have been lowered since.
    left = max(budget - total.rho, Fraction(0))
    return SpentBlock(
        name=total.name,
        blocks=total.n_blocks,
        rho=float(total.rho),
        rho_left=float(left),
        epsilon=epsilon_of(total.rho, delta),
        gaussian_epsilon=gaussian_epsilon(total.rho, float(delta)),
        epsilon_left=epsilon_of(left, delta),
    )


def _charged(charge: Charge) -> ChargedEvent:
    event, days = charge.event, charge.event.blocks.days
    return ChargedEvent(
        run_id=event.run_id,
        label=event.label,
        unit=event.unit,
        adjacency=event.adjacency,
        banks=event.banks,
        generation=event.generation,
        tolerated_colluders=event.tolerated_colluders,
        n_values=event.n_values,
        l2_in_sigmas=math.sqrt(event.moved),
        least_sigma=math.sqrt(event.least_variance),
        largest_sigma=math.sqrt(event.largest_variance),
        rho=float(event.rho),
        first_day=None if days is None else days.first,
        last_day=None if days is None else days.last,
        tables=event.blocks.tables,
        state=ChargeState(charge.state).name.lower(),
    )


def _groups(events: tuple[ChargedEvent, ...]) -> list[list[ChargedEvent]]:
    """Return events that follow each other and differ in detail only; all are in the JSON."""

    def same(event: ChargedEvent) -> tuple[object, ...]:
        common = (event.run_id, _kind(event), event.unit, event.banks, event.generation)
        return (*common, event.state, _where(event))

    return [list(group) for _, group in itertools.groupby(events, key=same)]


def _kind(event: ChargedEvent) -> str:
    return event.label.partition(":")[0]


def _where(event: ChargedEvent) -> str:
    if event.first_day is None:
        # Of the several keys of a file the first tells it apart.
        return f"table {event.tables[0]}"
    return f"{event.first_day} to {event.last_day}"
