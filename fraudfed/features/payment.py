"""One raw transaction as a scoring service gets it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from fraudfed.features.identifiers import (
    AS_THEY_ARE,
    DEFAULT_KINDS,
    IdentifierKinds,
    checked_identifier,
)
from fraudfed.payments.columns import COLUMNS, INBOUND, ColumnKind


@dataclass(frozen=True, slots=True)
class Payment:
    """One raw transaction without its label.

    The fields are the columns of ``schema.COLUMNS`` of the same names, which also states their
    units. None means that there is no value. A place that is NaN, as tables write it, becomes None:
    NaN equals nothing, not even itself, and payments with the same fields are equal. ``own`` holds
    the consortium's own columns by name, where a contract has some.

    Identifiers are in canonical form, whatever they are given as. ``identifiers`` says of which
    kind the columns are, as ``Mapping.identifier_kinds`` has it; None is the defaults.

    Raises
    ------
    DataError
        If an identifier is a number that has lost digits.
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
    currency: str | None = None
    own: Mapping[str, float | int | str | None] = field(default_factory=dict, hash=False)
    identifiers: IdentifierKinds | None = field(
        default=None, repr=False, compare=False, kw_only=True
    )

    def __post_init__(self) -> None:
        for name in ("latitude", "longitude"):
            value = getattr(self, name)
            if value is not None and math.isnan(value):
                object.__setattr__(self, name, None)
        kinds = DEFAULT_KINDS if self.identifiers is None else self.identifiers
        for name, kind in kinds.items():
            text = getattr(self, name, None)
            if text is not None:
                what = f"transaction {self.transaction_id!r}: {name}"
                form = checked_identifier(text, kind, what=what)
                if form != text:
                    object.__setattr__(self, name, form)

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

    def with_amount(self, amount_minor: int, *, currency: str) -> "Payment":
        """Return the same payment with its amount in another currency.

        Parameters
        ----------
        amount_minor : int
            Minor units of ``currency``.
        currency : str
            ISO 4217.
        """
        return replace(self, amount_minor=amount_minor, currency=currency)

    def entities(self, kinds: Iterable[str]) -> list[tuple[str, str]]:
        """Return kind and identifier of those ``kinds`` of entity that the payment has."""
        found = ((kind, getattr(self, f"{kind}_id")) for kind in kinds)
        return [(kind, identifier) for kind, identifier in found if identifier is not None]


def payments_of(transactions: pd.DataFrame, own_columns: Sequence[str] = ()) -> list[Payment]:
    """Return the rows of a table as files are read, in its order: its identifiers are canonical.

    Parameters
    ----------
    transactions : DataFrame
    own_columns : sequence of str
        Columns of the table that ``Payment.own`` takes.
    """
    kinds = {column.name: column.kind for column in COLUMNS}
    columns = {
        one.name: _plain(transactions[one.name], kinds[one.name])
        for one in fields(Payment)
        if one.name in kinds and one.name in transactions.columns
    }
    if own_columns:
        own = (_plain_own(transactions[name]) for name in own_columns)
        columns["own"] = [
            dict(zip(own_columns, row, strict=True)) for row in zip(*own, strict=True)
        ]
    rows = zip(*columns.values(), strict=True)
    return [
        Payment(**dict(zip(columns, row, strict=True)), identifiers=AS_THEY_ARE) for row in rows
    ]


def _plain_own(series: "pd.Series[Any]") -> list[Any]:
    """Return an own column as Python values, None for what is missing."""
    values: list[Any] = series.astype(object).where(series.notna(), None).tolist()
    return values


def _plain(series: "pd.Series[Any]", kind: ColumnKind) -> list[Any]:
    """Return a column as Python values, None for a text that is missing."""
    if kind is ColumnKind.STRING:
        return series.astype(object).where(series.notna(), None).tolist()
    dtype = np.int64 if kind is ColumnKind.INTEGER else np.float64
    values: list[Any] = series.to_numpy(dtype=dtype).tolist()
    return values
