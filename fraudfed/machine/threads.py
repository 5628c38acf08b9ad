"""How many threads a computation may use."""

import os

#: More threads than this are refused; the compiled kernels reserve room for so many.
MAX_THREADS = 1024


def usable_cores() -> int:
    """Return the number of cores this process may run on: the default of every ``threads``."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, MAX_THREADS)
