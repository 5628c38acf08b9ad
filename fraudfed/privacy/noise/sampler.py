"""Discrete Gaussian noise for an array, from one fresh key: compiled, or the same in Python.

Law: the result depends on the variances and the key alone. The stream is read element by element
without gaps, so the noise of the first elements does not depend on how many follow.
"""

from types import ModuleType

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError
from fraudfed.machine.native import load_native
from fraudfed.privacy.noise.keystream import Keystream
from fraudfed.privacy.noise.reference import (
    MAXIMUM_STEPS,
    MAXIMUM_VARIANCE,
    StreamNotRandomError,
    gaussian,
)

_NATIVE = load_native("fraudfed.privacy.noise._sampler").module
#: What one element takes is 14 to 30 bytes on average: a little more than all take, and no more
#: than fits into a processor's cache.
_BYTES_PER_VALUE = 32
_LEAST_CHUNK, _LARGEST_CHUNK = 256, 1 << 18


def sample(variances: Int64Array, key: bytes) -> Int64Array:
    """Return one draw of N_Z(0, variance) for each element.

    How long this takes depends on what is drawn: draw before the time can be seen.

    Parameters
    ----------
    variances : ndarray of any shape, dtype=int64
        sigma^2 in units^2, each in 1 .. 2^62.
    key : bytes
        32 bytes, fresh from the operating system for this call and used for nothing else.

    Returns
    -------
    ndarray of shape ``variances.shape``, dtype=int64

    Raises
    ------
    BoundError
        If a variance is out of its range, the array is no int64, or the key's stream is not random.
    KeyMaterialError
        If the key has another length.
    """
    check_variances(variances)
    stream = Keystream(key)
    flat = np.ascontiguousarray(variances).reshape(-1)
    noise = np.empty(flat.shape, dtype=np.int64)
    try:
        if _NATIVE is None:
            _draw_in_python(noise, flat, stream)
        else:
            _draw_compiled(_NATIVE, noise, flat, stream)
    except StreamNotRandomError:
        raise BoundError(
            f"a draw of noise lies more than {MAXIMUM_STEPS} sigma from 0: its bytes are not "
            "random; check the machine's source of randomness"
        ) from None
    return noise.reshape(variances.shape)


def check_variances(variances: Int64Array) -> None:
    """Raise ``BoundError`` unless noise of these variances can be drawn."""
    if variances.dtype != np.int64:
        raise BoundError(f"variances of noise have dtype {variances.dtype}, expected int64")
    outside = (variances < 1) | (variances > MAXIMUM_VARIANCE)
    if outside.any():
        raise BoundError(
            f"a variance of noise is {int(variances[outside].flat[0])}, expected 1 .. "
            f"{MAXIMUM_VARIANCE} (2^62) units^2; spend more or less of the budget on this sum"
        )


def _draw_in_python(noise: Int64Array, variances: Int64Array, stream: Keystream) -> None:
    def next_byte() -> int:
        return stream.take(1)[0]

    for place, variance in enumerate(variances.tolist()):
        noise[place] = gaussian(variance, next_byte)


def _draw_compiled(
    native: ModuleType, noise: Int64Array, variances: Int64Array, stream: Keystream
) -> None:
    done, unread = 0, b""
    while done < noise.size:
        wanted = _BYTES_PER_VALUE * (noise.size - done)
        unread += stream.take(min(max(wanted, _LEAST_CHUNK), _LARGEST_CHUNK))
        drawn, used, random = native.gaussians(
            variances[done:], noise[done:], unread, MAXIMUM_STEPS
        )
        if not random:
            raise StreamNotRandomError
        done += drawn
        unread = unread[used:]
