"""What is allowed of a bank's rows and yet unusual: one class, no fraud, no value."""

import logging
from collections.abc import Mapping, Sequence

from fraudfed.intake.windows import JUDGE, SELECT, WindowCounts
from fraudfed.reading.problems import shortened

_log = logging.getLogger(__name__)


def row_warnings(
    source: str,
    counts: Mapping[str, WindowCounts],
    names: Sequence[str],
    *,
    n_rows: int,
    labels_seen: Sequence[float],
    n_missing: Sequence[int],
    absent: Sequence[str] = (),
    more: Sequence[str] = (),
) -> tuple[str, ...]:
    """Log and return what is allowed of rows and yet unusual.

    Parameters
    ----------
    source : str
        What messages call the data.
    counts : mapping of str to WindowCounts
    names : sequence of str of length n_features
    n_rows : int
        To train on.
    labels_seen : sequence of float
        The labels that those have.
    n_missing : sequence of int of length n_features
        How many of those have no value.
    absent, more : sequence of str
        Columns that are not there, and further warnings, which come first.
    """
    found = list(more)
    if len(labels_seen) == 1:
        found.append(
            f"{source}: all {n_rows} labels are {labels_seen[0]:g}; this bank alone has one "
            "class, training continues with the others'"
        )
    for name in (SELECT, JUDGE):
        count = counts.get(name)
        if count is not None and not count.frauds:
            found.append(
                f"{source}: none of {count.rows} payments of the window to {name} by is a "
                "reported fraud; this bank adds nothing to what the others' frauds say there"
            )
    empty = [name for name, count in zip(names, n_missing, strict=True) if count == n_rows]
    if empty:
        without = f"there is no column {', '.join(absent)}: " if absent else ""
        found.append(f"{source}: {without}no row has a value in {shortened(', '.join(empty))}")
    for text in found:
        _log.warning("%s", text)
    return tuple(found)
