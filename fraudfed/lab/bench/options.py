"""Options that several benchmarks have."""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import click

from fraudfed.console import answers
from fraudfed.errors import FraudFedError
from fraudfed.machine.threads import MAX_THREADS, usable_cores
from fraudfed.paillier.keys import DEFAULT_KEY_BITS, MAXIMUM_KEY_BITS, MINIMUM_KEY_BITS

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of numbers without NaN, which no comparison keeps out, and without infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; ends the command if it is outside."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


def _even(_context: click.Context, _parameter: click.Parameter, key_bits: int) -> int:
    if key_bits % 2:
        raise click.BadParameter(f"{key_bits} is odd; expected an even number")
    return key_bits


def key_bits_option(command: F) -> F:
    """``--key-bits``, even, given to the command as ``key_bits``."""
    return click.option(
        "--key-bits",
        type=click.IntRange(MINIMUM_KEY_BITS, MAXIMUM_KEY_BITS),
        default=DEFAULT_KEY_BITS,
        show_default=True,
        callback=_even,
        help="Size of the Paillier modulus.",
    )(command)


class Figures(Protocol):
    """What a benchmark measures."""

    def to_text(self) -> str:
        """Return a report for the terminal."""
        ...


def figures_of(
    shape: type[Figures], *, fails: Callable[[Any], FraudFedError | None] = lambda _: None
) -> Callable[[F], F]:
    """``answers`` of a command that returns figures with a report of their own.

    Parameters
    ----------
    shape : type
        Of the figures.
    fails : callable
        As of ``answers``.
    """
    return answers(shape, lambda figures: click.echo(figures.to_text()), fails=fails)


def number_option(
    name: str, default: int, text: str, *, least: int = 1, most: int | None = None
) -> Callable[[F], F]:
    """``name``: a whole number from ``least`` to ``most``; the help shows its default."""
    kind = click.IntRange(least, most)
    return click.option(name, type=kind, default=default, show_default=True, help=text)


def threads_option(what: str) -> Callable[[F], F]:
    """``--threads`` of ``what``, given to the command as ``threads``; by default all cores."""
    return click.option(
        "--threads",
        type=click.IntRange(1, MAX_THREADS),
        default=usable_cores,
        help=f"{what}  [default: all cores]",
    )


def missing_option(command: F) -> F:
    """``--missing``: share of values that are missing."""
    return click.option(
        "--missing",
        type=FiniteRange(0.0, 1.0, max_open=True),
        default=0.0,
        show_default=True,
        help="Share of values that are missing.",
    )(command)


def workload_options(command: F) -> F:
    """Size and shape of the synthetic training that several commands measure."""
    options = (
        number_option("--rows", 300_000, "Rows of all banks together.", least=100),
        number_option("--features", 30, "Features of a row.", most=4096),
        number_option("--trees", 50, "Trees of the model."),
        number_option("--max-depth", 5, "Depth of a tree.", most=30),
        number_option("--max-bin", 64, "Bins of a feature.", least=2, most=256),
        click.option(
            "--prevalence",
            type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
            default=0.02,
            show_default=True,
            help="Share of positives.",
        ),
        number_option("--seed", 0, "Seed of the rows.", least=0),
    )
    for option in reversed(options):
        command = option(command)
    return command
