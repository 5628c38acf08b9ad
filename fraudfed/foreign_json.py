"""JSON that somebody else wrote: limited, strict, and nothing but one error if it is not.

Python's reader alone follows brackets as deep as its stack, takes ``Infinity`` for a number and the
last of two equal names. What is read here is no longer than allowed, nests at most a few levels,
names each field once and holds finite numbers only.
"""

import json
import math
from typing import Any

#: Deeper than anything that is read, and far from the end of the stack.
MOST_LEVELS = 32


def parse_foreign(data: bytes | str, *, most_bytes: int) -> Any:
    """Return the JSON value.

    Parameters
    ----------
    data : bytes (UTF-8) or str
    most_bytes : int
        Longest text that is looked at.

    Raises
    ------
    ValueError
        If the text is too long, no UTF-8, no JSON, nested deeper than ``MOST_LEVELS``, or has a
        name twice in an object or a number that is not finite. Its text quotes nothing.
    """
    if len(data) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes} bytes")
    try:
        text = data.decode() if isinstance(data, bytes) else data
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    _check_levels(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a field twice")
    return found


def _constant(name: str) -> float:
    del name
    raise ValueError("a number is not finite")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is not finite")
    return value


def _check_levels(value: object) -> None:
    """Go down level by level, not by recursion."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")
