"""Options that several benchmarks have."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fraudfed.paillier.keys import DEFAULT_KEY_BITS, MAXIMUM_KEY_BITS, MINIMUM_KEY_BITS
from fraudfed.threads import MAX_THREADS, usable_cores

__all__ = ["json_option", "key_bits_option", "threads_option"]

F = TypeVar("F", bound=Callable[..., Any])


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
