"""Work on slices of a list, over threads: for kernels that compute without the GIL."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def over_threads(
    work: Callable[[Sequence[T]], list[R]], items: Sequence[T], *, threads: int, unit: int = 1
) -> list[R]:
    """Return ``work(items)``, computed as up to ``threads`` slices at the same time.

    Parameters
    ----------
    work : callable
        From some items to one result for each; slices are worked on apart.
    items : sequence
    threads : int
    unit : int
        Items that cost no more than one of them does: slices are whole units.
    """
    n_units = -(-len(items) // unit)
    n_slices = min(threads, n_units)
    if n_slices <= 1:
        return work(items)
    # Sizes differ by one unit at most, the larger ones first.
    size = -(-n_units // n_slices) * unit
    slices = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(len(slices) - 1) as pool:
        others = [pool.submit(work, part) for part in slices[1:]]
        results = work(slices[0])
        for other in others:
            results += other.result()
    return results
