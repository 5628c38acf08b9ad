"""Options that several benchmarks have."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fraudfed.paillier.keys import DEFAULT_KEY_BITS, MAXIMUM_KEY_BITS, MINIMUM_KEY_BITS
from fraudfed.threads import MAX_THREADS, usable_cores

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


def json_option(command: F) -> F:
    """``--json``, given to the command as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


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
        click.option("--rows", type=click.IntRange(min=100), default=300_000, show_default=True),
        click.option("--features", type=click.IntRange(1, 4096), default=30, show_default=True),
        click.option("--trees", type=click.IntRange(min=1), default=50, show_default=True),
        click.option("--max-depth", type=click.IntRange(1, 30), default=5, show_default=True),
        click.option("--max-bin", type=click.IntRange(2, 256), default=64, show_default=True),
        click.option(
            "--prevalence",
            type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
            default=0.02,
            show_default=True,
            help="Share of positives.",
        ),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
    )
    for option in reversed(options):
        command = option(command)
    return command
