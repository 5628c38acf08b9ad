"""The noise that one bank adds to a sum: how much, from which key, and what is asked before.

The noise is drawn before tag and mask, from a key that is kept beside the seed of the self mask.
How long a draw takes depends on what is drawn, so that others are shown a time that does not: the
sum continues at the next of public instants that lie far apart compared with a draw.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError, CohortError, ConfigurationError
from fraudfed.privacy.declared import require_exact, require_noised
from fraudfed.privacy.noise.drawing import part_variance, tail
from fraudfed.privacy.noise.sampler import sample
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms

#: Noised values of a run at most, over all its generations: what the tails of all of them together
#: leave their slots with is at most 2^-60. Twice as many make no slot wider by a bit.
MOST_VALUES_OF_A_RUN: Final = 1 << 40
#: Banks that neither collude nor are this bank's own, at least: with one, its noise alone would
#: have to hide it.
LEAST_HONEST: Final = 2
_INT64_MAX: Final = np.iinfo(np.int64).max
#: A draw takes about 0.2 microseconds, compiled: the time shown is two and a half times that, and
#: never less than a scheduler's own jitter.
_SECONDS_PER_VALUE: Final = 0.5e-6
_LEAST_SECONDS: Final = 1e-3


class Charges(Protocol):
    """What this bank's privacy ledger is asked and told of sums with noise."""

    def reserve(
        self, context_digest: str, *, label: str, release: NoisedRelease, n_values: int
    ) -> None:
        """Set aside what a release costs, durably, before anything of it is sealed.

        Raises
        ------
        FraudFedError
            If the budget does not hold it: nothing is sealed.
        """
        ...

    def commit(self, context_digest: str) -> None:
        """Charge what was set aside, durably, before a box for it leaves this bank."""
        ...


@dataclass(frozen=True)
class PrivateSums:
    """How the sums of a run with privacy terms are made.

    Attributes
    ----------
    terms : PrivacyTerms
        Of the run.
    charges : Charges
    """

    terms: PrivacyTerms
    charges: Charges


@dataclass(frozen=True, eq=False)
class OwnNoise:
    """What this bank adds to a sum, and the room that the noise of all banks needs.

    Attributes
    ----------
    release : NoisedRelease
    variances : ndarray of the values' shape, dtype=int64
        Of this bank's part; every bank's is the same.
    reach : ndarray of the values' shape, dtype=int64
        How far the noise of all banks together may lie from 0.
    """

    release: NoisedRelease
    variances: Int64Array
    reach: Int64Array

    @classmethod
    def of(
        cls, release: NoisedRelease, shape: tuple[int, ...], terms: PrivacyTerms, *, n_banks: int
    ) -> "OwnNoise":
        """Return the part of one of ``n_banks``: ``ceil(variance / (k - t))``.

        Law: what is left when the parts of t banks are subtracted has at least the release's
        variance.

        Raises
        ------
        CohortError
            If fewer than two banks are left without the tolerated colluders.
        BoundError
            If the noise of one bank would be too narrow or too wide.
        """
        t = terms.tolerated_colluders
        if n_banks - t < LEAST_HONEST:
            raise CohortError(
                f"a sum with noise is of {n_banks} banks, of which {t} may collude; expected at "
                f"least {LEAST_HONEST} more than those: wait for more banks, or ask for a run that "
                "tolerates fewer colluders"
            )
        variance = np.asarray(release.variance, dtype=np.int64)
        parts = part_variance(variance, n_banks=n_banks, tolerated_colluders=t)
        reach = tail(
            variance, n_banks=n_banks, tolerated_colluders=t, n_values=MOST_VALUES_OF_A_RUN
        )
        return cls(release, np.broadcast_to(parts, shape), np.broadcast_to(reach, shape))

    def widened(
        self, bound: int | Int64Array, low: int | Int64Array | None
    ) -> tuple[Int64Array, Int64Array]:
        """Return the bounds of the sum with its noise, from above and from below.

        Raises
        ------
        BoundError
            If they leave int64.
        """
        shape = self.reach.shape
        high = np.broadcast_to(np.asarray(bound, dtype=np.int64), shape)
        least = -high if low is None else np.broadcast_to(np.asarray(low, dtype=np.int64), shape)
        if (high > _INT64_MAX - self.reach).any() or (least < self.reach - _INT64_MAX).any():
            raise BoundError(
                "a sum and its noise could leave int64, expected below 2^63; declare fewer rows, "
                "use smaller weights, or spend more of the budget on this sum"
            )
        return high + self.reach, least - self.reach

    def draw(
        self,
        key: bytes,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Int64Array:
        """Return this bank's noise from a key, at an instant that does not depend on it.

        Parameters
        ----------
        key : bytes
            32 bytes, for this sum alone.
        """
        apart = max(_LEAST_SECONDS, self.variances.size * _SECONDS_PER_VALUE)
        began = clock()
        noise = sample(np.ascontiguousarray(self.variances), key)
        sleep(apart - (clock() - began) % apart)
        return noise


def noise_of(
    private: PrivateSums | None,
    release: NoisedRelease | None,
    shape: tuple[int, ...],
    *,
    label: str,
    n_banks: int,
) -> OwnNoise | None:
    """Return what this bank adds to a sum; None for an exact one. Refuses what is not declared.

    Raises
    ------
    ConfigurationError
        If a sum that must carry noise would be exact, or the run has no privacy terms.
    CohortError, BoundError
        As ``OwnNoise.of``.
    """
    if release is None:
        if private is not None:
            require_exact(label)
        return None
    if private is None:
        raise ConfigurationError(
            f"sum {label!r}: carries noise, and the run has no privacy terms; nothing was sent"
        )
    require_noised(label)
    return OwnNoise.of(release, shape, private.terms, n_banks=n_banks)
