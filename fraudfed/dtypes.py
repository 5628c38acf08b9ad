"""Every array type of the project, named once, with the reason beside it."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: Feature values and gradients: XGBoost computes both in float32, so do we.
Float32Array: TypeAlias = npt.NDArray[np.float32]
#: Sums that XGBoost keeps in double (histogram bins, node statistics).
Float64Array: TypeAlias = npt.NDArray[np.float64]
#: Everything that is summed across banks: exact, order-independent.
Int64Array: TypeAlias = npt.NDArray[np.int64]
#: Monotone directions: -1, 0 or 1.
Int8Array: TypeAlias = npt.NDArray[np.int8]
#: Node numbers and bin numbers inside a tree.
Int32Array: TypeAlias = npt.NDArray[np.int32]
#: Bin indices; ``max_bin`` is at most 256 plus one code for "missing", so 16 bits always do. Where
#: 8 bits do, half the memory passes through the caches.
BinArray: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
#: Row numbers as NumPy indexes with them.
IndexArray: TypeAlias = npt.NDArray[np.intp]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]
#: Row numbers while a tree grows, and keys of float32 values.
UInt32Array: TypeAlias = npt.NDArray[np.uint32]
UInt64Array: TypeAlias = npt.NDArray[np.uint64]

#: Fractional bits of a gradient or hessian in fixed point. A float32 has a 24-bit significand, but
#: where few rows are positive most gradients are small, and 24 *fractional* bits cut theirs short:
#: docs/decisions/0006 has the measured table. Each bit widens every slot of a secure sum by one.
FIXED_POINT_BITS = 32
FIXED_POINT_ONE = 1 << FIXED_POINT_BITS
