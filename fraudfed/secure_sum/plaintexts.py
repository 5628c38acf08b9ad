"""From a vector to tagged plaintexts, and from summed plaintexts back to a vector that is right.

Law: ``read(elementwise sum of k banks' make(x_i), n_banks=k) = sum of x_i``; plaintexts that are
anything else raise ``SumError`` (or ``BoundError``, if banks break a bound), except with the
probability of a forged tag.
"""

from collections.abc import Sequence

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import SumError
from fraudfed.secure_sum.faults import SumFault, sum_error
from fraudfed.secure_sum.header import Header, join_header
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.tags import TAG_PRIME, TagCoefficients


def make(
    values: Int64Array,
    layout: SlotLayout,
    coefficients: TagCoefficients,
    tag_masks: Sequence[int],
    *,
    label: str,
) -> list[int]:
    """Return one bank's plaintexts, not masked yet as a whole: digits, count 1 and masked tag.

    Parameters
    ----------
    values : ndarray of shape ``layout.shape``, dtype=int64
    layout : SlotLayout
    coefficients : TagCoefficients
    tag_masks : sequence of int, of length ``layout.n_plaintexts``
        Those of all banks add up to 0 modulo ``TAG_PRIME``.
    label : str

    Raises
    ------
    BoundError
        If a value lies outside its bound, or shape or dtype is another than the layout's.
    """
    digits = layout.digits(values, label=label)
    tags = coefficients.tags(digits, count=1)
    return [
        slots + join_header((tag + mask) % TAG_PRIME, count=1)
        for slots, tag, mask in zip(layout.join(digits), tags, tag_masks, strict=True)
    ]


def masks_cancel(plaintexts: Sequence[int], *, n_banks: int) -> bool:
    """Tell whether the counts of summed plaintexts look like counts, not like noise."""
    return all(Header.of(plaintext).is_plausible(n_banks) for plaintext in plaintexts)


def counts(plaintexts: Sequence[int]) -> set[int]:
    """Return the different counts of contributions that summed plaintexts show."""
    return {Header.of(plaintext).count for plaintext in plaintexts}


def check(
    plaintexts: Sequence[int],
    indices: range,
    layout: SlotLayout,
    coefficients: TagCoefficients,
    *,
    n_banks: int,
    label: str,
) -> Int64Array:
    """Return the digits of some of the summed plaintexts after checking count and tag of each.

    Parameters
    ----------
    plaintexts : sequence of int
    indices : range
        Which of the layout's plaintexts they are.
    n_banks : int

    Returns
    -------
    ndarray of shape (n_slots,), dtype=int64
        0 in slots of other plaintexts.

    Raises
    ------
    SumError
        Of kind MASKS, COUNT or TAG.
    """
    headers = [Header.of(plaintext) for plaintext in plaintexts]
    for index, header in zip(indices, headers, strict=True):
        if header.count != n_banks:
            raise _wrong_count(plaintexts, index, header, layout, n_banks=n_banks, label=label)
    everything = [0] * layout.n_plaintexts
    everything[indices.start : indices.stop : indices.step] = plaintexts
    digits, fits = layout.split(everything)
    tags = coefficients.tags(digits, count=n_banks)
    for index, header in zip(indices, headers, strict=True):
        # One message for both, so that nobody learns from it how large a digit is.
        if not fits[index] or header.tag % TAG_PRIME != tags[index]:
            raise sum_error(
                SumFault.TAG,
                label,
                f"plaintext {index} of {layout.n_plaintexts} is not the sum of what the "
                f"{n_banks} banks sealed, expected tags that add up; it was altered or exchanged "
                "on its way, or the banks' values exceed a bound together",
            )
    return digits


def read(
    plaintexts: Sequence[int],
    layout: SlotLayout,
    coefficients: TagCoefficients,
    *,
    n_banks: int,
    label: str,
) -> Int64Array:
    """Return the sum over all banks from all summed plaintexts.

    Returns
    -------
    ndarray of shape ``layout.shape``, dtype=int64

    Raises
    ------
    SumError
        As ``check``.
    BoundError
        If an element of the sum lies outside its bound.
    """
    digits = check(
        plaintexts,
        range(layout.n_plaintexts),
        layout,
        coefficients,
        n_banks=n_banks,
        label=label,
    )
    return layout.values(np.ascontiguousarray(digits), label=label)


def _wrong_count(
    plaintexts: Sequence[int],
    index: int,
    header: Header,
    layout: SlotLayout,
    *,
    n_banks: int,
    label: str,
) -> SumError:
    where = f"plaintext {index} of {layout.n_plaintexts}"
    if not masks_cancel(plaintexts, n_banks=n_banks):
        return sum_error(
            SumFault.MASKS,
            label,
            f"{where} is noise, expected the sum of {n_banks} banks; a contribution is missing, "
            "repeated, altered or of another round, or a bank works under another context, "
            "roster, transcript or agreement key",
        )
    return sum_error(
        SumFault.COUNT,
        label,
        f"{where} counts {header.count} contributions, expected {n_banks}; the sum was multiplied "
        "or added to on its way",
    )
