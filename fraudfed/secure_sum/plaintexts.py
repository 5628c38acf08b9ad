"""From a vector to tagged plaintexts, and from summed plaintexts back to a vector that is right.

Law: ``read(elementwise sum of k banks' make(x_i) modulo N, n_banks=k) = sum of x_i`` if that lies
in its ranges; plaintexts that are anything else raise ``SumError``, except with the probability of
a forged tag.
"""

from collections.abc import Sequence

from fraudfed.dtypes import Int64Array
from fraudfed.errors import SumError
from fraudfed.secure_sum.faults import SumFault, sum_error
from fraudfed.secure_sum.header import Header, join_header
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.tags import TAG_PRIME, TagCoefficients


def make(
    flat: Int64Array,
    layout: SlotLayout,
    coefficients: TagCoefficients,
    tag_masks: Sequence[int],
) -> list[int]:
    """Return one bank's plaintexts, not masked yet as a whole: values, count 1 and masked tag.

    Parameters
    ----------
    flat : ndarray of shape (n_values,), dtype=int64
        Any int64; no branch depends on them.
    layout : SlotLayout
    coefficients : TagCoefficients
    tag_masks : sequence of int, of length ``layout.n_plaintexts``
        Those of all banks add up to 0 modulo ``TAG_PRIME``.

    Returns
    -------
    list of int
        To be taken modulo N.
    """
    tags = coefficients.tags(flat, count=1)
    return [
        slots + join_header((tag + mask) % TAG_PRIME, count=1)
        for slots, tag, mask in zip(layout.join(flat), tags, tag_masks, strict=True)
    ]


def read(
    plaintexts: Sequence[int],
    layout: SlotLayout,
    coefficients: TagCoefficients,
    *,
    n_banks: int,
    label: str,
) -> Int64Array:
    """Return the sum over all banks from all summed plaintexts: count, then tag and range of each.

    Parameters
    ----------
    plaintexts : sequence of int, of length ``layout.n_plaintexts``
        Residues modulo N, centred.

    Returns
    -------
    ndarray of shape ``layout.shape``, dtype=int64

    Raises
    ------
    SumError
        Of kind MASKS, COUNT or TAG.
    """
    headers = [Header.of(plaintext) for plaintext in plaintexts]
    for index, header in enumerate(headers):
        if header.count != n_banks:
            raise _wrong_count(headers, index, n_banks=n_banks, label=label)
    flat, fits = layout.split(plaintexts)
    tags = coefficients.tags(flat, count=n_banks)
    for index, (header, fit, tag) in enumerate(zip(headers, fits.tolist(), tags, strict=True)):
        # One message for all three, so that nobody learns from it how large a value is: no slot, a
        # slot but not the range, another tag.
        if not fit or header.tag % TAG_PRIME != tag:
            raise sum_error(
                SumFault.TAG,
                label,
                f"plaintext {index} of {layout.n_plaintexts} is not the sum of what the "
                f"{n_banks} banks sealed within its public bounds, expected tags that add up; it "
                "was altered or exchanged on its way, or the sum lies outside its bounds, as they "
                "are derived wrongly or a bank's data break the contract",
            )
    return flat.reshape(layout.shape)


def _wrong_count(headers: Sequence[Header], index: int, *, n_banks: int, label: str) -> SumError:
    where = f"plaintext {index} of {len(headers)}"
    if not all(header.is_plausible(n_banks) for header in headers):
        return sum_error(
            SumFault.MASKS,
            label,
            f"{where} is noise, expected the sum of {n_banks} banks; a contribution is missing, "
            "repeated, altered, older or of another round, or a bank works under another context, "
            "roster, transcript or agreement key",
        )
    return sum_error(
        SumFault.COUNT,
        label,
        f"{where} counts {headers[index].count} contributions, expected {n_banks}; the sum was "
        "multiplied or added to on its way",
    )
