"""The discrete Gaussian, exactly, in Python's integers: the text that ``_sampler.c`` follows.

Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020
(arXiv 2004.00010), algorithms 1 to 3. N_Z(0, v) has the probability ``exp(-y^2 / 2v) / Z`` at each
integer y. Every decision is a comparison of whole numbers with random bytes, so no probability is
rounded anywhere: what comes out has the distribution, not one near it, if the bytes are uniform.

Two things are written otherwise than in the paper, and give the same distribution:

* A Bernoulli variable of a fraction p is decided byte by byte: U, uniform in [0, 1), is known to
  lie in [r/256, (r + 1)/256), and the next byte is looked at only if p lies inside. That takes
  257/256 bytes on average, whatever the denominator.
* The exponent of algorithm 3 is ``(|y| - v/t)^2 / 2v = (d / t^2) (d / 2v)`` with
  ``d = | |y| t - v |``. Its factors are written as whole parts and fractions, ``(a + f) (b + g)``,
  and ``exp(-(ab + ag + bf + fg))`` is decided as a product of independent variables. So nothing
  is wider than 128 bits, though ``d^2`` is.
"""

import math
from collections.abc import Callable

#: Sigma of 2^31 units. Above it the C would leave its 64 bits.
MAXIMUM_VARIANCE = 1 << 62
#: Whole multiples of the scale that a draw of algorithm 2 may reach: more comes up with probability
#: exp(-2^16), so the bytes are not random.
MAXIMUM_STEPS = 1 << 16

#: Gives the next byte of the stream.
NextByte = Callable[[], int]


class StreamNotRandomError(Exception):
    """The bytes cannot be random; see ``MAXIMUM_STEPS``."""


def bernoulli(numerator: int, denominator: int, next_byte: NextByte) -> bool:
    """Return True with probability numerator / denominator, which is in 0 .. 1.

    Looks at no byte if the probability is 0 or 1.
    """
    if numerator == 0:
        return False
    if numerator >= denominator:
        return True
    while True:
        numerator <<= 8
        lowest = next_byte() * denominator
        if lowest >= numerator:
            return False
        if lowest + denominator <= numerator:
            return True
        numerator -= lowest


def exp_bernoulli(f: int, f_of: int, g: int, g_of: int, next_byte: NextByte) -> bool:
    """Return True with probability exp(-(f / f_of) (g / g_of)), both in 0 .. 1 (algorithm 1)."""
    k = 1
    while (
        bernoulli(f, f_of, next_byte)
        and bernoulli(g, g_of, next_byte)
        and bernoulli(1, k, next_byte)
    ):
        k += 1
    return k % 2 == 1


def below(limit: int, next_byte: NextByte) -> int:
    """Return a uniform integer in 0 .. limit - 1: as many bits as it takes, drawn until it fits."""
    bits = (limit - 1).bit_length()
    while True:
        drawn = 0
        for shift in range(0, bits, 8):
            drawn |= next_byte() << shift
        drawn &= (1 << bits) - 1
        if drawn < limit:
            return drawn


def laplace(scale: int, next_byte: NextByte) -> tuple[bool, int, int]:
    """Return a discrete Laplace variable of a whole scale of at least 2 (algorithm 2).

    Returns
    -------
    negative : bool
    rest, steps : int
        Its absolute value is ``rest + steps * scale``, with ``rest`` below the scale.

    Raises
    ------
    StreamNotRandomError
    """
    while True:
        rest = below(scale, next_byte)
        if not exp_bernoulli(rest, scale, 1, 1, next_byte):
            continue
        steps = 0
        while exp_bernoulli(1, 1, 1, 1, next_byte):
            steps += 1
            if steps > MAXIMUM_STEPS:
                raise StreamNotRandomError
        negative = next_byte() % 2 == 1
        if not (negative and rest == 0 and steps == 0):
            return negative, rest, steps


def gaussian(variance: int, next_byte: NextByte) -> int:
    """Return a discrete Gaussian variable (algorithm 3).

    Parameters
    ----------
    variance : int
        In 1 .. ``MAXIMUM_VARIANCE``.
    next_byte : callable
        Its exceptions pass through.

    Raises
    ------
    StreamNotRandomError
    """
    scale = math.isqrt(variance) + 1
    square, double = scale * scale, 2 * variance
    while True:
        negative, rest, steps = laplace(scale, next_byte)
        distance = abs(rest * scale + steps * square - variance)
        a, f = divmod(distance, square)
        b, g = divmod(distance, double)
        if (
            all(exp_bernoulli(1, 1, 1, 1, next_byte) for _ in range(a * b))
            and all(exp_bernoulli(1, 1, g, double, next_byte) for _ in range(a))
            and all(exp_bernoulli(f, square, 1, 1, next_byte) for _ in range(b))
            and exp_bernoulli(f, square, g, double, next_byte)
        ):
            size = rest + steps * scale
            return -size if negative else size
