"""How much memory a process may use: what the machine has, or the group that it runs in allows."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fraudfed.errors import ConfigurationError

#: Of the memory that this process may use, unless ``--memory-limit`` says otherwise. The rest is
#: for what else runs here, and for files that the system keeps at hand.
SHARE: Final = 0.5
#: Below this nothing works: interpreter and libraries alone take some 300 MiB.
LEAST: Final = 1 << 29

_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}


def parse_bytes(option: str, text: str, *, least: int = 1) -> int:
    """Read an amount of memory: ``4GiB``, ``1.5 GB``, or a number of bytes.

    Parameters
    ----------
    option : str
        What it was given for.
    text : str
    least : int

    Raises
    ------
    ConfigurationError
        If it is none, or less than ``least``.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*([A-Za-z]*)", text.strip())
    unit = None if found is None else _UNITS.get(found[2].upper())
    if found is None or unit is None or float(found[1]) == 0:
        raise ConfigurationError(
            f"{option} is {text!r}, expected an amount such as 4GiB, 512MiB or 8GB"
        )
    amount = int(float(found[1]) * unit)
    if amount < least:
        raise ConfigurationError(
            f"{option} is {text!r}, expected at least {least >> 20} MiB; give more"
        )
    return amount


def default_limit() -> int:
    """Return half of what this process may use, in bytes; at least ``LEAST``."""
    return max(LEAST, int(usable_memory() * SHARE))


def usable_memory(root: Path = Path("/")) -> int:
    """Return the memory of this machine, or the limit of a group of processes that this one is in.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of all control groups above this process, of version 1 and 2.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, "memory.max";
    https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, "memory.limit_in_bytes".
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path of the group may be the host's, and the root is the group.
        above = base / group.lstrip("/")
        for directory in (base, above, *above.parents):
            if directory != base and not directory.is_relative_to(base):
                continue
            try:
                text = (directory / name).read_text().strip()
            except OSError:
                continue
            # "max", or for version 1 a number that no machine has, is none.
            if text.isdigit():
                yield int(text)
