"""What is opened with noise: how much noise a sum must carry, and how far one unit can move it."""

from dataclasses import dataclass
from fractions import Fraction

from fraudfed.dtypes import Int64Array


@dataclass(frozen=True, eq=False, kw_only=True)
class NoisedRelease:
    """The noise that a sum must carry, the same at every bank; an argument of ``noised_sum``.

    Attributes
    ----------
    variance : int or ndarray broadcastable to the values' shape, dtype=int64
        sigma^2 of each element in units^2: of the discrete Gaussian noise that is left when the
        parts of all tolerated colluders are subtracted.
    moved : Fraction
        Largest sum over all elements of (change / sigma)^2 that adding or removing one unit can
        cause: twice the rho of zero-concentrated differential privacy.
    """

    variance: int | Int64Array
    moved: Fraction
