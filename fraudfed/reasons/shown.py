"""The values that the texts of a decision's reasons were written from, as a log keeps them.

Bins give the score and the contributions of a past payment again, but a phrase says "5 payments",
not "3 to 7". So the few values that its phrases read are kept beside the bins. Law: the row that
the bins stand for, with these values put back, gives the reasons of the day, to the last character.

Layout: 4 bytes that name the catalogue, a bit for each feature (the first feature is the lowest bit
of the first byte), then the float32 of each feature whose bit is set, in column order,
little-endian. A missing value has no bit: the bins say that it is missing.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError
from fraudfed.reasons.catalogue import NAME_BYTES, Catalogue
from fraudfed.reasons.reasons import Reason

_VALUE: Final = np.dtype("<f4")


def shown_values(reasons: Sequence[Reason], row: Float32Array, catalogue: Catalogue) -> bytes:
    """Return what a log keeps so that the texts can be said again.

    Parameters
    ----------
    reasons : sequence of Reason
        Of the payment.
    row : ndarray of shape (n_features,), dtype=float32
    catalogue : Catalogue

    Returns
    -------
    bytes
        Empty if there are no reasons.
    """
    if not reasons:
        return b""
    codes = {reason.code for reason in reasons}
    read = {
        feature
        for phrase in catalogue.phrases
        if phrase.code in codes
        for feature in phrase.read_features
    }
    kept = np.array([feature in read for feature in catalogue.names]) & ~np.isnan(row)
    return b"".join(
        (
            catalogue.name,
            np.packbits(kept, bitorder="little").tobytes(),
            row[kept].astype(_VALUE).tobytes(),
        )
    )


def with_shown(row: Float32Array, shown: bytes, catalogue: Catalogue) -> tuple[Float32Array, bool]:
    """Put the values of a log back into the row that bins stand for.

    Parameters
    ----------
    row : ndarray of shape (n_features,), dtype=float32
    shown : bytes
        As ``shown_values`` gave them.
    catalogue : Catalogue
        Of this release.

    Returns
    -------
    row : ndarray of shape (n_features,), dtype=float32
    same_words : bool
        Whether the phrases are still those of the day.

    Raises
    ------
    StateError
        If the bytes do not belong to so many features.
    """
    if not shown:
        return row.copy(), True
    n_features = len(catalogue.names)
    start = NAME_BYTES + (n_features + 7) // 8
    bits = np.frombuffer(shown[NAME_BYTES:start], dtype=np.uint8)
    kept = np.unpackbits(bits, bitorder="little").astype(np.bool_)
    n_kept = int(kept.sum())
    if (
        len(shown) != start + n_kept * _VALUE.itemsize
        or kept[n_features:].any()
        or len(kept) < n_features
    ):
        raise StateError(
            f"values of a decision's reasons: {len(shown)} bytes do not belong to {n_features} "
            "features; name the model of the decision"
        )
    restored = row.copy()
    restored[kept[:n_features]] = np.frombuffer(shown, dtype=_VALUE, offset=start)
    return restored, shown[:NAME_BYTES] == catalogue.name
