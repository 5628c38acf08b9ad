"""Search what an aggregator has for plaintext statistics, in every encoding of a careless program.

A test that finds nothing shows first that the search finds what is planted.
"""

import struct
from collections.abc import Iterable, Iterator

import numpy as np

from fraudfed.dtypes import Int64Array

_PREFIX_BYTES = 7


def encodings(values: Int64Array, size: int) -> Iterator[bytes]:
    """Yield the encodings of a vector's most telling part: so many neighbours, mostly not zero."""
    flat = values.ravel()
    if flat.size < size:
        return
    windows = np.lib.stride_tricks.sliding_window_view(flat, size)
    window = windows[int(np.argmax(np.count_nonzero(windows, axis=1)))]
    if np.count_nonzero(window) < 4:
        return
    numbers = window.tolist()
    for order in "<>":
        yield struct.pack(f"{order}{size}q", *numbers)
        yield struct.pack(f"{order}{size}d", *map(float, numbers))
        yield struct.pack(f"{order}{size}d", *(number / 2**24 for number in numbers))
    for separator in (",", ", ", " ", "\n"):
        yield separator.join(map(str, numbers)).encode()


def found(haystack: bytes, needles: Iterable[bytes]) -> list[bytes]:
    """Return the needles that are in a haystack; all are looked up at once by their beginnings."""
    wanted = list(needles)
    assert all(len(needle) >= _PREFIX_BYTES for needle in wanted)
    text = np.frombuffer(haystack + bytes(8), dtype=np.uint8)
    windows = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(text, 8)).view("<u8")
    mask = np.uint64(256**_PREFIX_BYTES - 1)
    starts = [int.from_bytes(needle[:_PREFIX_BYTES], "little") for needle in wanted]
    likely = np.isin(np.array(starts, dtype=np.uint64), windows & mask)
    return [wanted[i] for i in np.flatnonzero(likely) if wanted[i] in haystack]
