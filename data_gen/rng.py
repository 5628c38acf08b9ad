"""Random streams: one independent stream per part, bank and block, with no shared state.

Two rules make the output reproducible:

1. A stream is named by a fixed key ``(part, *indices)``, never by the order in which streams
   are requested. A new part gets a new number and does not change any other stream. Any process
   may run a block.
2. Of ``numpy.random.Generator`` only ``random`` is used (53 bits of PCG64 per number, unchanged
   since NumPy 1.17). NumPy reserves the right to change the streams of its other methods
   between feature releases (NEP 19), so the distributions are derived from uniforms here.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Above this mean a Poisson count is a rounded normal; below, inversion term by term is exact.
POISSON_NORMAL_MEAN = 40.0


class Part(IntEnum):
    """Fixed stream numbers. Never renumber: add at the end."""

    BANKS = 1
    TOWNS = 2
    MERCHANTS = 3
    TERMINALS = 4
    PAYEES = 5
    CUSTOMERS = 6
    EVERYDAY = 7
    OCCASIONS = 8
    CAMPAIGNS = 9
    EPISODES = 10
    CARD_NOT_PRESENT = 11
    LOST_STOLEN = 12
    COMPROMISED_TERMINAL = 13
    ACCOUNT_TAKEOVER = 14
    PUSH_PAYMENT_SCAM = 15
    LABELS = 16
    ACCOUNTS = 17
    SHARED_PEOPLE = 18
    MULE_CHAIN = 19
    FIRST_PARTY = 20
    BLOCKING = 21
    VICTIMS = 22
    MISSING_COLUMNS = 23
    INCOMING = 24
    INCUMBENT = 25


class Draws:
    """Distributions derived from the uniform numbers of one stream.

    Parameters
    ----------
    generator : numpy.random.Generator
        The stream; only its ``random`` method is called.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> FloatArray:
        """Return float64 numbers in ``[low, high)``."""
        values = self._generator.random(shape)
        return values if low == 0.0 and high == 1.0 else low + (high - low) * values

    def below(self, high: int | IntArray, *shape: int) -> IntArray:
        """Return int64 numbers in ``[0, high)``; ``high`` may be an array of that shape."""
        return (self._generator.random(shape) * high).astype(np.int64)

    def normal(self, *shape: int) -> FloatArray:
        """Return standard normal numbers (Box and Muller, Ann. Math. Stat. 29, 1958)."""
        size = int(np.prod(shape))
        half = (size + 1) // 2
        radius = np.sqrt(-2.0 * np.log1p(-self._generator.random(half)))
        angle = 2.0 * np.pi * self._generator.random(half)
        pairs = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
        return pairs[:size].reshape(shape)

    def exponential(self, *shape: int) -> FloatArray:
        """Return exponential numbers of mean 1."""
        return -np.log1p(-self._generator.random(shape))

    def poisson(self, mean: FloatArray) -> IntArray:
        """Return one Poisson count per entry of ``mean``.

        Parameters
        ----------
        mean : ndarray of shape (n,), dtype=float64
            Non-negative means. Above 40 the count is a rounded normal number.

        Returns
        -------
        counts : ndarray of shape (n,), dtype=int64
        """
        uniforms = self._generator.random(mean.shape)
        normals = self.normal(*mean.shape)
        large = np.rint(mean + np.sqrt(mean) * normals)
        small_mean = np.minimum(mean, POISSON_NORMAL_MEAN)
        term = np.exp(-small_mean)
        cumulative = term.copy()
        counts = np.zeros(mean.shape, dtype=np.int64)
        # 40 + 10 standard deviations: the rest of the distribution is below 1e-15.
        for k in range(1, 105):
            counts += uniforms >= cumulative
            term = term * small_mean / k
            cumulative += term
        return np.where(mean > POISSON_NORMAL_MEAN, np.maximum(large, 0), counts).astype(np.int64)

    def log_gamma(self, shape: FloatArray) -> FloatArray:
        """Return the logs of gamma numbers of scale 1, one per entry of ``shape`` (above 0).

        Marsaglia, Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000):
        a number of shape ``a + 1`` by rejection, times ``U ** (1 / a)``. Logs, because numbers of
        a small shape are below the smallest float.
        """
        d = shape.ravel() + 2.0 / 3.0
        accepted = np.zeros(len(d), dtype=np.bool_)
        log_value = np.zeros(len(d))
        while not accepted.all():
            open_ = np.flatnonzero(~accepted)
            x = self.normal(len(open_))
            u = 1.0 - self.uniform(len(open_))
            scale = d[open_]
            v = (1.0 + x / np.sqrt(9.0 * scale)) ** 3
            log_v = np.log(np.maximum(v, 1e-300))
            fits = (v > 0.0) & (np.log(u) < 0.5 * x * x + scale * (1.0 - v + log_v))
            log_value[open_[fits]] = (np.log(scale) + log_v)[fits]
            accepted[open_[fits]] = True
        boost = np.log1p(-self.uniform(len(d))) / shape.ravel()
        return (log_value + boost).reshape(shape.shape)

    def dirichlet(self, parameters: FloatArray) -> FloatArray:
        """Return shares drawn from a Dirichlet distribution per row of ``parameters`` (above 0)."""
        log_value = self.log_gamma(parameters)
        shares = np.exp(log_value - log_value.max(axis=-1, keepdims=True))
        normed: FloatArray = shares / shares.sum(axis=-1, keepdims=True)
        return normed

    def pick(self, weights: FloatArray, *shape: int) -> IntArray:
        """Return indices drawn in proportion to ``weights`` (shape (n,), sum above 0)."""
        cumulative = np.cumsum(weights)
        found = np.searchsorted(
            cumulative, self._generator.random(shape) * cumulative[-1], side="right"
        )
        picked: IntArray = np.minimum(found, len(weights) - 1).astype(np.int64)
        return picked


def stream(seed: int, part: IntEnum, *indices: int) -> Draws:
    """Return the stream with the key ``(part, *indices)`` below ``seed``.

    ``SeedSequence(seed, spawn_key=key)`` is what ``SeedSequence.spawn`` hands out for that
    child, so streams with different keys are independent.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(int(part), *indices))
    return Draws(np.random.Generator(np.random.PCG64(sequence)))
