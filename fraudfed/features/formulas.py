"""The formula of every feature, on arrays: the one definition that both builders compute.

A builder finds out what happened *before* a payment: ``build`` for a whole table by sorting it,
``online`` for one payment by what it remembers. The features that follow, with their names, are
here. Every function takes one-dimensional arrays with one element per payment and yields features
as ``(name, values)``; so both builders do the same floating-point operations in the same order, and
their features are equal to the last bit.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fraudfed.catalogue.recipe import PRIOR_PAYMENTS, WINDOW_DAYS
from fraudfed.dtypes import Float32Array, Float64Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.payments.merchant_categories import CATEGORY_OF

#: Features one after another, so that a table's intermediate columns need not all exist at once.
FeatureColumns: TypeAlias = Iterator[tuple[str, npt.NDArray[np.floating | np.integer | np.bool_]]]

SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 86400
#: 1970-01-01 was a Thursday, day 3 of a week that starts on Monday.
EPOCH_WEEKDAY = 3
SATURDAY = 5
NIGHT_ENDS_HOUR = 6
#: Mean Earth radius R1 (IUGG): distances are right to about 0.5 %.
EARTH_RADIUS_KM = 6371.0088


def payment_features(*, time: Int64Array, amount: Int64Array) -> FeatureColumns:
    """Yield what the payment alone says.

    Parameters
    ----------
    time : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    amount : ndarray of shape (n,), dtype=int64
        Minor currency units.
    """
    second = time % SECONDS_PER_DAY
    yield "amount", amount
    yield "hour_of_day", second / SECONDS_PER_HOUR
    yield "is_night", second < NIGHT_ENDS_HOUR * SECONDS_PER_HOUR
    yield "is_weekend", (time // SECONDS_PER_DAY + EPOCH_WEEKDAY) % 7 >= SATURDAY


def category_codes(
    name: str, values: Sequence[str | None], categories: tuple[str, ...]
) -> Float32Array:
    """Return the code of each value, NaN for None.

    Parameters
    ----------
    name : str
        Of the column. A ``merchant_category`` may be a code of ISO 18245, which has the code of the
        category that it belongs to.
    values : sequence of str or None
    categories : tuple of str
        Their order is that of the codes, from 0.

    Returns
    -------
    ndarray of shape (n_values,), dtype=float32

    Raises
    ------
    DataError
        If a value is not one of ``categories``.
    """
    code_of = _code_of(categories, by_standard=name == "merchant_category")
    unknown = sorted(value for value in values if value is not None and value not in code_of)
    if unknown:
        raise DataError(
            f"transactions: column {name!r} holds {unknown[0]!r}, expected one of "
            f"{', '.join(categories)}; run check_transactions first"
        )
    return np.array(
        [np.nan if value is None else code_of[value] for value in values], dtype=np.float32
    )


@functools.cache
def _code_of(categories: tuple[str, ...], *, by_standard: bool) -> dict[str, int]:
    codes = {category: code for code, category in enumerate(categories)}
    if by_standard:
        return {text: codes[category] for text, category in CATEGORY_OF.items()}
    return codes


def recency_features(*, seconds_since_previous: Int64Array) -> FeatureColumns:
    """Yield how long ago the customer's latest earlier payment was.

    Parameters
    ----------
    seconds_since_previous : ndarray of shape (n,), dtype=int64
        Of the payments that have an earlier one.
    """
    yield "customer_seconds_since_previous", seconds_since_previous


def spending_features(
    days: int, *, amount: Int64Array, count: Int64Array, total: Int64Array
) -> FeatureColumns:
    """Yield the customer's habits over a window.

    Parameters
    ----------
    days : int
        Length of the window.
    amount : ndarray of shape (n,), dtype=int64
        Of the payment itself, minor currency units.
    count, total : ndarray of shape (n,), dtype=int64
        Number and sum of the customer's payments in the window.
    """
    mean = ratio(total, count)
    yield f"customer_count_{days}d", count
    yield f"customer_mean_amount_{days}d", mean
    if days == max(WINDOW_DAYS):
        yield f"amount_over_customer_mean_{days}d", ratio(amount, mean)


def ratio(numerator: Int64Array, denominator: Int64Array | Float64Array) -> Float64Array:
    """Divide, NaN where the denominator is 0 or missing.

    Parameters
    ----------
    numerator : ndarray of shape (n,), dtype=int64
    denominator : ndarray of shape (n,), dtype=int64 or float64
        Never negative.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
    """
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def acquaintance_features(entity: str, *, age_seconds: Int64Array) -> FeatureColumns:
    """Yield whether the customer knows the entity, and since when for a device.

    Parameters
    ----------
    entity : str
        ``payee`` or ``device``.
    age_seconds : ndarray of shape (n,), dtype=int64
        Time since customer and entity first met; 0 if they meet now.
    """
    yield f"new_{entity}", age_seconds == 0
    if entity == "device":
        yield "device_age_seconds", age_seconds


def travel_features(
    *,
    latitude: Float64Array,
    longitude: Float64Array,
    previous_latitude: Float64Array,
    previous_longitude: Float64Array,
    seconds: Int64Array,
) -> FeatureColumns:
    """Yield distance and speed from the customer's previous known place.

    Parameters
    ----------
    latitude, longitude : ndarray of shape (n,), dtype=float64
        Place of the payment, degrees.
    previous_latitude, previous_longitude : ndarray of shape (n,), dtype=float64
        Place of the earlier payment, degrees.
    seconds : ndarray of shape (n,), dtype=int64
        Time between the two payments, above 0.
    """
    distance = great_circle_km(
        np.radians(previous_latitude),
        np.radians(previous_longitude),
        np.radians(latitude),
        np.radians(longitude),
    )
    yield "distance_km", distance
    yield "speed_kmh", distance / (seconds / SECONDS_PER_HOUR)


def great_circle_km(
    latitude_a: Float64Array,
    longitude_a: Float64Array,
    latitude_b: Float64Array,
    longitude_b: Float64Array,
) -> Float64Array:
    """Return distances on the sphere by the haversine formula.

    R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (2), 1984, page 159.

    Parameters
    ----------
    latitude_a, longitude_a, latitude_b, longitude_b : ndarray of shape (n,), dtype=float64
        Radians.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        Kilometres.
    """
    chord = (
        np.sin((latitude_b - latitude_a) / 2) ** 2
        + np.cos(latitude_a) * np.cos(latitude_b) * np.sin((longitude_b - longitude_a) / 2) ** 2
    )
    # Rounding can lift antipodes a hair above 1.
    distance: Float64Array = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return distance


def fan_in_features(days: int, *, customers: Int64Array) -> FeatureColumns:
    """Yield how many distinct customers paid the payee in a window.

    Parameters
    ----------
    days : int
        Length of the window.
    customers : ndarray of shape (n,), dtype=int64
    """
    yield f"payee_customers_{days}d", customers


def fraud_counts_from(
    happened: Int64Array, reported: Int64Array, *, delay_seconds: int
) -> Int64Array:
    """Return the second after which a fraud is counted: that of its report, or the risk delay.

    It then stays for the width of a window, however old the payment is: a fraud at ``e`` reported
    at ``r`` is counted at ``t`` exactly if ``from < t <= from + width`` with ``from =
    max(e + delay, r)``. So a mule whose victim notices after a year is on the list on the day of
    the report.

    Parameters
    ----------
    happened, reported : ndarray of shape (n_frauds,), dtype=int64
        UTC epoch seconds.
    delay_seconds : int

    Returns
    -------
    ndarray of shape (n_frauds,), dtype=int64
        UTC epoch seconds.
    """
    return np.maximum(happened + delay_seconds, reported)


def fraud_rate(count: Int64Array, frauds: Int64Array) -> Float64Array:
    """Return frauds per payment, less the fewer payments there are.

    ``f / (max(c, f) + PRIOR_PAYMENTS)``: Laplace's rule of succession with a prior mean of 0. A
    report may count when its payment has left the window, so that there are more frauds than
    payments; then each fraud stands for its payment.

    Parameters
    ----------
    count, frauds : ndarray of shape (n,), dtype=int64
        Payments and frauds of a window.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        From 0 to below 1.
    """
    rate: Float64Array = frauds / (np.maximum(count, frauds) + PRIOR_PAYMENTS)
    return rate


def risk_features(
    entity: str, days: int, *, count: Int64Array, frauds: Int64Array
) -> FeatureColumns:
    """Yield payments and reports of fraud at a terminal, merchant or payee over a window.

    Parameters
    ----------
    entity : str
        ``terminal``, ``merchant`` or ``payee``.
    days : int
        Length of the window.
    count, frauds : ndarray of shape (n,), dtype=int64
        Payments in the window, and frauds that began to count in it.
    """
    yield f"{entity}_count_{days}d", count
    yield f"{entity}_fraud_count_{days}d", frauds
    yield f"{entity}_fraud_rate_{days}d", fraud_rate(count, frauds)
