"""Sums whose noise a test chooses, and that keep what was summed with which noise."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fraudfed.communicator import Communicator, SoloCommunicator, check_bound
from fraudfed.dtypes import Int64Array
from fraudfed.privacy.releases import NoisedRelease

NoiseOf = Callable[[str, NoisedRelease, tuple[int, ...]], Int64Array]


def no_noise(label: str, release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
    """Return zeros."""
    return np.zeros(shape, dtype=np.int64)


def noise_of_labels(seed: int) -> NoiseOf:
    """Return noise of about the right size that depends on seed, label and shape only.

    So every bank's program, and a resumed one, sees the same sums.
    """

    def draw(label: str, release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
        digest = hashlib.sha256(f"{seed} {label}".encode()).digest()
        normal = np.random.default_rng(list(digest)).normal(size=shape)
        return np.rint(normal * np.sqrt(np.asarray(release.variance, dtype=float))).astype(np.int64)

    return draw


@dataclass(frozen=True, eq=False)
class NoisedSum:
    """One call of ``noised_sum``: what this bank gave, and what was opened."""

    label: str
    values: Int64Array
    opened: Int64Array
    release: NoisedRelease


class ChosenNoise:
    """Sums over ``inner`` and adds chosen noise.

    Parameters
    ----------
    noise : callable
    inner : Communicator or None
        None is a cohort of one.
    opened : mapping of str to ndarray, or None
        What to open under each label, whatever is summed: what others saw of a run before.
    """

    def __init__(
        self,
        noise: NoiseOf = no_noise,
        inner: Communicator | None = None,
        opened: Mapping[str, Int64Array] | None = None,
    ) -> None:
        self._noise = noise
        self._inner = SoloCommunicator() if inner is None else inner
        self._opened = opened
        self.sums: list[NoisedSum] = []

    @property
    def by_label(self) -> dict[str, NoisedSum]:
        """All sums; no label comes twice."""
        found = {each.label: each for each in self.sums}
        assert len(found) == len(self.sums)
        return found

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        raise AssertionError(f"{label!r} is summed without noise")

    def noised_sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
        release: NoisedRelease,
    ) -> Int64Array:
        check_bound(values, bound, low=low, label=label)
        np.broadcast_to(np.asarray(release.variance), values.shape)
        if self._opened is not None:
            opened = self._opened[label]
        else:
            exact = self._inner.sum(values, bound=bound, low=low, label=label)
            opened = exact + self._noise(label, release, values.shape)
        self.sums.append(NoisedSum(label, values.copy(), opened, release))
        return opened.copy()
