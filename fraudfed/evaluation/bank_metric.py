"""A bank's own metric as an integer, so that banks can add theirs up."""

from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.metrics import auprc

#: Fractional bits of a metric that is summed: steps of 1e-6, below any difference that matters.
METRIC_BITS = 20
METRIC_ONE = 1 << METRIC_BITS


def metric_units(value: float) -> int:
    """Return a metric of 0 .. 1 in units of ``2**-METRIC_BITS``, to the nearest, ties to even."""
    return round(value * METRIC_ONE)


def bank_auprc(margins: Float32Array, labels: Float32Array) -> int | None:
    """Return the exact average precision of one bank's rows in units of ``2**-METRIC_BITS``.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32
        Any scores, higher is more suspicious.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1.

    Returns
    -------
    int or None
        From 0 to ``METRIC_ONE``; None unless there are rows of both classes.

    Raises
    ------
    DataError
        As ``fraudfed.evaluation.auprc``.
    """
    value = auprc(margins, labels)
    return None if value is None else metric_units(value)
