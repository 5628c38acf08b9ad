"""One raw transaction as a scoring service gets it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from fraudfed.catalogue.schema import COLUMNS, INBOUND, ColumnKind


@dataclass(frozen=True, slots=True)
class Payment:
    """One raw transaction without its label.

    The fields are the columns of ``schema.COLUMNS`` of the same names, which also states their
    units. None means that there is no value. A place that is NaN, as tables write it, becomes None:
    NaN equals nothing, not even itself, and payments with the same fields are equal.
    """

    transaction_id: str
    event_time: int
    customer_id: str
    amount_minor: int
    merchant_id: str | None = None
    terminal_id: str | None = None
    payee_id: str | None = None
    device_id: str | None = None
    channel: str | None = None
    merchant_category: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    direction: str | None = None
    payer_id: str | None = None

    def __post_init__(self) -> None:
        for name in ("latitude", "longitude"):
            value = getattr(self, name)
            if value is not None and math.isnan(value):
                object.__setattr__(self, name, None)

    @property
    def is_inbound(self) -> bool:
        """Whether the customer was paid; else the customer paid."""
        return self.direction == INBOUND

    @property
    def place(self) -> tuple[float, float] | None:
        """Degrees north and east of where the payment was made, None unless both are known."""
        if self.latitude is None or self.longitude is None:
            return None
        return self.latitude, self.longitude

    def entities(self, kinds: Iterable[str]) -> list[tuple[str, str]]:
        """Return kind and identifier of those ``kinds`` of entity that the payment has."""
        found = ((kind, getattr(self, f"{kind}_id")) for kind in kinds)
        return [(kind, identifier) for kind, identifier in found if identifier is not None]


def payments_of(transactions: pd.DataFrame) -> list[Payment]:
    """Return the rows of a table that ``check_transactions`` accepts, in its order."""
    kinds = {column.name: column.kind for column in COLUMNS}
    columns = {
        field.name: _plain(transactions[field.name], kinds[field.name])
        for field in fields(Payment)
        if field.name in transactions.columns
    }
    rows = zip(*columns.values(), strict=True)
    return [Payment(**dict(zip(columns, row, strict=True))) for row in rows]


def _plain(series: "pd.Series[Any]", kind: ColumnKind) -> list[Any]:
    """Return a column as Python values, None for a text that is missing."""
    if kind is ColumnKind.STRING:
        return series.astype(object).where(series.notna(), None).tolist()
    dtype = np.int64 if kind is ColumnKind.INTEGER else np.float64
    values: list[Any] = series.to_numpy(dtype=dtype).tolist()
    return values
