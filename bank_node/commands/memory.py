"""How much memory a command may take, and where rows lie that do not fit."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fraudfed.errors import ConfigurationError

if TYPE_CHECKING:
    from bank_node.data.streamed import Bounded

_UNITS: Final = {"KIB": 10, "MIB": 20, "GIB": 30, "TIB": 40}
_SIZE: Final = re.compile(r"([0-9]{1,6})(KiB|MiB|GiB|TiB)", re.I)


def memory_bytes(text: str) -> int:
    """Read a size such as ``4GiB``.

    Raises
    ------
    ConfigurationError
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"size {text!r}: expected a whole number and a unit, as 4GiB")
    return int(found[1]) << _UNITS[found[2].upper()]


memory_option = click.option(
    "--memory-limit",
    "memory_limit",
    default=None,
    metavar="SIZE",
    help="Read and build in pieces, within about so much memory, as 4GiB.  [default: all at once]",
)


def bounded_by(memory_limit: str | None, state: Path) -> "Bounded | None":
    """Return the limit that was asked for; rows lie on the disk of the state directory."""
    if memory_limit is None:
        return None
    from bank_node.data.streamed import Bounded

    return Bounded(memory_bytes(memory_limit), state)
