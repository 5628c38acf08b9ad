"""The arithmetic of the inbound recipe, written once for tables and for single payments.

As in ``fraudfed.features.formulas``: the builders find facts about the past, which are integers,
and pass them on as arrays. Both do the same operations in the same order, so their features are
equal to the last bit.
"""

import numpy as np

from fraudfed.catalogue.inbound import MOST_ZEROS
from fraudfed.catalogue.recipe import WINDOW_DAYS
from fraudfed.dtypes import Int64Array
from fraudfed.features.formulas import FeatureColumns, ratio


def roundness_features(*, amount: Int64Array) -> FeatureColumns:
    """Yield how round the amount is.

    Parameters
    ----------
    amount : ndarray of shape (n,), dtype=int64
        Minor currency units.
    """
    zeros = np.zeros(amount.shape, dtype=np.int64)
    for power in range(1, MOST_ZEROS + 1):
        zeros += amount % 10**power == 0
    yield "amount_zeros", zeros


def seconds_feature(name: str, *, seconds: Int64Array) -> FeatureColumns:
    """Yield a time that has passed, of the payments for which there is one.

    Parameters
    ----------
    name : str
    seconds : ndarray of shape (n,), dtype=int64
    """
    yield name, seconds


def new_payer_feature(*, age_seconds: Int64Array) -> FeatureColumns:
    """Yield whether payer and customer meet now.

    Parameters
    ----------
    age_seconds : ndarray of shape (n,), dtype=int64
        Time since the payer first paid the customer; 0 if that is now.
    """
    yield "new_payer", age_seconds == 0


def flow_features(
    days: int,
    *,
    amount: Int64Array,
    credits: Int64Array,
    credited: Int64Array,
    outflows: Int64Array,
    left: Int64Array,
) -> FeatureColumns:
    """Yield what came in and what went out over a window.

    Parameters
    ----------
    days : int
        Length of the window.
    amount : ndarray of shape (n,), dtype=int64
        Of the payment itself, minor currency units.
    credits, credited : ndarray of shape (n,), dtype=int64
        Number and sum of the customer's inbound payments in the window.
    outflows, left : ndarray of shape (n,), dtype=int64
        Number and sum of the customer's outflows in the window.
    """
    mean = ratio(credited, credits)
    yield f"credit_count_{days}d", credits
    yield f"credit_mean_amount_{days}d", mean
    if days == max(WINDOW_DAYS):
        yield f"amount_over_credit_mean_{days}d", ratio(amount, mean)
    yield f"outflow_count_{days}d", outflows
    yield f"out_over_in_{days}d", ratio(left, credited)


def count_feature(name: str, *, count: Int64Array) -> FeatureColumns:
    """Yield a number: of distinct payers or customers, or of known frauds.

    Parameters
    ----------
    name : str
    count : ndarray of shape (n,), dtype=int64
    """
    yield name, count


def passed_on_feature(hours: int, *, passed: Int64Array, credited: Int64Array) -> FeatureColumns:
    """Yield the share of the money that arrived and left again within some hours.

    Parameters
    ----------
    hours : int
    passed, credited : ndarray of shape (n,), dtype=int64
        Over the same inbound payments: sum of what left, and of the amounts.
    """
    yield f"passed_on_{hours}h", ratio(passed, credited)
