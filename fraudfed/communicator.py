"""The one channel between banks: an exact sum of integer vectors.

Law: every bank that calls ``sum`` with its own ``values`` gets the same result, the exact
elementwise sum over all banks of the cohort. Because integers add exactly in any order, the
result does not depend on how rows are split over banks.

A computation over all banks that others may keep pace with is a generator (``Summing``): it yields
what it needs summed and is sent the sum. ``carry_out`` runs one; ``fraudfed.search.lockstep`` runs
many at once, with one sum for all.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError
from fraudfed.privacy.releases import NoisedRelease


class Communicator(Protocol):
    """Adds integer vectors over the banks of a cohort."""

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        """Return the elementwise sum of ``values`` over all banks.

        Parameters
        ----------
        values : ndarray of any shape, dtype=int64
            This bank's part.
        bound : int or ndarray broadcastable to ``values.shape``, dtype=int64
            Public bound, the same at every bank and at least 0: each element *of the sum* stays at
            or below it. With ``low`` it fixes the width of a slot in the plaintext, so a tight
            bound makes a round smaller; it must not depend on one bank's data. No bank checks its
            own part against it: what it did then would tell the others how large that is.
        low : int or ndarray broadcastable to ``values.shape``, dtype=int64, or None
            The same from below, at most 0: 0 for what is never negative. None is ``-bound``.
        label : str
            What is summed, ``"<kind>"`` or ``"<kind>:<detail>"``; equal at every bank. ``kind``
            is the phase under which time and bytes are reported.

        Returns
        -------
        ndarray of shape ``values.shape``, dtype=int64

        Raises
        ------
        SumError
            If an element of the sum lies outside its bounds; at all banks alike.
        FraudFedError
            If the round failed; never a wrong number.
        """
        ...


class NoisingCommunicator(Communicator, Protocol):
    """Adds integer vectors and noise over the banks of a cohort whose run has privacy terms."""

    def noised_sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
        release: NoisedRelease,
    ) -> Int64Array:
        """Return the elementwise sum of ``values`` and of the noise of all banks.

        Each bank adds its part of the noise before anything leaves it.

        Parameters
        ----------
        values, bound, low, label
            As ``sum``. The bounds are those of the values' sum; room for noise is added to them.
        release : NoisedRelease
            The same at every bank.

        Raises
        ------
        SumError, FraudFedError
            As ``sum``.
        """
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class SumRequest:
    """What is to be summed over all banks; the arguments of ``Communicator.sum``.

    Attributes
    ----------
    values : ndarray of any shape, dtype=int64
    bound : int or ndarray broadcastable to ``values.shape``, dtype=int64
    low : int or ndarray broadcastable to ``values.shape``, dtype=int64, or None
    label : str
    """

    values: Int64Array
    bound: int | Int64Array
    low: int | Int64Array | None = None
    label: str


_Result = TypeVar("_Result")
#: Yields requests, is sent the sum of each, and returns a result.
Summing: TypeAlias = Generator[SumRequest, Int64Array, _Result]


def carry_out(summing: Summing[_Result], communicator: Communicator) -> _Result:
    """Run a computation, one sum after the other, and return its result.

    Raises
    ------
    FraudFedError
        What the computation raises, or a sum.
    """
    sums: Int64Array | None = None
    while True:
        try:
            request = next(summing) if sums is None else summing.send(sums)
        except StopIteration as end:
            result: _Result = end.value
            return result
        sums = communicator.sum(
            request.values, bound=request.bound, low=request.low, label=request.label
        )


def check_bound(
    values: Int64Array,
    bound: int | Int64Array,
    *,
    low: int | Int64Array | None = None,
    label: str,
) -> None:
    """Raise ``BoundError`` unless ``low <= values <= bound`` everywhere; None is ``-bound``."""
    if values.dtype != np.int64:
        raise BoundError(f"sum {label!r}: values have dtype {values.dtype}, expected int64")
    most = np.asarray(bound, dtype=np.int64)
    least = -most if low is None else np.asarray(low, dtype=np.int64)
    outside = (values > most) | (values < least)
    if outside.any():
        index = np.unravel_index(int(np.argmax(outside)), values.shape)
        position = tuple(int(i) for i in index)
        lowest, highest = (
            int(np.broadcast_to(limit, values.shape)[index]) for limit in (least, most)
        )
        # The value itself is a statistic: the message names the place only.
        raise BoundError(
            f"sum {label!r}: the value at {position} lies outside the public bounds {lowest} .. "
            f"{highest}; they are derived wrongly or the data break the contract"
        )


#: Draws the noise of a release for an array of some shape; int64.
DrawNoise: TypeAlias = Callable[[NoisedRelease, tuple[int, ...]], Int64Array]


class SoloCommunicator:
    """A cohort of one: returns its input. Trains on one machine, and is the oracle in tests."""

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        """Return a copy of ``values``, which are the sum, after checking it against its bounds."""
        check_bound(values, bound, low=low, label=label)
        return values.copy()


class NoisySoloCommunicator(SoloCommunicator):
    """A cohort of one whose sums carry noise: what one machine would release.

    Parameters
    ----------
    draw_noise : callable
    """

    def __init__(self, draw_noise: DrawNoise) -> None:
        self._draw_noise = draw_noise

    def noised_sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
        release: NoisedRelease,
    ) -> Int64Array:
        """Return ``values`` after checking them against their bounds, and noise on top."""
        check_bound(values, bound, low=low, label=label)
        return values + self._draw_noise(release, values.shape)
