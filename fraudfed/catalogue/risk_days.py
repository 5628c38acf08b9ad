"""The days for which payments are entered into risk tables, and those that a training looks at.

Days are counted since 1970-01-01 UTC.
"""

from fraudfed.catalogue.recipe import WINDOW_DAYS

SECONDS_PER_DAY = 86_400


def entry_delay_days(label_delay_seconds: int) -> int:
    """Return the delay between a payment and its day of entry: the label delay, rounded up."""
    return -(-label_delay_seconds // SECONDS_PER_DAY)


def needed_days(
    *, train_from: int | None, train_until: int, label_delay_seconds: int
) -> tuple[int | None, int]:
    """Return the first and the last day of entry that a payment of a window can look back to.

    The first is None if there is no first payment; days before the first table are then days
    without history.

    Parameters
    ----------
    train_from, train_until, label_delay_seconds : int
        As in a data contract.
    """
    newest = train_until - label_delay_seconds - 1
    first = None if train_from is None else train_from // SECONDS_PER_DAY - max(WINDOW_DAYS)
    return first, newest // SECONDS_PER_DAY - 1
