"""What is known, at some time, of payments that a model is judged by. Never leaves the bank."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcomes:
    """Labels as of a cut-off, and what groups payments; row by row.

    Attributes
    ----------
    labels : ndarray of shape (n_rows,), dtype=float32
        1: reported as fraud before the cut-off. 0: not reported, and mature. NaN: censored, that
        is blocked without a report, so that nobody knows what would have become of it.
    is_blocked : ndarray of shape (n_rows,), dtype=bool
        Whether the bank stopped the payment.
    event_time : ndarray of shape (n_rows,), dtype=int64, or None
        UTC epoch seconds; None for tables without times.
    amounts : ndarray of shape (n_rows,), dtype=int64, or None
        Minor currency units, at least 0; None where there are none.
    customers, cards, accounts : ndarray of shape (n_rows,), dtype=int64, or None
        Codes from 0, of this bank alone; -1 where a payment has none. A case is a customer's
        frauds within 30 days; a card (the customer where there are no cards) is what a list of the
        most suspicious of a day names; an account is the one that is paid.
    is_first_seen : ndarray of shape (n_rows,), dtype=bool, or None
        Neither payer, payee, terminal nor merchant was reported at this bank in the 90 days before.
    cells : mapping of str to ndarray of shape (n_rows,), dtype=int64
        Public groups of payments: by name (``channel``, ``fraud_kind``) the position of each
        payment's value in a public list; -1 for none of them.
    """

    labels: Float32Array
    is_blocked: BoolArray
    event_time: Int64Array | None = None
    amounts: Int64Array | None = None
    customers: Int64Array | None = None
    cards: Int64Array | None = None
    accounts: Int64Array | None = None
    is_first_seen: BoolArray | None = None
    cells: Mapping[str, Int64Array] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of payments."""
        return int(self.labels.size)

    @property
    def is_censored(self) -> BoolArray:
        """Whether nobody knows a payment's label; shape (n_rows,)."""
        censored: BoolArray = np.isnan(self.labels)
        return censored

    def take(self, rows: BoolArray | Int64Array) -> "Outcomes":
        """Return the outcomes of some rows, by a mask or by positions."""

        def of(values: Int64Array | None) -> Int64Array | None:
            return None if values is None else values[rows]

        return replace(
            self,
            labels=self.labels[rows],
            is_blocked=self.is_blocked[rows],
            event_time=of(self.event_time),
            amounts=of(self.amounts),
            customers=of(self.customers),
            cards=of(self.cards),
            accounts=of(self.accounts),
            is_first_seen=None if self.is_first_seen is None else self.is_first_seen[rows],
            cells={name: values[rows] for name, values in self.cells.items()},
        )


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """Payments that a model has not been trained on, with what became of them.

    Attributes
    ----------
    schema : FeatureSchema
    features : ndarray of shape (n_rows, n_features), dtype=float32
    outcomes : Outcomes
    weights : ndarray of shape (n_rows,), dtype=float32, or None
        Sample weights in (0, max_weight]; None means 1 for every row.
    max_weight : float
        Public bound of the weights.
    """

    schema: FeatureSchema
    features: Float32Array
    outcomes: Outcomes
    weights: Float32Array | None = None
    max_weight: float = 1.0

    def __post_init__(self) -> None:
        expected = (self.outcomes.n_rows, self.schema.n_features)
        if self.features.shape != expected:
            raise ValueError(f"features have shape {self.features.shape}, expected {expected}")

    @property
    def n_rows(self) -> int:
        """Number of payments."""
        return self.outcomes.n_rows
