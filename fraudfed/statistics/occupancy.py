"""How many identifiers two or more banks know, from hashed cells alone.

Each bank marks the cells of its identifiers; the sum says in how many banks a cell is marked. A
cell without a mark is certain, one with marks is not: identifiers collide. Two estimates correct
for that.

* All distinct identifiers by linear counting: K.-Y. Whang, B. T. Vander-Zanden, H. M. Taylor, "A
  linear-time probabilistic counting algorithm for database applications", ACM Transactions on
  Database Systems 15(2), 1990, pages 208-229: estimate -m ln V with V the share of unmarked cells
  among m, and its standard error (m (e^t - t - 1))^(1/2) at load t.
* Those that one bank alone knows: an identifier that nobody else knows meets an unmarked cell of
  the others with a known probability, the share of cells that they have not marked. So a bank
  divides the number of its identifiers in cells that are its alone by that share
  (Horvitz, Thompson, "A generalization of sampling without replacement from a finite universe",
  Journal of the American Statistical Association 47, 1952). Banks sum the quotients.

What is left when the second is taken from the first are the identifiers of two banks or more.
"""

import math
from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.features.shared_risk.sketch import columns_of, hash_identifiers
from fraudfed.wire.messages import RiskEntity


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error; the latter is infinite if every cell is marked."""

    value: float
    error: float


def cells_of(
    entity: RiskEntity, identifiers: list[str], *, hash_key: bytes, width: int
) -> Int64Array:
    """Return the cell of each identifier; shape (n,), dtype=int64.

    Parameters
    ----------
    hash_key : bytes of length 32
        The consortium's (``fraudfed.consortium.risk_key``).
    width : int
        A power of two.
    """
    # Another kind than in risk tables: cells of the two cannot be laid side by side.
    hashes = hash_identifiers(f"known {entity.value}", identifiers, hash_key=hash_key, depth=1)
    return columns_of(hashes, 0, width=width)


def marks(cells: Int64Array, *, width: int) -> Int64Array:
    """Return 1 for each cell of an identifier, else 0; shape (width,), dtype=int64."""
    marked = np.zeros(width, dtype=np.int64)
    marked[cells] = 1
    return marked


def only_here(cells: Int64Array, own: Int64Array, pooled: Int64Array) -> int:
    """Estimate how many of a bank's identifiers no other bank knows.

    Parameters
    ----------
    cells : ndarray of shape (n_identifiers,), dtype=int64
    own, pooled : ndarray of shape (width,), dtype=int64
        Marks of this bank, and of all banks together.

    Returns
    -------
    int
        0 if the others have marked every cell: nothing can be said then.
    """
    others = pooled - own
    unmarked = int(np.count_nonzero(others == 0))
    alone = int(np.count_nonzero(others[cells] == 0))
    if unmarked == 0:
        return 0
    return min(round(alone * others.size / unmarked), cells.size)


def share_known_to(cells: Int64Array, others: Int64Array) -> float:
    """Estimate which share of identifiers other banks know; NaN where nothing can be said."""
    unmarked = float(np.count_nonzero(others == 0)) / others.size
    if cells.size == 0 or unmarked == 0.0:
        return math.nan
    alone = float(np.count_nonzero(others[cells] == 0)) / cells.size
    return max(0.0, 1.0 - alone / unmarked)


def share_known_by(cells: Int64Array, others: Int64Array) -> float:
    """Estimate which share of the cells that others have marked are those of own identifiers.

    Own identifiers hit as many by chance as they mark of all cells. NaN where nothing can be said.
    """
    marked = int(np.count_nonzero(others))
    if marked == 0:
        return math.nan
    own = marks(cells, width=others.size)
    chance = float(np.count_nonzero(own)) / others.size
    hit = float(np.count_nonzero(own[others > 0])) / marked
    return math.nan if chance == 1.0 else max(0.0, (hit - chance) / (1.0 - chance))


def distinct(pooled: Int64Array) -> Estimate:
    """Estimate the number of distinct identifiers of all banks."""
    width = pooled.size
    unmarked = int(np.count_nonzero(pooled == 0))
    if unmarked == 0:
        return Estimate(float(width) * math.log(width), math.inf)
    load = -math.log(unmarked / width)
    return Estimate(width * load, math.sqrt(width * (math.exp(load) - load - 1.0)))


def known_to_several(pooled: Int64Array, *, only_one: int) -> Estimate:
    """Estimate the number of identifiers that two or more banks know.

    Parameters
    ----------
    pooled : ndarray of shape (width,), dtype=int64
    only_one : int
        Pooled ``only_here``.

    Returns
    -------
    Estimate
        Its error is the sum of both errors: they come from the same cells and may add up.
    """
    everything = distinct(pooled)
    unmarked = float(np.count_nonzero(pooled == 0)) / pooled.size
    if unmarked == 0.0:
        return Estimate(0.0, math.inf)
    # Binomial: each is counted with a probability of at least the share of unmarked cells.
    error = math.sqrt(only_one * (1.0 - unmarked) / unmarked)
    return Estimate(max(0.0, everything.value - only_one), everything.error + error)
