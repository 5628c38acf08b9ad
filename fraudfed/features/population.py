"""Which payments a contract's population has. The others of a file are history."""

import numpy as np
import pandas as pd

from fraudfed.dtypes import BoolArray
from fraudfed.errors import DataError
from fraudfed.features.payment import Payment
from fraudfed.features.table import rows_of_direction
from fraudfed.payments.columns import CHANNELS, OUTBOUND
from fraudfed.wire.messages import Population


def in_population(
    transactions: pd.DataFrame, population: Population | None, *, source: str
) -> BoolArray:
    """Tell which rows belong to a population; each row is judged alone.

    Parameters
    ----------
    transactions : DataFrame
        Raw transactions that ``check_transactions`` accepts. Those without a direction are
        outbound.
    population : Population or None
        None: all belong to it.
    source : str
        Where the rows came from, for the error text: a file name.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=bool

    Raises
    ------
    DataError
        If it is chosen by channel, and the file does not say the channels.
    """
    chosen = np.ones(len(transactions), dtype=np.bool_)
    if population is None:
        return chosen
    channels = population.allowed_channels
    if channels is not None:
        if "channel" not in transactions.columns:
            raise DataError(
                f"{source}: column 'channel' is missing, and the run's population is payments by "
                f"{', '.join(channels)}; add it (one of {', '.join(CHANNELS)})"
            )
        chosen &= transactions["channel"].isin(channels).to_numpy(dtype=np.bool_)
    if population.direction is not None:
        same = np.zeros(len(transactions), dtype=np.bool_)
        same[rows_of_direction(transactions, population.direction)] = True
        chosen &= same
    return chosen


def has_payment(population: Population | None, payment: Payment) -> bool:
    """Tell whether one payment belongs to a population, as ``in_population`` does for rows.

    Raises
    ------
    DataError
        If it is chosen by channel, and the payment has none.
    """
    if population is None:
        return True
    channels = population.allowed_channels
    if channels is not None and payment.channel is None:
        raise DataError(
            f"transaction {payment.transaction_id!r}: has no channel, and the run's population is "
            f"payments by {', '.join(channels)}; give one of {', '.join(CHANNELS)}"
        )
    if channels is not None and payment.channel not in channels:
        return False
    direction = payment.direction or OUTBOUND
    return population.direction in (None, direction)


def population_text(population: Population) -> str:
    """Say in words which payments a population has: ``channel pos or atm; outbound``."""
    parts = []
    if population.allowed_channels is not None:
        parts.append(f"channel {' or '.join(population.allowed_channels)}")
    if population.direction is not None:
        parts.append(population.direction)
    return "; ".join(parts)
