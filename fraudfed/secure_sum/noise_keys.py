"""Keys of noise: each for the noise that one bank adds to one vector in one context."""

import hashlib
import secrets

from fraudfed.dtypes import Int64Array
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.derivation import KEY_BYTES, derive_key


def new_noise_key(context: RoundContext, values: Int64Array, *, bank: str) -> bytes:
    """Return a fresh key for the noise of one vector in one context.

    From 32 bytes of the operating system; and from the context, the bank and a digest of the
    vector, as with seeds of self masks: if a machine that was set back, or copied, gives the same
    bytes twice, another context, bank or vector has other noise all the same. Equal noise in two
    sums would show their difference.

    Parameters
    ----------
    context : RoundContext
    values : ndarray, dtype=int64
        Of this bank, without noise.
    bank : str
        This bank's name.

    Returns
    -------
    bytes of length 32
        SECRET for good: with it the noise could be subtracted.
    """
    return derive_key(
        secrets.token_bytes(KEY_BYTES),
        "noise key",
        bytes.fromhex(context.digest),
        bank.encode(),
        hashlib.sha256(values.astype("<i8", copy=False).tobytes()).digest(),
    )
