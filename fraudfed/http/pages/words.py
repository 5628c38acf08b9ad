"""Times, sizes and digests as pages write them."""

import time
from datetime import UTC, datetime

from markupsafe import Markup

_SIZES = ("B", "kB", "MB", "GB", "TB")


def when(seconds: float | None) -> str | Markup:
    """Return a time in UTC, readable by people and programs; ``-`` for none.

    Parameters
    ----------
    seconds : float or None
        UTC epoch seconds.
    """
    if seconds is None:
        return "-"
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s"
    return Markup('<time datetime="{}">{}</time>').format(
        moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    )


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    left = max(0, int(seconds))
    parts = []
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, unit)
        if number:
            parts.append(f"{number} {name}")
    return " ".join(parts[:2]) or "0 s"


def ago(seconds: float) -> str:
    """Return how long ago a time was."""
    return f"{duration(time.time() - seconds)} ago"


def count(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def size(number: float) -> str:
    """Return a number of bytes in a unit of powers of 1000."""
    for unit in _SIZES:
        if number < 1000 or unit == _SIZES[-1]:
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def digest(text: str) -> Markup:
    """Return the first digits of a digest, all of them where the pointer rests."""
    return Markup('<code title="{}">{}</code>').format(text, text[:12])
