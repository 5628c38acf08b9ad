"""The distance between banks: total variation between their mixes.

The total variation distance of two distributions is half the sum of the absolute differences of
their shares. It is the largest difference between the probabilities of any event: 0 for equal
mixes, 1 for mixes without a common value (Levin, Peres, Wilmer, "Markov Chains and Mixing Times",
2009, proposition 4.2).
"""

import numpy as np
import numpy.typing as npt

from data_gen.entities.world_parts import SharedWorld
from data_gen.events import CHANNEL_NAMES, KIND_NAMES, NONE, Events
from data_gen.rng import FloatArray, IntArray


def mix_counts(world: SharedWorld, events: Events) -> dict[str, IntArray]:
    """Return how often each value of a mix occurs; counts of several parts add up.

    Returns
    -------
    counts : dict of str to ndarray, dtype=int64
        ``channel`` of shape (4,); ``town`` of shape (n_towns,), of payments at terminals;
        ``kind`` of shape (n_kinds,), of fraudulent transactions.
    """
    terminal = events.terminal[events.terminal != NONE]
    town = world.places.terminal_town[terminal]
    kind = events.kind[events.kind != NONE]
    return {
        "channel": np.bincount(events.channel, minlength=len(CHANNEL_NAMES)),
        "town": np.bincount(town, minlength=len(world.towns)),
        "kind": np.bincount(kind, minlength=len(KIND_NAMES)),
    }


def distance_matrix(counts: npt.NDArray[np.integer]) -> FloatArray:
    """Return the total variation distance between each two banks.

    Parameters
    ----------
    counts : ndarray of shape (n_banks, n_values), dtype=integer
        Non-negative. A bank without any count is at distance 0 from every other bank.

    Returns
    -------
    distance : ndarray of shape (n_banks, n_banks), dtype=float64
        Symmetric, in [0, 1], with zeros on the diagonal.
    """
    total = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(total, 1)
    distance = 0.5 * np.abs(share[:, None, :] - share[None, :, :]).sum(axis=2)
    known = total[:, 0] > 0
    matrix: FloatArray = np.where(known[:, None] & known[None, :], distance, 0.0)
    return matrix


def bank_distance(*counts: npt.NDArray[np.integer]) -> float:
    """Return the mean distance over all pairs of banks and all given mixes.

    Parameters
    ----------
    *counts : ndarray of shape (n_banks, n_values), dtype=integer
        One table per mix, as for ``distance_matrix``; at least one. 0 with a single bank.
    """
    first, second = np.triu_indices(len(counts[0]), k=1)
    if not len(first):
        return 0.0
    return float(np.mean([distance_matrix(table)[first, second].mean() for table in counts]))
