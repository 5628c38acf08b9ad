"""Columns named on a command line, whatever characters are in their names."""

import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches

from fraudfed.errors import ConfigurationError, DataError
from fraudfed.foreign_text import visible

#: Characters of a list of columns that a message repeats.
_SHOWN_CHARACTERS = 300
#: One name of a list, to the comma behind it or to the end.
_ITEM = re.compile(r'(?:\s*"(?P<quoted>(?:[^"]|"")*)"\s*|(?P<plain>[^",]*))(?=,|\Z)')


def named_columns(
    texts: Sequence[str], there: Sequence[str], *, option: str, source: str
) -> tuple[str, ...]:
    """Return the columns that the texts of an option name, each once.

    A text is the name of a column, or a list of names as a row of a CSV file holds them: commas
    between them, a name with commas or quotes in quotes, blanks around a name left out unless it is
    quoted.

    Parameters
    ----------
    texts : sequence of str
        One for each time that the option was given.
    there : sequence of str
        The columns of the file.
    option : str
        As it is typed, for the error text: ``--drop``.
    source : str
        The file, for the error text.

    Raises
    ------
    ConfigurationError
        If quotes do not match, or a text can be read in both ways.
    DataError
        If a column is not there.
    """
    found: dict[str, None] = {}
    for text in texts:
        listed = _listed(text, option=option)
        if text in there:
            if len(listed) > 1 and all(name in there for name in listed):
                raise ConfigurationError(
                    f"{option} {text!r}: is the name of one column and those of {len(listed)}; "
                    f"write {option} {_quoted(text)!r} for the one, or one name at a time"
                )
            listed = [text]
        for name in listed:
            require_column(name, there, option=option, source=source)
        found |= dict.fromkeys(listed)
    return tuple(found)


def require_column(name: str, there: Sequence[str], *, option: str, source: str) -> None:
    """Raise DataError unless a column is there; says which could be meant."""
    if name in there:
        return
    close = get_close_matches(name, there, n=1)
    meant = f"did you mean {close[0]!r}? The" if close else "the"
    columns = visible(", ".join(_quoted(column) for column in there), _SHOWN_CHARACTERS)
    raise DataError(
        f"{source}: {option} names column {name!r}, which is missing; {meant} columns are {columns}"
    )


def option_of(option: str, name: str) -> str:
    """Return the option that names a column, as it is typed in a shell."""
    return f"{option} {shlex.quote(_quoted(name))}"


def _listed(text: str, *, option: str) -> list[str]:
    """Return the names of a list, without those of nothing between two commas."""
    names = []
    position = 0
    while position <= len(text):
        item = _ITEM.match(text, position)
        if item is None:
            raise ConfigurationError(
                f"{option} {text!r}: quotes do not match, expected names with commas between them; "
                "put a name with commas or quotes in quotes, as in '\"distance, km\",amount'"
            )
        quoted, plain = item["quoted"], item["plain"]
        name = plain.strip() if quoted is None else quoted.replace('""', '"')
        if name:
            names.append(name)
        position = item.end() + 1
    return names


def _quoted(name: str) -> str:
    """Return a name as a list of columns holds it."""
    if any(character in name for character in ',"\n\r') or name != name.strip():
        return '"' + name.replace('"', '""') + '"'
    return name
