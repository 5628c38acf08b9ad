"""The days of risk tables that the payments of a contract's windows look at.

Days are counted since 1970-01-01 UTC.
"""

from fraudfed.catalogue.recipe import WINDOW_DAYS
from fraudfed.wire.messages import DataContract

SECONDS_PER_DAY = 86_400


def looked_at_days(
    *, first_event: int | None, last_event: int, publication_lag_days: int
) -> tuple[int | None, int]:
    """Return the first and the last day of entry that payments of a period look back to.

    A payment of day t looks back to the days from t - lag - N to t - 1 - lag, with N the longest
    window.

    Parameters
    ----------
    first_event, last_event : int
        Of the payments, UTC epoch seconds; without a first one, days before the first table are
        days without history, and the first day is None.
    publication_lag_days : int
        As in a data contract.
    """
    newest = last_event // SECONDS_PER_DAY - 1 - publication_lag_days
    if first_event is None:
        return None, newest
    return first_event // SECONDS_PER_DAY - publication_lag_days - max(WINDOW_DAYS), newest


def needed_days(contract: DataContract) -> tuple[int | None, int]:
    """Return the first and the last day of entry that a payment of a window can look back to.

    Parameters
    ----------
    contract : DataContract
        Of transactions, with a cut-off.

    Raises
    ------
    ValueError
        If it has no cut-off: then the windows do not say which payments there are.
    """
    if contract.last_cutoff is None:
        raise ValueError("the contract has no train_until, expected a cut-off")
    horizon = contract.label_horizon_days.least_days * SECONDS_PER_DAY
    return looked_at_days(
        first_event=contract.train_from,
        last_event=contract.last_cutoff - horizon - 1,
        publication_lag_days=contract.risk_publication_lag_days,
    )
