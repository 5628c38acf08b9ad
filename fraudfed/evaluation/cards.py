"""Card precision at k per day: how many of the k most suspicious cards of a day are compromised.

Y.-A. Le Borgne, W. Siblini, B. Lebichot, G. Bontempi, "Reproducible Machine Learning for Credit
Card Fraud Detection - Practical Handbook", 2022, chapter 4, "Precision top-k metrics": a card
counts with its most suspicious payment of the day, and one that a list has found is blocked, so it
is on no list of a later day.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.evaluation.outcomes import Outcomes

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, eq=False)
class RankedCards:
    """The cards of each day, the most suspicious first.

    Of cards that score alike, a compromised one stands last.

    Attributes
    ----------
    cards : ndarray of shape (n_entries,), dtype=int64
        Codes; one entry for each card and day.
    is_fraud : ndarray of shape (n_entries,), dtype=bool
        Whether a payment of the card is fraud on that day.
    starts : ndarray of shape (n_days,), dtype=int64
        Where each day with a payment begins.
    """

    cards: Int64Array
    is_fraud: BoolArray
    starts: Int64Array

    @classmethod
    def of(cls, margins: Float32Array, labels: Float32Array, outcomes: Outcomes) -> "RankedCards":
        """Rank the cards of a bank.

        Parameters
        ----------
        margins, labels : ndarray of shape (n_rows,), dtype=float32
            Rows without a label, card and customer, or time are left out.
        outcomes : Outcomes
        """
        codes = _card_codes(outcomes)
        held = np.flatnonzero((codes >= 0) & ~np.isnan(labels))
        if outcomes.event_time is None or not held.size:
            nothing = np.zeros(0, dtype=np.int64)
            return cls(nothing, nothing == 1, nothing)
        days = outcomes.event_time[held] // _SECONDS_A_DAY
        order = np.lexsort((margins[held], codes[held], days))
        day, card, margin = days[order], codes[held][order], margins[held][order]
        is_last = np.append((day[1:] != day[:-1]) | (card[1:] != card[:-1]), True)
        starts = np.append(0, np.flatnonzero(is_last)[:-1] + 1)
        fraud = np.logical_or.reduceat(labels[held][order] == 1, starts)
        # Each card with its highest margin of the day.
        day, card, margin = day[is_last], card[is_last], margin[is_last]
        ranked = np.lexsort((card, fraud, -margin, day))
        first = np.flatnonzero(np.diff(day[ranked], prepend=day[ranked[0]] - 1)).astype(np.int64)
        return cls(card[ranked], fraud[ranked], first)

    def hits(self, k: int) -> tuple[int, int]:
        """Count what lists of the first k cards of each day find.

        Parameters
        ----------
        k : int
            Length of a list, at least 1.

        Returns
        -------
        hits : int
            Compromised cards on the lists of all days.
        attainable : int
            The most that lists could have had on them, each with what the earlier ones left.
        """
        if not self.cards.size:
            return 0, 0
        found = np.zeros(int(self.cards.max()) + 1, dtype=np.bool_)
        hits = attainable = 0
        for first, last in zip(self.starts, [*self.starts[1:], self.cards.size], strict=True):
            left = first + np.flatnonzero(~found[self.cards[first:last]])
            attainable += min(k, int(np.count_nonzero(self.is_fraud[left])))
            listed = left[:k]
            hit = self.cards[listed][self.is_fraud[listed]]
            found[hit] = True
            hits += hit.size
        return int(hits), attainable


def _card_codes(outcomes: Outcomes) -> Int64Array:
    """Return a code for the card of each payment, the customer where there is none; -1: neither."""
    customers = outcomes.customers
    if outcomes.cards is None:
        return np.full(outcomes.n_rows, -1, dtype=np.int64) if customers is None else customers
    if customers is None or not customers.size:
        return outcomes.cards
    codes: Int64Array = np.where(
        outcomes.cards >= 0,
        outcomes.cards + int(customers.max()) + 1,
        customers,
    )
    return codes
